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
    pack_attribute,
)
from static_route_operator.routing.keys import DEFAULT_METRIC_IPV4, IPV4_KEY_SIZE
from static_route_operator.routing.keyset import KeySet
from static_route_operator.routing.nexthops import (
    BLACKHOLE_IPV4,
    BLACKHOLE_IPV6,
    PROTOCOL,
    UNKNOWN_IPV4,
    UNKNOWN_IPV6,
    NextHop,
    NextHops,
    protocol_name,
)
from static_route_operator.routing.options import METRIC_OPTIONS, Metrics
from static_route_operator.routing.prefixes import unpack_address
from static_route_operator.routing.routes import Action

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
RTA_CACHEINFO = 12
RTA_VIA = 18
RTA_PREF = 20
RTA_NH_ID = 30

RTNH_F_ONLINK = 4

RTN_UNSPEC = 0
RTN_UNICAST = 1
RTN_BLACKHOLE = 6
RT_SCOPE_UNIVERSE = 0
RT_SCOPE_NOWHERE = 255
RTM_F_CLONED = 0x200
RTM_F_LOOKUP_TABLE = 0x1000
RTM_F_FIB_MATCH = 0x2000

# family, destination length, source length, tos, table, protocol, scope, type, flags
RTMSG = struct.Struct("=BBBBBBBBI")
PROTOCOL_AT = 5
_TABLE_AT = RTMSG.size + ATTRIBUTE.size
_DESTINATION_AT = _TABLE_AT + 4 + ATTRIBUTE.size

# What may stand in a route that this program wrote; anything else is of somebody else's making.
_OWN_ATTRIBUTES = frozenset(
    {
        RTA_DST,
        RTA_OIF,
        RTA_GATEWAY,
        RTA_PRIORITY,
        RTA_PREFSRC,
        RTA_METRICS,
        RTA_MULTIPATH,
        RTA_CACHEINFO,
        RTA_TABLE,
        RTA_PREF,
    }
)

# RTAX numbers of the metrics that this program writes.
_METRICS = frozenset(option.number for option in METRIC_OPTIONS)

# length, flags, hops, interface; attributes follow
_NEXTHOP = struct.Struct("=HBBI")

# Names of rtm_type in the words of `ip route`.
_KIND_NAMES = {RTN_BLACKHOLE: "blackhole", 7: "unreachable", 8: "prohibit", 9: "throw"}

_DESTINATION_HEADERS = {size: ATTRIBUTE.pack(ATTRIBUTE.size + size, RTA_DST) for size in (4, 16)}

_WORD = struct.Struct("=I")
_TYPE_AND_FLAGS = {
    Action.ADD: (RTM_NEWROUTE, NLM_F_REQUEST | NLM_F_CREATE | NLM_F_EXCL),
    Action.REPLACE: (RTM_NEWROUTE, NLM_F_REQUEST | NLM_F_REPLACE),
    Action.DELETE: (RTM_DELROUTE, NLM_F_REQUEST),
}
_SEQUENCE_AT = 8


def _encode_hop(hop: NextHop) -> bytes:
    gateway = pack_attribute(RTA_GATEWAY, hop.gateway)
    flags = RTNH_F_ONLINK if hop.on_link else 0
    # The kernel counts the further ones: 0 is a weight of 1.
    return _NEXTHOP.pack(_NEXTHOP.size + len(gateway), flags, hop.weight - 1, hop.interface) + gateway


def _encode_metrics(metrics: Metrics) -> bytes:
    return b"".join(pack_attribute(number, _WORD.pack(value)) for number, value in metrics)


def encode(action: Action, path: NextHops, keys: KeySet, first_sequence: int) -> bytearray:
    """The messages for one action on routes that share a path, one after the other.

    Args:
        action: what to do. ADD fails in the kernel when any route holds the key, REPLACE when none does, DELETE when
            none of protocol 245 does.
        path: for DELETE a path that leads nowhere matches whatever route of ours has the key; of several next hops of
            an IPv6 route those go that are of protocol 245, each by itself.
        keys: of the family of the path.
        first_sequence: sequence number of the first message; the next ones count up.
    """
    ipv4 = keys.size == IPV4_KEY_SIZE
    address_size = 4 if ipv4 else 16
    deleting = action is Action.DELETE
    kind, flags = _TYPE_AND_FLAGS[action]
    hop, *others = path.hops
    rtmsg = RTMSG.pack(
        AF_INET if ipv4 else AF_INET6,
        0,
        0,
        0,
        0,
        PROTOCOL,
        RT_SCOPE_NOWHERE if deleting else RT_SCOPE_UNIVERSE,
        RTN_UNSPEC if deleting else RTN_BLACKHOLE if path.blackhole else RTN_UNICAST,
        RTNH_F_ONLINK if hop.on_link and not others else 0,
    )
    varying = (
        pack_attribute(RTA_DST, bytes(address_size))
        + pack_attribute(RTA_TABLE, bytes(4))
        + pack_attribute(RTA_PRIORITY, bytes(4))
    )
    fixed = b""
    if others:
        # An IPv4 route goes as a whole, in whatever order its next hops are.
        if not (deleting and ipv4):
            fixed = pack_attribute(RTA_MULTIPATH, b"".join(map(_encode_hop, path.hops)))
    elif path.forwards:
        fixed = pack_attribute(RTA_GATEWAY, hop.gateway) if any(hop.gateway) else b""
        fixed += pack_attribute(RTA_OIF, _WORD.pack(hop.interface))
    if not deleting:
        fixed += pack_attribute(RTA_PREFSRC, path.source) if path.source else b""
        fixed += pack_attribute(RTA_METRICS, _encode_metrics(path.metrics)) if path.metrics else b""
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
    path: NextHops
    protocol: int


