"""Netlink sockets, and the frame of every message on them."""

import array
import contextlib
import errno
import os
import socket
import struct
from collections.abc import Iterator
from typing import NamedTuple

from pyroute2.netlink.nlsocket import AsyncNetlinkSocket

from static_route_operator.kernel.unreadable import pass_over, read

# From linux/netlink.h and asm-generic/socket.h. Python's socket module has none of these.
NETLINK_ROUTE = 0
SOL_NETLINK = 270
NETLINK_CAP_ACK = 10
SO_ATTACH_FILTER = 26
SO_SNDBUFFORCE = 32
SO_RCVBUFFORCE = 33

NLMSG_ERROR = 2
NLMSG_DONE = 3
NLM_F_REQUEST = 0x1
NLM_F_DUMP = 0x300
NLM_F_DUMP_INTR = 0x10
NLM_F_CAPPED = 0x100
NLM_F_ACK_TLVS = 0x200
NLM_F_REPLACE = 0x100
NLM_F_EXCL = 0x200
NLM_F_CREATE = 0x400

NLMSGERR_ATTR_MSG = 1

HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence number, port
ATTRIBUTE = struct.Struct("=HH")  # length, type
_LENGTH = struct.Struct("=I")

# Bytes to receive at once: more than any datagram of the kernel has (those of a dump have up to 32 KiB).
RECEIVE_SIZE = 1 << 17
ATTRIBUTE_TYPE_MASK = 0x3FFF
_PORT_AT = 12
KERNEL_PORT = 0


# Kind of the messages whose length is absurd (see `unreadable`).
FRAME = "netlink frame"


class Message(NamedTuple):
    """One netlink message.

    Attributes:
        kind: type of the message, such as RTM_NEWROUTE.
        flags: NLM_F_ bits.
        sequence: number of the request that the message answers; 0 in notifications.
        port: port id of the socket whose request caused the message.
        body: the message without its header.
    """

    kind: int
    flags: int
    sequence: int
    port: int
    body: bytes


class NetlinkSocket:
    """A NETLINK_ROUTE socket of pyroute2, used for whole buffers of messages.

    Args:
        groups: multicast groups (bits) whose notifications the socket receives.
        buffer: bytes of the send and receive buffers each; up to the system's limit unless this process has
            CAP_NET_ADMIN.

    Attributes:
        port: the port id.
        receive_buffer: bytes of the receive buffer, as the kernel counts.
    """

    def __init__(self, *, groups: int = 0, buffer: int = 8 << 20) -> None:
        self._owner = AsyncNetlinkSocket(family=NETLINK_ROUTE, ext_ack=True, strict_check=True)
        self._socket: socket.socket = self._owner.socket
        for force, plain in ((SO_SNDBUFFORCE, socket.SO_SNDBUF), (SO_RCVBUFFORCE, socket.SO_RCVBUF)):
            try:
                self._socket.setsockopt(socket.SOL_SOCKET, force, buffer)
            except PermissionError:
                self._socket.setsockopt(socket.SOL_SOCKET, plain, buffer)
        # Errors then carry the header of the refused message only, so that more of them fit into the buffer.
        self._socket.setsockopt(SOL_NETLINK, NETLINK_CAP_ACK, 1)
        self._socket.bind((0, groups))
        self._socket.setblocking(False)  # noqa: FBT003  the name of the method says it
        self.port: int = self._socket.getsockname()[0]
        self.receive_buffer = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)

    def ignore(self, port: int) -> None:
        """Receive no notifications about changes that this port's requests make: the kernel drops them.

        Only one port can be ignored; a later call replaces it.
        """
        # Classic BPF (linux/filter.h): load the header's port; if equal, keep 0 bytes, otherwise all. The load turns
        # network order into host order, so the port, which is in host order, comes out swapped.
        (swapped,) = struct.unpack(">I", struct.pack("=I", port))
        program = array.array(
            "B",
            struct.pack("=HBBI", 0x20, 0, 0, _PORT_AT)
            + struct.pack("=HBBI", 0x15, 0, 1, swapped)
            + struct.pack("=HBBI", 0x06, 0, 0, 0)
            + struct.pack("=HBBI", 0x06, 0, 0, 0xFFFFFFFF),
        )
        address, size = program.buffer_info()
        self._socket.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HP", size // 8, address))

    def fileno(self) -> int:
        """Return the descriptor, for the event loop."""
        return self._socket.fileno()

    def send(self, buffer: bytes | bytearray | memoryview) -> None:
        """Hand whole messages to the kernel, which has acted on all of them on return."""
        self._socket.send(buffer)

    def receive(self) -> bytes | None:
        """Return the next datagram of the kernel in the receive buffer; None if there is none.

        A process of root may send to this socket too. Only the kernel is believed: its port is 0.

        Raises:
            OSError: ENOBUFS: datagrams were lost because the buffer was full.
        """
        with contextlib.suppress(BlockingIOError):
            while True:
                datagram, (port, _) = self._socket.recvfrom(RECEIVE_SIZE)
                if port == KERNEL_PORT:
                    return datagram
                pass_over("datagram of another process", f"it comes from port {port}, the kernel's is 0")
        return None

    def close(self) -> None:
        """Close the socket, which can't be used afterwards."""
        self._owner.close()


