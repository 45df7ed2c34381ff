"""Whose socket a port id of netlink is, as far as it can be told.

The kernel gives the first netlink socket of a process the process id for its port id; notifications carry the port id
of the socket that asked for the change.
"""

import contextlib
import os

# The kernel gives no process a larger id; port ids of further sockets are larger.
LAST_PROCESS = 1 << 22


def process_name(port: int) -> str:
    """The name of the process with this port id; empty when it is gone, or can't be seen from here.

    In a container that sees its own processes only, those of the node have no name. One with our own process id is not
    us: it is somebody else's, in a container of its own.
    """
    if 0 < port <= LAST_PROCESS and port != os.getpid():
        with contextlib.suppress(OSError), open(f"/proc/{port}/comm", "rb") as file:  # noqa: PTH123  the fastest way
            return file.read().rstrip(b"\n").decode(errors="replace")
    return ""
