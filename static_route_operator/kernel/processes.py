"""Names of the processes that change the kernel's routes.

The kernel gives the first netlink socket of a process the process id as its port id, and notifications carry the port
id of the socket that asked for the change.
"""

import contextlib
import os

# Largest process id of the kernel. The port ids of a process's further sockets are larger.
LAST_PROCESS = 1 << 22


def process_name(port: int) -> str:
    """Return the name of the process with a port id; empty if the process is gone, or can't be seen from here.

    A container sees its own processes only, so those of the node have no name there. A port with this process's own id
    belongs to a process of another container, since the monitor ignores this process's changes.
    """
    if 0 < port <= LAST_PROCESS and port != os.getpid():
        with contextlib.suppress(OSError), open(f"/proc/{port}/comm", "rb") as file:  # noqa: PTH123  the fastest way
            return file.read().rstrip(b"\n").decode(errors="replace")
    return ""
