"""Flows from the node through both gateways, and the gateway by which each arrives."""

import contextlib
import socket
import struct

from tests.kernel.gateway import Gateway
from tests.kernel.machine import wait_until

NUMBER = 1000
_FIRST_PORT = 20000
_PORT = 9
_SIZE = 4  # bytes of a packet: the number of its flow
# All packets fit, so that none is lost here. Bytes.
_BUFFER = 8 << 20
# From asm-generic/socket.h and linux/in.h; Python's socket module has neither.
_SO_RCVBUFFORCE = 33
_IP_PKTINFO = 8
_PKTINFO = struct.Struct("=I4s4s")  # interface, local address, destination
_PKTINFO6 = struct.Struct("=16sI")  # destination, interface
# So long after the last packet nothing more comes. Seconds.
_QUIET = 0.2


class Flows:
    """1,000 flows of UDP to one destination, which differ in their source port only; the kernel tells them apart by it.

    Args:
        gateway: the node with both gateways.
        destination: an address that both gateways take for themselves from now on.
    """

    def __init__(self, gateway: Gateway, destination: str) -> None:
        self._destination = destination
        self._family = socket.AF_INET6 if ":" in destination else socket.AF_INET
        for family in ("ipv4", "ipv6"):
            gateway.run(f"sysctl -qw net.{family}.fib_multipath_hash_policy=1")
        gateway.far(f"ip address add {destination} dev lo {'nodad' * (':' in destination)}")
        with gateway.enter():
            self._receiver = socket.socket(self._family, socket.SOCK_DGRAM)
            self._names = dict(socket.if_nameindex())
        self._receiver.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER)
        if self._family == socket.AF_INET:
            self._receiver.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
        else:
            self._receiver.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        self._receiver.bind((destination, _PORT))
        self._receiver.settimeout(_QUIET)
        # An IPv6 address takes a moment until it is one.
        wait_until(lambda: len(self.send()) == NUMBER, "all flows arrive")

    def send(self) -> dict[int, str]:
        """Send one packet of each flow; return the gateway's interface by which each arrives, of those that do."""
        for flow in range(NUMBER):
            with socket.socket(self._family, socket.SOCK_DGRAM) as sender:
                sender.bind(("", _FIRST_PORT + flow))
                sender.sendto(flow.to_bytes(_SIZE), (self._destination, _PORT))
        arrived: dict[int, str] = {}
        with contextlib.suppress(TimeoutError):
            while len(arrived) < NUMBER:
                data, ancillary, _, _ = self._receiver.recvmsg(_SIZE, 128)
                arrived[int.from_bytes(data)] = self._names[self._interface(ancillary[0][2])]
        return arrived

    def close(self) -> None:
        """Close the sockets."""
        self._receiver.close()

    def _interface(self, info: bytes) -> int:
        if self._family == socket.AF_INET:
            index: int = _PKTINFO.unpack(info)[0]
        else:
            index = _PKTINFO6.unpack(info)[1]
        return index