class DecodedRoutes(NamedTuple):
    """Routes of a dump that share everything but their destination, with their keys in the kernel's order."""

    protocol: int
    path: NextHops
    packed_keys: bytes


class _Shape(NamedTuple):
    """What a message says apart from the destination."""

    protocol: int
    path: NextHops
    table_metric: bytes


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
        return DecodedRoute(address + body[1:2] + shape.table_metric, shape.path, shape.protocol)

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
        if size < address_at + address_size:
            # A default route that leads nowhere says less than any destination would take.
            yield from self._decode_singly(block, size)
            return
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
        key_size = address_size + 1 + len(shape.table_metric)
        packed = bytearray((bytes(address_size + 1) + shape.table_metric) * (len(block) // size))
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
    found = dict(attributes(body, RTMSG.size))
    table_metric = body[_TABLE_AT : _TABLE_AT + _WORD.size] + found.get(RTA_PRIORITY, _WORD.pack(DEFAULT_METRIC_IPV4))
    source, metrics = found.get(RTA_PREFSRC, b""), dict(attributes(found.get(RTA_METRICS, b"")))
    known = tuple(sorted((number, _number(value)) for number, value in metrics.items() if number in _METRICS))
    ours = protocol == PROTOCOL
    # Of a foreign route it matters where it leads, whatever else it says.
    written = metrics.keys() <= _METRICS and found.keys() <= _OWN_ATTRIBUTES
    plain = not ours or (not tos and not source_length and written)
    hops: tuple[NextHop, ...] = ()
    if kind == RTN_UNICAST:
        if RTA_MULTIPATH in found:
            hops = tuple(sorted(_decode_hop(each, size) for each in next_hops(found[RTA_MULTIPATH])))
        elif RTA_VIA not in found:
            gateway, interface = found.get(RTA_GATEWAY, bytes(size)), _number(found.get(RTA_OIF))
            hops = (NextHop(gateway, interface, on_link=bool(flags & RTNH_F_ONLINK)),)
    path = UNKNOWN_IPV4 if size == 4 else UNKNOWN_IPV6
    if plain and hops and all(len(hop.gateway) == size and hop.interface for hop in hops):
        path = NextHops(hops, source, known)
    elif plain and kind == RTN_BLACKHOLE and not source and not metrics:
        path = BLACKHOLE_IPV4 if size == 4 else BLACKHOLE_IPV6
    return _Shape(protocol, path, table_metric)


def _number(value: bytes | None) -> int:
    """A word in host order; 0 for none."""
    return 0 if value is None else int(_WORD.unpack(value)[0])


class _NextHop(NamedTuple):
    """One next hop of a multipath route."""

    flags: int
    weight: int
    interface: int
    attributes: dict[int, bytes]


def next_hops(value: bytes) -> Iterator[_NextHop]:
    """The next hops in the value of a RTA_MULTIPATH."""
    offset = 0
    while offset + _NEXTHOP.size <= len(value):
        length, flags, further, interface = _NEXTHOP.unpack_from(value, offset)
        if length < _NEXTHOP.size:
            return
        yield _NextHop(flags, further + 1, interface, dict(attributes(value[offset : offset + length], _NEXTHOP.size)))
        offset += (length + 3) & ~3


def _decode_hop(hop: _NextHop, size: int) -> NextHop:
    """A next hop of a multipath route; without a gateway if it is none that this program writes.

    What else an IPv6 one may say is passed over: it is in its place by its gateway, whoever put it there.
    """
    known = size != 4 or hop.attributes.keys() == {RTA_GATEWAY}
    gateway = hop.attributes.get(RTA_GATEWAY, b"") if known else b""
    return NextHop(gateway, hop.interface, hop.weight, bool(hop.flags & RTNH_F_ONLINK))


def describe(body: bytes) -> str:
    """A route without its destination, in the words of `ip route`: type, next hops and protocol."""
    rtmsg = RTMSG.unpack_from(body)
    protocol, kind = rtmsg[5], rtmsg[7]
    found = dict(attributes(body, RTMSG.size))
    words = [_KIND_NAMES[kind]] if kind in _KIND_NAMES else []
    if RTA_NH_ID in found:
        words.append(f"nhid {_number(found[RTA_NH_ID])}")
    for hop in (found, *(each.attributes for each in next_hops(found.get(RTA_MULTIPATH, b"")))):
        if RTA_GATEWAY in hop:
            words.append(f"via {unpack_address(hop[RTA_GATEWAY])}")
        elif RTA_VIA in hop:
            # The gateway of another family: its number, then the address.
            words.append(f"via {unpack_address(hop[RTA_VIA][2:])}")
    return " ".join([*words, f"proto {protocol_name(protocol)}"])