def messages(datagram: bytes) -> Iterator[Message]:
    """Yield the messages of one datagram; the rest of a datagram after an absurd length is passed over."""
    offset, end = 0, len(datagram) - HEADER.size
    while offset <= end:
        length, kind, flags, sequence, port = HEADER.unpack_from(datagram, offset)
        if not HEADER.size <= length <= len(datagram) - offset:
            pass_over(FRAME, f"it has {len(datagram) - offset} bytes and says {length}")
            return
        yield Message(kind, flags, sequence, port, datagram[offset + HEADER.size : offset + length])
        offset += (length + 3) & ~3


class Block(NamedTuple):
    """Messages of one datagram with equal size, type and flags, in their order.

    Attributes:
        kind: type of the messages.
        flags: NLM_F_ bits.
        sequence: sequence number of the first message.
        size: bytes of each message, header and padding included.
        packed: the messages with their headers, one after the other.
    """

    kind: int
    flags: int
    sequence: int
    size: int
    packed: bytes


def blocks(datagram: bytes) -> Iterator[Block]:
    """Yield the messages of one datagram, grouped by size, type and flags."""
    if len(datagram) < HEADER.size:
        return
    length, kind, flags, sequence, _ = HEADER.unpack_from(datagram)
    size = (length + 3) & ~3
    if length >= HEADER.size and not len(datagram) % size and _all_alike(datagram, size):
        yield Block(kind, flags, sequence, size, datagram)
        return
    found: dict[bytes, list[bytes]] = {}
    offset, end = 0, len(datagram) - HEADER.size
    while offset <= end:
        (length,) = _LENGTH.unpack_from(datagram, offset)
        if not HEADER.size <= length <= len(datagram) - offset:
            pass_over(FRAME, f"it has {len(datagram) - offset} bytes and says {length}")
            break
        size = (length + 3) & ~3
        found.setdefault(datagram[offset : offset + 8], []).append(datagram[offset : offset + size].ljust(size, b"\0"))
        offset += size
    for same in found.values():
        _, kind, flags, sequence, _ = HEADER.unpack_from(same[0])
        yield Block(kind, flags, sequence, len(same[0]), b"".join(same))


def _all_alike(datagram: bytes, size: int) -> bool:
    number = len(datagram) // size
    # Length, type and flags are the first eight bytes.
    return all(datagram[column::size] == datagram[column : column + 1] * number for column in range(8))


def pack_attribute(kind: int, value: bytes) -> bytes:
    """Return an attribute of a message."""
    return ATTRIBUTE.pack(ATTRIBUTE.size + len(value), kind) + value + bytes(-len(value) % 4)


def attributes(body: bytes, offset: int = 0) -> Iterator[tuple[int, bytes]]:
    """Yield type and value of each attribute in a message whose fixed part ends at ``offset``.

    An attribute with an absurd length ends them: those before it count.
    """
    while offset + ATTRIBUTE.size <= len(body):
        length, kind = ATTRIBUTE.unpack_from(body, offset)
        if not ATTRIBUTE.size <= length <= len(body) - offset:
            return
        yield kind & ATTRIBUTE_TYPE_MASK, body[offset + ATTRIBUTE.size : offset + length]
        offset += (length + 3) & ~3


class Refusal(NamedTuple):
    """The content of an NLMSG_ERROR message: the error number (0 for an acknowledgement) and the kernel's words."""

    errno: int
    text: str


def parse_refusal(message: Message) -> Refusal:
    """Read an NLMSG_ERROR or the end of a failed dump. Without words of the kernel, the text is that of the number.

    An answer that can't be read counts as a refusal for an unknown reason: a success may not be taken for granted.
    """
    refusal = read("refusal", lambda body: _decode_refusal(body, message.kind, message.flags), message.body)
    return refusal or Refusal(errno.EBADMSG, os.strerror(errno.EBADMSG))


def _decode_refusal(body: bytes, kind: int, flags: int) -> Refusal:
    (number,) = struct.unpack_from("=i", body)
    text = ""
    if flags & NLM_F_ACK_TLVS:
        start = 4
        if kind == NLMSG_ERROR:
            (original,) = struct.unpack_from("=I", body, 4)
            start += HEADER.size if flags & NLM_F_CAPPED else (original + 3) & ~3
        for each, value in attributes(body, start):
            if each == NLMSGERR_ATTR_MSG:
                text = value.rstrip(b"\0").decode(errors="replace")
    return Refusal(-number, text or os.strerror(-number))


def lost_messages(error: OSError) -> bool:
    """Report whether a receive failed because the kernel dropped messages for this socket."""
    return error.errno == errno.ENOBUFS
