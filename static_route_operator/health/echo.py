"""Echo requests, ICMP and ICMPv6: one socket per family serves all gateways.

The socket is raw if the process has CAP_NET_RAW, else a ping socket, which the system may grant to a group of users
(net.ipv4.ping_group_range). A raw socket is preferred, since before Linux 5.18 the output interface of an IPv6 ping
socket cannot be chosen.
"""

import asyncio
import contextlib
import os
import socket
import struct
import time
from collections.abc import Callable

from static_route_operator.planning.targets import Target

# From asm-generic/socket.h, linux/in.h, linux/icmp.h and linux/icmpv6.h; Python's socket module has none of these.
SO_SNDBUFFORCE = 32
SO_TIMESTAMPNS = 35
SOL_RAW = 255
IP_PKTINFO = 8
ICMP_FILTER = 1
ICMPV6_FILTER = 1

ECHO = {socket.AF_INET: 8, socket.AF_INET6: 128}
ECHO_REPLY = {socket.AF_INET: 0, socket.AF_INET6: 129}
PROTOCOL = {socket.AF_INET: socket.IPPROTO_ICMP, socket.AF_INET6: socket.IPPROTO_ICMPV6}

# Bytes. Requests to gateways that do not answer wait for seconds in the queue of the neighbour entry, and count against
# this buffer. When it is full, no gateway can be probed.
SEND_BUFFER = 8 << 20

# Traffic class of network control, as for BFD and routing protocols, so that a full queue does not drop probes first.
CLASS = 0xC0

_HEADER = struct.Struct(">BBHHH")  # type, code, checksum, identifier, sequence number
# Payload that the answer returns: a secret of this socket, the prober and the number of the probe.
_PAYLOAD = struct.Struct(">8sIQ")
_TIME = struct.Struct("=qq")
_ANCILLARY = socket.CMSG_SPACE(_TIME.size)
_PKTINFO = struct.Struct("=I4s4s")  # interface, source, destination
_PKTINFO6 = struct.Struct("=16sI")  # source, interface


class EchoSocket:
    """A socket that sends echo requests of one family and reports the answers.

    Args:
        family: IPv4 or IPv6.
        answered: called with the prober, the number of the probe, the address that answered, and the time of the event
            loop at which the answer arrived.

    Raises:
        OSError: the process may open neither kind of socket.
    """

    def __init__(self, family: socket.AddressFamily, answered: Callable[[int, int, str, float], None]) -> None:
        self._family = family
        self._answered = answered
        self._loop = asyncio.get_running_loop()
        self._secret = os.urandom(8)
        self._identifier = int.from_bytes(self._secret[:2])
        self._socket = self._open()
        self._raw = self._socket.type == socket.SOCK_RAW
        self._socket.setblocking(False)  # noqa: FBT003  the method's name explains the argument
        with contextlib.suppress(PermissionError):
            self._socket.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, SEND_BUFFER)
        # The kernel stamps the arrival, so that a process that reads late does not make the gateway look slow.
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
        # A raw socket receives every ICMP message of the machine; a set bit in the filter blocks a type.
        reply = ECHO_REPLY[family]
        if family == socket.AF_INET:
            raw.setsockopt(SOL_RAW, ICMP_FILTER, struct.pack("=I", ~(1 << reply) & 0xFFFFFFFF))
        else:
            words = [0xFFFFFFFF] * 8
            words[reply >> 5] &= ~(1 << (reply & 31))
            raw.setsockopt(socket.IPPROTO_ICMPV6, ICMPV6_FILTER, struct.pack("=8I", *words))
        return raw

    def send(self, target: Target, prober: int, number: int) -> None:
        """Send a request to a gateway, through its interface if the target has one.

        Raises:
            OSError: the request was not sent.
        """
        payload = _PAYLOAD.pack(self._secret, prober, number)
        kind, sequence = ECHO[self._family], number & 0xFFFF
        message = _HEADER.pack(kind, 0, 0, self._identifier, sequence) + payload
        if self._family == socket.AF_INET:
            # The kernel fills in a checksum for all but raw sockets of IPv4.
            if self._raw:
                message = _HEADER.pack(kind, 0, _checksum(message), self._identifier, sequence) + payload
            info = (socket.IPPROTO_IP, IP_PKTINFO, _PKTINFO.pack(target.interface, bytes(4), bytes(4)))
            # Never reach the gateway through another one when its subnet is gone from the interface.
            flags = socket.MSG_DONTROUTE if target.interface else 0
            self._socket.sendmsg([message], [info], flags, (target.address, 0))
        else:
            info = (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, _PKTINFO6.pack(bytes(16), target.interface))
            self._socket.sendmsg([message], [info], 0, (target.address, 0))

    def read(self) -> None:
        """Report all answers that have arrived."""
        while True:
            try:
                data, ancillary, _, address = self._socket.recvmsg(256, _ANCILLARY)
            except BlockingIOError:
                return
            except OSError:
                # An ICMP error for some probe, which will be lost.
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
    """Return the seconds since the kernel received the message just read."""
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
