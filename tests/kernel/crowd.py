"""Routes of other programs by the hundred thousand, written with nothing of the code under test."""

import socket
import struct

_HEADER = struct.Struct("=IHHII")
_RTMSG = struct.Struct("=8BI")
_ATTRIBUTE = struct.Struct("=HH4s")

_RTM_NEWROUTE, _RTM_DELROUTE = 24, 25
_REQUEST, _CREATE, _EXCL = 0x1, 0x400, 0x200
_STATIC = 4

# Messages in one send.
_BATCH = 1000


def make_crowd(count: int, interface: int, gateway: str = "10.1.0.9") -> None:
    """Add routes to 11.0.0.0/32, 11.0.0.1/32 and so on, of protocol static."""
    _send(_RTM_NEWROUTE, _CREATE | _EXCL, count, interface, gateway)


def disperse_crowd(count: int, interface: int, gateway: str = "10.1.0.9") -> None:
    """Delete these routes."""
    _send(_RTM_DELROUTE, 0, count, interface, gateway)


def _send(kind: int, flags: int, count: int, interface: int, gateway: str) -> None:
    length = _HEADER.size + _RTMSG.size + 3 * _ATTRIBUTE.size
    head = _HEADER.pack(length, kind, _REQUEST | flags, 0, 0) + _RTMSG.pack(
        socket.AF_INET, 32, 0, 0, 254, _STATIC, 0, 1, 0
    )
    tail = _ATTRIBUTE.pack(8, 4, struct.pack("=I", interface)) + _ATTRIBUTE.pack(8, 5, socket.inet_aton(gateway))
    first = 11 << 24
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as netlink:
        netlink.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        netlink.bind((0, 0))
        netlink.setblocking(False)  # noqa: FBT003  the name of the method says it
        for start in range(0, count, _BATCH):
            numbers = range(first + start, first + min(start + _BATCH, count))
            netlink.send(b"".join(head + _ATTRIBUTE.pack(8, 1, struct.pack(">I", each)) + tail for each in numbers))
            try:
                answer = netlink.recv(1 << 16)
            except BlockingIOError:
                continue
            raise AssertionError(f"the kernel refused: {answer!r}")
