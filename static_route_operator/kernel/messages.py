"""Route messages: many encoded into one buffer, and read back as keys and paths.

Encoding: the message of one route is a template, repeated once per route; then each byte that differs between the
routes is a column, filled by one strided assignment from the same column of the packed keys. There is no loop over
routes in Python.

Decoding is the same backwards: in the kernel's messages the destination stands right after the table, and everything
else is the same for all routes that share a path. With the destination's columns cleared the messages of such routes
are equal, so a path is decoded once, and the keys are cut out by columns.
"""

import struct
from array import array
from collections.abc import Iterator
from typing import NamedTuple

from static_route_operator.kernel.netlink import (
    ATTRIBUTE,
    HEADER,
    NLM_F_CREATE,
    NLM_F_EXCL,
    NLM_F_REPLACE,
    NLM_F_REQUEST,
    attributes,
)
from static_route_operator.keys import DEFAULT_METRIC_IPV4, IPV4_KEY_SIZE, Keys
from static_route_operator.planning.routes import UNKNOWN_PATH_IPV4, UNKNOWN_PATH_IPV6, Action, Path

# Routes of this program carry this number as their protocol: it is how they are told from everybody else's.
PROTOCOL = 245

RTM_NEWROUTE = 24
RTM_DELROUTE = 25
RTM_GETROUTE = 26

AF_INET = 2
AF_INET6 = 10

RTA_DST = 1
RTA_OIF = 4
RTA_GATEWAY = 5
RTA_PRIORITY = 6
RTA_PREFSRC = 7
RTA_METRICS = 8
RTA_MULTIPATH = 9
RTA_TABLE = 15
RTA_VIA = 18

RTAX_MTU = 2
RTNH_F_ONLINK = 4

RTN_UNSPEC = 0
RTN_UNICAST = 1
RT_SCOPE_UNIVERSE = 0
RT_SCOPE_NOWHERE = 255
RTM_F_CLONED = 0x200
RTM_F_FIB_MATCH = 0x2000

# family, destination length, source length, tos, table, protocol, scope, type, flags
RTMSG = struct.Struct("=BBBBBBBBI")
PROTOCOL_AT = 5
_TABLE_AT = RTMSG.size + ATTRIBUTE.size
_DESTINATION_AT = _TABLE_AT + 4 + ATTRIBUTE.size
_DESTINATION_HEADERS = {size: ATTRIBUTE.pack(ATTRIBUTE.size + size, RTA_DST) for size in (4, 16)}

_WORD = struct.Struct("=I")
_TYPE_AND_FLAGS = {
    Action.ADD: (RTM_NEWROUTE, NLM_F_REQUEST | NLM_F_CREATE | NLM_F_EXCL),
    Action.REPLACE: (RTM_NEWROUTE, NLM_F_REQUEST | NLM_F_REPLACE),
    Action.DELETE: (RTM_DELROUTE, NLM_F_REQUEST),
}
_SEQUENCE_AT = 8


def _attribute(kind: int, value: bytes) -> bytes:
    return ATTRIBUTE.pack(ATTRIBUTE.size + len(value), kind) + value


def encode(action: Action, path: Path, keys: Keys, first_sequence: int) -> bytearray:
    """The messages for one action on routes that share a path, one after the other.

    Args:
        action: what to do. ADD fails in the kernel when any route holds the key, REPLACE when none does, DELETE when
            none of protocol 245 does.
        path: for DELETE an unknown path matches whatever route of ours has the key.
        keys: of the family of the path.
        first_sequence: sequence number of the first message; the next ones count up.
    """
    ipv4 = keys.size == IPV4_KEY_SIZE
    address_size = 4 if ipv4 else 16
    deleting = action is Action.DELETE
    kind, flags = _TYPE_AND_FLAGS[action]
    rtmsg = RTMSG.pack(
        AF_INET if ipv4 else AF_INET6,
        0,
        0,
        0,
        0,
        PROTOCOL,
        RT_SCOPE_NOWHERE if deleting else RT_SCOPE_UNIVERSE,
        RTN_UNSPEC if deleting else RTN_UNICAST,
        RTNH_F_ONLINK if path.on_link else 0,
    )
    varying = (
        _attribute(RTA_DST, bytes(address_size)) + _attribute(RTA_TABLE, bytes(4)) + _attribute(RTA_PRIORITY, bytes(4))
    )
    fixed = b""
    if path.interface:
        fixed = _attribute(RTA_GATEWAY, path.gateway) + _attribute(RTA_OIF, _WORD.pack(path.interface))
    if not deleting:
        fixed += _attribute(RTA_PREFSRC, path.source) if path.source else b""
        fixed += _attribute(RTA_METRICS, _attribute(RTAX_MTU, _WORD.pack(path.mtu))) if path.mtu else b""
    size = HEADER.size + len(rtmsg) + len(varying) + len(fixed)
    buffer = bytearray((HEADER.pack(size, kind, flags, 0, 0) + rtmsg + varying + fixed) * len(keys))

    length_at = HEADER.size + 1
    address_at = HEADER.size + RTMSG.size + ATTRIBUTE.size
    table_at = address_at + address_size + ATTRIBUTE.size
    metric_at = table_at + 4 + ATTRIBUTE.size
    places = [
        *range(address_at, address_at + address_size),
        length_at,
        *range(table_at, table_at + 4),
        *range(metric_at, metric_at + 4),
    ]
    for column, place in enumerate(places):
        buffer[place::size] = keys.packed[column :: keys.size]
    sequences = array("I", range(first_sequence, first_sequence + len(keys))).tobytes()
    for column in range(4):
        buffer[_SEQUENCE_AT + column :: size] = sequences[column::4]
    return buffer


