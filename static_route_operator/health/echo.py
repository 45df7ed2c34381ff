"""Probes by ICMP and ICMPv6 echo requests, with one socket per family for all gateways.

With CAP_NET_RAW, the socket is a raw one. Otherwise it is a ping socket, which the system may grant to a group of users
(net.ipv4.ping_group_range). The raw one is better: before Linux 5.18 an IPv6 ping socket ignores the interface to send
by.
"""

import asyncio
import contextlib
import os
import socket
import struct
import time
from collections.abc import Callable

from static_route_operator.planning.targets import Target

# From asm-generic/socket.h, linux/in.h, linux/icmp.h and linux/icmpv6.h, which Python's socket module lacks.
SO_SNDBUFFORCE = 32
SO_TIMESTAMPNS = 35
SOL_RAW = 255
IP_PKTINFO = 8
ICMP_FILTER = 1
ICMPV6_FILTER = 1

ECHO = {socket.AF_INET: 8, socket.AF_INET6: 128}
ECHO_REPLY = {socket.AF_INET: 0, socket.AF_INET6: 129}
PROTOCOL = {socket.AF_INET: socket.IPPROTO_ICMP, socket.AF_INET6: socket.IPPROTO_ICMPV6}

# Bytes of the send buffer. Requests to dead gateways wait for a link-layer address in the neighbour's queue for seconds
# and fill the buffer; once it is full, no gateway can be probed.
SEND_BUFFER = 8 << 20

# Traffic class of network control, as BFD and routing protocols use: full queues should drop other packets first.
CLASS = 0xC0

_HEADER = struct.Struct(">BBHHH")  # type, code, checksum, identifier, sequence number
# A secret of this socket, the prober and the number of the probe; the answer repeats them.
_PAYLOAD = struct.Struct(">8sIQ")
_TIME = struct.Struct("=qq")
_ANCILLARY = socket.CMSG_SPACE(_TIME.size)
_PKTINFO = struct.Struct("=I4s4s")  # interface, source, destination
_PKTINFO6 = struct.Struct("=16sI")  # source, interface


class EchoSocket:
    """The socket that sends echo requests of one family and receives the answers.

    Args:
        family: IPv4 or IPv6.
        answered: called with the prober, the number of the probe, the address that answered, and the time of the event
            loop at which the answer arrived.

    Raises:
        OSError: this process may open neither kind of socket.
    """

    def __init__(self, family: socket.AddressFamily, answered: Callable[[int, int, str, float], None]) -> None:
        self._family = family
        self._answered = answered
        self._loop = asyncio.get_running_loop()
        self._secret = os.urandom(8)
        self._identifier = int.from_bytes(self._secret[:2])
        self._socket = self._open()
        self._raw = self._socket.type == socket.SOCK_RAW
        self._socket.setblocking(False)  # noqa: FBT003  the name of the method says it
        with contextlib.suppress(PermissionError):
            self._socket.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, SEND_BUFFER)
        # The kernel stamps the arrival of answers, so a process that reads late does not measure a slow gateway.
        self._socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        if family == socket.AF_INET:
            self._socket.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, CLASS)
        else:
            self._socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, CLASS)
        self._loop.add_reader(self._socket.fileno(), self.read)

    def _open(self) -> socket.socket:
        family, protocol = self._family, PROTOCOL[self._family]
        try:
            raw = socket.socket(family, socket.SOCK_RAW, protocol)
        except PermissionError:
            return socket.socket(family, socket.SOCK_DGRAM, protocol)
        # A raw socket receives every ICMP message of the machine. Set bits filter types out.
        reply = ECHO_REPLY[family]
        if family == socket.AF_INET:
            raw.setsockopt(SOL_RAW, ICMP_FILTER, struct.pack("=I", ~(1 << reply) & 0xFFFFFFFF))
        else:
            words = [0xFFFFFFFF] * 8
            words[reply >> 5] &= ~(1 << (reply & 31))
            raw.setsockopt(socket.IPPROTO_ICMPV6, ICMPV6_FILTER, struct.pack("=8I", *words))
        return raw

    def send(self, target: Target, prober: int, number: int) -> None:
        """Send an echo request to a gateway through its interface, or by the routing tables if it has none.

        Raises:
            OSError: the request was not sent.
        """
        payload = _PAYLOAD.pack(self._secret, prober, number)
        kind, sequence = ECHO[self._family], number & 0xFFFF
        message = _HEADER.pack(kind, 0, 0, self._identifier, sequence) + payload
        if self._family == socket.AF_INET:
            # The kernel fills in the checksum, except on raw IPv4 sockets.
            if self._raw:
                message = _HEADER.pack(kind, 0, _checksum(message), self._identifier, sequence) + payload
            info = (socket.IPPROTO_IP, IP_PKTINFO, _PKTINFO.pack(target.interface, bytes(4), bytes(4)))
            # Do not probe through another gateway if this one's network is gone from the interface.
            flags = socket.MSG_DONTROUTE if target.interface else 0
            self._socket.sendmsg([message], [info], flags, (target.address, 0))
        else:
            info = (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, _PKTINFO6.pack(bytes(16), target.interface))
            self._socket.sendmsg([message], [info], 0, (target.address, 0))

    def read(self) -> None:
        """Read all answers that have arrived and report them."""
        while True:
            try:
                data, ancillary, _, address = self._socket.recvmsg(256, _ANCILLARY)
            except BlockingIOError:
                return
            except OSError:
                # An ICMP error from some router. The probe that it concerns will be lost.
                continue
            start = (data[0] & 15) * 4 if self._raw and self._family == socket.AF_INET else 0
            if len(data) < start + _HEADER.size + _PAYLOAD.size or data[start] != ECHO_REPLY[self._family]:
                continue
            secret, prober, number = _PAYLOAD.unpack_from(data, start + _HEADER.size)
            if secret == self._secret:
                self._answered(prober, number, address[0], self._loop.time() - _age(ancillary))

    def close(self) -> None:
        """Close the socket."""
        self._loop.remove_reader(self._socket.fileno())
        self._socket.close()


def _age(ancillary: list[tuple[int, int, bytes]]) -> float:
    """Return the seconds since the kernel received a message, from its ancillary data."""
    for level, kind, value in ancillary:
        if level == socket.SOL_SOCKET and kind == SO_TIMESTAMPNS:
            seconds, nanoseconds = _TIME.unpack(value)
            age: float = time.time() - seconds - nanoseconds * 1e-9
            return max(0.0, age)
    return 0.0


def _checksum(message: bytes) -> int:
    """Return the Internet checksum (RFC 1071) of an even number of bytes."""
    total: int = sum(struct.unpack(f">{len(message) // 2}H", message))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF
