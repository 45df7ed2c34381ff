"""A stream of packets through the routes of a node, and how many of them arrive at any gateway.

`python -m benchmarks.stream DESTINATION…` is the sender: numbered packets until its input ends, then says how many.
"""

import contextlib
import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.testbed import ADDRESS, GATEWAYS, INTERFACE, ip
from tests.kernel.namespaces import new_network_namespace

PACKETS_PER_SECOND = 5_000
_TICK = 0.001  # seconds
_PORT = 9
_SIZE = 8  # bytes: the number
# All packets of a trial fit, so that the receiver need not run beside what is measured.
_BUFFER = 512 << 20
_SO_RCVBUFFORCE = 33


class Gateway:
    """A network namespace that takes every packet for itself.

    Args:
        address: of its interface.
        port: interface of this thread's namespace that it is connected to.
    """

    def __init__(self, address: str, port: str) -> None:
        with Path("/proc/thread-self/ns/net").open("rb") as here, new_network_namespace():
            ip(f"link add eth0 type veth peer name {port} netns /proc/{os.getpid()}/fd/{here.fileno()}")
            ip(
                "link set lo up",
                f"addr add {address}/24 dev eth0",
                "link set eth0 up",
                "route add local 20.0.0.0/8 dev lo",
            )
            # The socket keeps the namespace.
            self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER)
            self._socket.bind(("", _PORT))
            self._socket.settimeout(0)

    def close(self) -> None:
        """Close the socket, with which the namespace goes."""
        self._socket.close()

    def received(self) -> set[int]:
        """Return the numbers of the packets that have arrived since the last call."""
        numbers = set()
        with contextlib.suppress(BlockingIOError):
            while True:
                numbers.add(int.from_bytes(self._socket.recv(_SIZE)))
        return numbers


@contextlib.contextmanager
def node_with_gateways() -> Iterator[list[Gateway]]:
    """Set up a node as in `testbed.node`, whose gateways exist."""
    with new_network_namespace():
        ip("link set lo up", f"link add {INTERFACE} type bridge", f"addr add {ADDRESS}/24 dev {INTERFACE}")
        gateways = [Gateway(address, f"port{number}") for number, address in enumerate(GATEWAYS)]
        for number in range(len(gateways)):
            ip(f"link set port{number} master {INTERFACE} up")
        ip(f"link set {INTERFACE} up")
        try:
            yield gateways
        finally:
            for gateway in gateways:
                gateway.close()


class Stream:
    """The sender, as a process in this thread's namespace.

    Args:
        destinations: each gets a packet in turn.
    """

    def __init__(self, destinations: Sequence[str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.stream", *destinations],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def stop(self) -> int:
        """End it; how many packets it has sent."""
        return int(self._process.communicate()[0])


def _send(destinations: Sequence[str]) -> int:
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sent = 0
    started = time.monotonic()
    while not select.select([sys.stdin], [], [], _TICK)[0]:
        for number in range(sent, int((time.monotonic() - started) * PACKETS_PER_SECOND)):
            # A packet without a route is one that does not arrive.
            with contextlib.suppress(OSError):
                sender.sendto(number.to_bytes(_SIZE), (destinations[number % len(destinations)], _PORT))
            sent = number + 1
    return sent


if __name__ == "__main__":
    print(_send(sys.argv[1:]))