class DecodedRoute(NamedTuple):
    """A route in a notification."""

    key: bytes
    path: Path
    protocol: int


class DecodedRoutes(NamedTuple):
    """Routes of a dump that share everything but their destination, with their keys in the kernel's order."""

    protocol: int
    path: Path
    packed_keys: bytes


class _Shape(NamedTuple):
    """What a message says apart from the destination."""

    protocol: int
    path: Path
    tail: bytes


class RouteDecoder:
    """Reads route messages; remembers the paths it has seen, so it is meant for one dump or one socket."""

    # A table of foreign multipath routes may have a path each; forgetting them costs time, not correctness.
    _MOST_SHAPES = 4096

    def __init__(self) -> None:
        self._shapes: dict[bytes, _Shape] = {}

    def decode(self, body: bytes) -> DecodedRoute | None:
        """The route in the body of a RTM_NEWROUTE or RTM_DELROUTE; None for a cached clone or another family."""
        if (size := _address_size(body)) is None:
            return None
        if not body[1]:
            # A default route is told without a destination.
            address, cleared = bytes(size), body
        else:
            start, end = _DESTINATION_AT, _DESTINATION_AT + size
            address = body[start:end]
            cleared = body[:1] + b"\0" + body[2:start] + bytes(size) + body[end:]
        shape = self._shape(cleared)
        return DecodedRoute(address + body[1:2] + shape.tail, shape.path, shape.protocol)

    def decode_block(self, block: bytes, size: int) -> Iterator[DecodedRoutes]:
        """The routes of many messages of equal size that stand one after the other, of one family.

        Args:
            block: whole messages, with their headers.
            size: of each message, in bytes.
        """
        number = len(block) // size
        body = block[HEADER.size : size]
        if (address_size := _address_size(body)) is None:
            return
        address_at = HEADER.size + _DESTINATION_AT
        cleared = bytearray(block)
        cleared[HEADER.size + 1 :: size] = bytes(number)
        for column in range(address_at, address_at + address_size):
            cleared[column::size] = bytes(number)
        shape = bytes(cleared[:size])
        by_shape: dict[bytes, list[bytes]] = {}
        if cleared == shape * number:
            by_shape[shape] = [block]
        else:
            for start in range(0, len(block), size):
                by_shape.setdefault(bytes(cleared[start : start + size]), []).append(block[start : start + size])
        for shape, found in by_shape.items():
            if shape[HEADER.size + _DESTINATION_AT - ATTRIBUTE.size : address_at] == _DESTINATION_HEADERS[address_size]:
                yield self._take_columns(b"".join(found), size, shape[HEADER.size :], address_size)
            else:
                # A default route is told without a destination.
                yield from self._decode_singly(b"".join(found), size)

    def _take_columns(self, block: bytes, size: int, cleared_body: bytes, address_size: int) -> DecodedRoutes:
        shape = self._shape(cleared_body)
        key_size = address_size + 1 + len(shape.tail)
        packed = bytearray((bytes(address_size + 1) + shape.tail) * (len(block) // size))
        for column in range(address_size):
            packed[column::key_size] = block[HEADER.size + _DESTINATION_AT + column :: size]
        packed[address_size::key_size] = block[HEADER.size + 1 :: size]
        return DecodedRoutes(shape.protocol, shape.path, bytes(packed))

    def _decode_singly(self, block: bytes, size: int) -> Iterator[DecodedRoutes]:
        for start in range(0, len(block), size):
            if route := self.decode(block[start + HEADER.size : start + size]):
                yield DecodedRoutes(route.protocol, route.path, route.key)

    def _shape(self, body: bytes) -> _Shape:
        """What a message says whose destination is cleared."""
        known = self._shapes.get(body)
        if known is None:
            if len(self._shapes) >= self._MOST_SHAPES:
                self._shapes.clear()
            known = self._shapes[body] = _decode_shape(body)
        return known


def _address_size(body: bytes) -> int | None:
    """Of the family of a route; None for what is no route of a table."""
    if body[0] == AF_INET:
        return 4
    if body[0] == AF_INET6 and not RTMSG.unpack_from(body)[-1] & RTM_F_CLONED:
        return 16
    return None


def _decode_shape(body: bytes) -> _Shape:
    family, _, source_length, tos, _, protocol, _, kind, flags = RTMSG.unpack_from(body)
    size = 4 if family == AF_INET else 16
    metric = _WORD.pack(DEFAULT_METRIC_IPV4)
    gateway, source, interface, mtu = b"", b"", 0, 0
    plain = kind == RTN_UNICAST and not tos and not source_length
    for attribute, value in attributes(body, RTMSG.size):
        if attribute == RTA_PRIORITY:
            metric = value
        elif attribute == RTA_GATEWAY:
            gateway = value
        elif attribute == RTA_OIF:
            (interface,) = _WORD.unpack(value)
        elif attribute == RTA_PREFSRC:
            source = value
        elif attribute == RTA_METRICS:
            metrics = dict(attributes(value))
            (mtu,) = _WORD.unpack(metrics.pop(RTAX_MTU, bytes(4)))
            plain = plain and not metrics
        elif attribute in {RTA_MULTIPATH, RTA_VIA}:
            plain = False
    tail = body[_TABLE_AT : _TABLE_AT + _WORD.size] + metric
    if not plain or len(gateway) != size or not interface:
        return _Shape(protocol, UNKNOWN_PATH_IPV4 if family == AF_INET else UNKNOWN_PATH_IPV6, tail)
    return _Shape(protocol, Path(gateway, interface, source, mtu, bool(flags & RTNH_F_ONLINK)), tail)
