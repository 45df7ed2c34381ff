"""Test bed: a throw-away node, the destinations, and the kernel's routes, read in the cheapest way.

Nothing here uses the code that is measured.
"""

import contextlib
import random
import socket
import struct
import subprocess
import time
from collections.abc import Iterator, Sequence

from tests.kernel.namespaces import new_network_namespace

INTERFACE = "eth0"
ADDRESS = "10.0.0.21"
GATEWAYS = ("10.0.0.1", "10.0.0.2")

# Whoever needs longer than this for one step has failed. Seconds.
PATIENCE = 600.0

_SET_UP = f"""
link set lo up
link add {INTERFACE} type veth peer name far
addr add {ADDRESS}/24 dev {INTERFACE}
link set far up
link set {INTERFACE} up
"""

# From linux/netlink.h and linux/rtnetlink.h.
_HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence number, port
_RTMSG = struct.Struct("=BBBBBBBBI")
_ATTRIBUTE = struct.Struct("=HH")  # length, type
_DONE = 3
_REQUEST, _DUMP = 0x1, 0x300
RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE = 24, 25, 26
_RTA_DST, _RTA_GATEWAY = 1, 5
_TABLE_MAIN, _SCOPE_NOWHERE = 254, 255
_IPV4_ROUTES = 0x40  # multicast group
# Notifications wait here while nobody reads them. Bytes.
_BUFFER = 64 << 20
_SO_RCVBUFFORCE = 33

# A gateway's attribute up to its value: every route through any gateway has it once.
_ANY_GATEWAY = _ATTRIBUTE.pack(8, _RTA_GATEWAY)

# So many destinations are asked for while somebody is at work: the last of them is there when all but a sixty-fourth of
# the routes are, and asking takes the kernel 0.1 ms.
_PROBES = 64
_PAUSE = 0.0005  # seconds


def destinations(number: int) -> list[str]:
    """Addresses from 20.0.0.0 upwards."""
    return [f"20.{index >> 16}.{index >> 8 & 255}.{index & 255}" for index in range(number)]


def ip(*commands: str) -> None:
    """Run `ip` commands."""
    subprocess.run(["ip", "-batch", "-"], input="\n".join(commands), text=True, check=True)


@contextlib.contextmanager
def node() -> Iterator[None]:
    """Enter a network namespace with one interface; its gateways need not exist."""
    with new_network_namespace():
        ip(*_SET_UP.strip().splitlines())
        yield


def _attribute(kind: int, value: bytes) -> bytes:
    return _ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), kind) + value


def _to(gateway: str | None) -> bytes:
    return _ANY_GATEWAY + (socket.inet_aton(gateway) if gateway else b"")


def _about(destination: str) -> bytes:
    return _attribute(_RTA_DST, socket.inet_aton(destination))


class Kernel:
    """The IPv4 routes of the namespace that this thread is in."""

    def __init__(self) -> None:
        self._requests = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)
        self._requests.bind((0, 0))

    def close(self) -> None:
        """Close the socket."""
        self._requests.close()

    def count(self, gateway: str | None) -> tuple[int, int]:
        """Return the number of routes to a gateway, and to any gateway."""
        self._send(RTM_GETROUTE, _DUMP, _RTMSG.pack(socket.AF_INET, 0, 0, 0, 0, 0, 0, 0, 0))
        through, all_, last = 0, 0, False
        while not last:
            datagram = self._requests.recv(1 << 17)
            # Nothing is parsed: counting the attribute takes a tenth of the time.
            through += datagram.count(_to(gateway))
            all_ += datagram.count(_ANY_GATEWAY)
            last = _HEADER.unpack_from(datagram)[1] == _DONE
        return through, all_

    def wait(self, destinations: Sequence[str], gateway: str | None) -> float:
        """Wait until all destinations, and no other, lead to a gateway, or none to any; the moment when it was seen.

        First by asking for a few, then by reading all. The moment is that at which the last reading began, so a
        reading is not counted as time of whoever was at work.
        """
        deadline = time.perf_counter() + PATIENCE
        probes = random.sample(destinations, min(len(destinations), _PROBES))
        desired = len(probes) if gateway else 0
        while self._probe(probes, gateway) != desired:
            _check(deadline)
            time.sleep(_PAUSE)
        desired = len(destinations) if gateway else 0
        while True:
            moment = time.perf_counter()
            if self.count(gateway) == (desired, desired):
                return moment
            _check(deadline)

    def delete(self, destination: str) -> None:
        """Delete a route, whosesoever it is, as `ip route del` does; it is gone on return."""
        rtmsg = _RTMSG.pack(socket.AF_INET, 32, 0, 0, _TABLE_MAIN, 0, _SCOPE_NOWHERE, 0, 0)
        self._send(RTM_DELROUTE, 0, rtmsg + _about(destination))

    def _probe(self, addresses: Sequence[str], gateway: str | None) -> int:
        """Return the number of addresses that are routed to a gateway, or to any gateway."""
        found = 0
        for address in addresses:
            self._send(RTM_GETROUTE, 0, _RTMSG.pack(socket.AF_INET, 32, 0, 0, 0, 0, 0, 0, 0) + _about(address))
            found += _to(gateway) in self._requests.recv(1 << 12)
        return found

    def _send(self, kind: int, flags: int, body: bytes) -> None:
        self._requests.send(_HEADER.pack(_HEADER.size + len(body), kind, _REQUEST | flags, 0, 0) + body)


class Notifications:
    """Notifications of the kernel about IPv4 routes in the namespace of this thread."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER)
        self._socket.bind((0, _IPV4_ROUTES))

    def close(self) -> None:
        """Listen no more."""
        self._socket.close()

    def wait(self, destination: str, patience: float = PATIENCE) -> float:
        """Wait for a new route to a destination; the moment at which it was told of."""
        about, deadline = _about(destination), time.perf_counter() + patience
        while True:
            datagram = self._receive(deadline)
            if _HEADER.unpack_from(datagram)[1] == RTM_NEWROUTE and about in datagram:
                return time.perf_counter()

    def moves(self, gateway: str, number: int, patience: float = PATIENCE) -> tuple[float, float]:
        """Wait for a number of new routes to a gateway; return the times of the first and the last notification."""
        through, deadline = _to(gateway), time.perf_counter() + patience
        moments: list[float] = []
        while len(moments) < number:
            datagram = self._receive(deadline)
            if _HEADER.unpack_from(datagram)[1] == RTM_NEWROUTE and through in datagram:
                moments.append(time.perf_counter())
        return moments[0], moments[-1]

    def _receive(self, deadline: float) -> bytes:
        # Others may change routes all the time, so that a time limit of the socket alone would never end the wait.
        _check(deadline)
        self._socket.settimeout(max(deadline - time.perf_counter(), 1e-3))
        return self._socket.recv(1 << 16)


def _check(deadline: float) -> None:
    if time.perf_counter() > deadline:
        raise TimeoutError("not done in time")
