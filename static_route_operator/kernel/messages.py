"""Route messages: many encoded into one buffer, and read back as keys and next hops.

Encoding: the message of one route is a template, repeated once per route. Then each byte that differs between the
routes is a column, filled by one strided assignment from the same column of the packed keys. No loop in Python runs
over the routes.

Decoding is the same backwards: in the kernel's messages the destination stands right after the table, and everything
else is equal for all routes that share table, metric and next hops. With the columns of the destination cleared, the
messages of such routes are equal, so one of them is parsed, and the keys are cut out by columns.
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
from static_route_operator.kernel.unreadable import pass_over, read
from static_route_operator.routing.kernelroute import BLACKHOLE, THROW, UNICAST, KernelNextHop, KernelRoute
from static_route_operator.routing.keys import DEFAULT_METRIC_IPV4, IPV4_KEY_SIZE, TABLE_MAIN, pack_table_metric
from static_route_operator.routing.keyset import KeySet
from static_route_operator.routing.nexthops import (
    PROTOCOL,
    UNKNOWN_IPV4,
    UNKNOWN_IPV6,
    NextHop,
    NextHops,
)
from static_route_operator.routing.options import METRIC_OPTIONS, Metrics
from static_route_operator.routing.prefixes import mask
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
RTA_CACHEINFO = 12
RTA_TABLE = 15
RTA_VIA = 18
RTA_PREF = 20
RTA_NH_ID = 30

RTNH_F_DEAD = 1
RTNH_F_ONLINK = 4

RTN_UNSPEC = 0
RTN_UNICAST = 1
RTN_BLACKHOLE = 6
RTN_THROW = 9
RT_SCOPE_UNIVERSE = 0
RT_SCOPE_NOWHERE = 255
RTM_F_CLONED = 0x200
RTM_F_LOOKUP_TABLE = 0x1000
RTM_F_FIB_MATCH = 0x2000

# family, destination length, source length, tos, table, protocol, scope, type, flags
RTMSG = struct.Struct("=BBBBBBBBI")
WORD = struct.Struct("=I")
_TABLE_AT = RTMSG.size + ATTRIBUTE.size
_DESTINATION_AT = _TABLE_AT + WORD.size + ATTRIBUTE.size
_SEQUENCE_AT = 8

# Attributes of the routes that this program writes, and those that the kernel adds to them. Any other one means that
# another program changed the route.
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
_OWN_METRICS = frozenset(option.number for option in METRIC_OPTIONS)

# length, flags, weight less 1, interface; attributes follow
_NEXTHOP = struct.Struct("=HBBI")

# Highest index of an interface: the kernel keeps a signed word.
_MOST_INTERFACE = (1 << 31) - 1

# Words of `ip route` for the types of routes (rtm_type).
_KINDS = {
    RTN_UNICAST: UNICAST,
    2: "local",
    3: "broadcast",
    4: "anycast",
    5: "multicast",
    RTN_BLACKHOLE: BLACKHOLE,
    7: "unreachable",
    8: "prohibit",
    RTN_THROW: THROW,
}

# Types of the routes that this program writes.
_TYPES = {UNICAST: RTN_UNICAST, BLACKHOLE: RTN_BLACKHOLE, THROW: RTN_THROW}

# Router preference by the value of RTA_PREF.
_PREFERENCES = {b"\1": 1, b"\3": -1}

_DESTINATION_HEADERS = {size: ATTRIBUTE.pack(ATTRIBUTE.size + size, RTA_DST) for size in (4, 16)}

_TYPE_AND_FLAGS = {
    Action.ADD: (RTM_NEWROUTE, NLM_F_REQUEST | NLM_F_CREATE | NLM_F_EXCL),
    Action.REPLACE: (RTM_NEWROUTE, NLM_F_REQUEST | NLM_F_REPLACE),
    Action.DELETE: (RTM_DELROUTE, NLM_F_REQUEST),
}


def _encode_hop(hop: NextHop) -> bytes:
    gateway = pack_attribute(RTA_GATEWAY, hop.gateway)
    flags = RTNH_F_ONLINK if hop.on_link else 0
    # The kernel stores the weight less 1.
    return _NEXTHOP.pack(_NEXTHOP.size + len(gateway), flags, hop.weight - 1, hop.interface) + gateway


def _encode_metrics(metrics: Metrics) -> bytes:
    return b"".join(pack_attribute(number, WORD.pack(value)) for number, value in metrics)


def encode(action: Action, next_hops: NextHops, keys: KeySet, first_sequence: int) -> bytearray:
    """Return the messages for one action on routes that share next hops, one after the other.

    Args:
        action: ADD fails in the kernel when any route holds the key, REPLACE when none does, DELETE when no route of
            protocol 245 does.
        next_hops: for a DELETE, unknown ones match whatever route of this program has the key. Of several next hops of
            an IPv6 route, the kernel deletes each one that is of protocol 245.
        keys: the routes, of the family of the next hops.
        first_sequence: sequence number of the first message; the following messages count up.
    """
    ipv4 = keys.size == IPV4_KEY_SIZE
    address_size = 4 if ipv4 else 16
    deleting = action is Action.DELETE
    kind, flags = _TYPE_AND_FLAGS[action]
    hop, *others = next_hops.hops
    rtmsg = RTMSG.pack(
        AF_INET if ipv4 else AF_INET6,
        0,
        0,
        0,
        0,
        PROTOCOL,
        RT_SCOPE_NOWHERE if deleting else RT_SCOPE_UNIVERSE,
        RTN_UNSPEC if deleting else _TYPES[next_hops.kind],
        RTNH_F_ONLINK if hop.on_link and not others else 0,
    )
    varying = (
        pack_attribute(RTA_DST, bytes(address_size))
        + pack_attribute(RTA_TABLE, bytes(4))
        + pack_attribute(RTA_PRIORITY, bytes(4))
    )
    fixed = b""
    if others:
        # The kernel compares the next hops of an IPv4 route in order if the message has any, so name none.
        if not (deleting and ipv4):
            fixed = pack_attribute(RTA_MULTIPATH, b"".join(map(_encode_hop, next_hops.hops)))
    elif next_hops.forwards:
        fixed = pack_attribute(RTA_GATEWAY, hop.gateway) if any(hop.gateway) else b""
        fixed += pack_attribute(RTA_OIF, WORD.pack(hop.interface))
    if not deleting:
        fixed += pack_attribute(RTA_PREFSRC, next_hops.source) if next_hops.source else b""
        fixed += pack_attribute(RTA_METRICS, _encode_metrics(next_hops.metrics)) if next_hops.metrics else b""
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


# Kind of the messages about routes (see `unreadable`).
ROUTE = "route"


class DecodedRoute(NamedTuple):
    """A route in a notification."""

    key: bytes
    next_hops: NextHops
    protocol: int
    tos: int = 0


class DecodedRoutes(NamedTuple):
    """Routes of a dump that differ only in their destination, with their keys in the kernel's order."""

    protocol: int
    next_hops: NextHops
    packed_keys: bytes
    tos: int = 0


class _Shape(NamedTuple):
    """Content of a message apart from the destination."""

    protocol: int
    next_hops: NextHops
    table_metric: bytes
    tos: int


class RouteDecoder:
    """Decoder of route messages. It remembers the shapes it has seen, so use one for one dump or one socket."""

    # Foreign multipath routes may have a shape each. Forgetting all shapes costs time, not correctness.
    _MAX_SHAPES = 4096

    def __init__(self) -> None:
        self._shapes: dict[bytes, _Shape] = {}

    def decode(self, body: bytes) -> DecodedRoute | None:
        """Return the route in the body of a RTM_NEWROUTE or RTM_DELROUTE.

        Returns:
            None for a cached clone, for another family, and for a message that can't be read.
        """
        return read(ROUTE, self._decode, body)

    def _decode(self, body: bytes) -> DecodedRoute | None:
        if (size := _address_size(body)) is None:
            return None
        if not body[1]:
            # The message of a default route has no destination.
            address, cleared = bytes(size), body
        else:
            start, end = _DESTINATION_AT, _DESTINATION_AT + size
            header = body[start - ATTRIBUTE.size : start]
            if header != _DESTINATION_HEADERS[size] or len(body) < end or body[1] > size * 8:
                raise ValueError("its destination is not where the kernel puts it")
            address = body[start:end]
            cleared = body[:1] + b"\0" + body[2:start] + bytes(size) + body[end:]
        shape = self._shape(cleared)
        return DecodedRoute(address + body[1:2] + shape.table_metric, shape.next_hops, shape.protocol, shape.tos)

    def decode_block(self, block: bytes, size: int) -> Iterator[DecodedRoutes]:
        """Yield the routes of consecutive messages of equal size.

        Args:
            block: whole messages, with their headers.
            size: bytes of each message.
        """
        number = len(block) // size
        body = block[HEADER.size : size]
        if len(body) < RTMSG.size:
            pass_over(ROUTE, f"it has {len(body)} bytes")
            return
        address_size = _address_size(body) or 0
        address_at = HEADER.size + _DESTINATION_AT
        if not address_size or size < address_at + address_size:
            # An unreachable default route takes fewer bytes than any destination would.
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
            taken = None
            header = shape[address_at - ATTRIBUTE.size : address_at]
            # All are of the family that was asked for; if one were not, its address would have another size.
            if header == _DESTINATION_HEADERS[address_size] and _address_size(shape[HEADER.size :]) == address_size:
                taken = self._take_columns(b"".join(found), size, shape[HEADER.size :], address_size)
            if taken is not None:
                yield taken
            else:
                # The message of a default route has no destination; or one of these messages can't be read.
                yield from self._decode_singly(b"".join(found), size)

    def _take_columns(self, block: bytes, size: int, cleared_body: bytes, address_size: int) -> DecodedRoutes | None:
        """Return the routes of messages that share a shape; None if a message can't be read."""
        lengths = block[HEADER.size + 1 :: size]
        if max(lengths) > address_size * 8 or (shape := read(ROUTE, self._shape, cleared_body)) is None:
            return None
        key_size = address_size + 1 + len(shape.table_metric)
        packed = bytearray((bytes(address_size + 1) + shape.table_metric) * (len(block) // size))
        for column in range(address_size):
            packed[column::key_size] = block[HEADER.size + _DESTINATION_AT + column :: size]
        packed[address_size::key_size] = lengths
        return DecodedRoutes(shape.protocol, shape.next_hops, bytes(packed), shape.tos)

    def _decode_singly(self, block: bytes, size: int) -> Iterator[DecodedRoutes]:
        for start in range(0, len(block), size):
            if route := self.decode(block[start + HEADER.size : start + size]):
                yield DecodedRoutes(route.protocol, route.next_hops, route.key, route.tos)

    def _shape(self, body: bytes) -> _Shape:
        """Return the shape of a message whose destination is cleared."""
        known = self._shapes.get(body)
        if known is None:
            if len(self._shapes) >= self._MAX_SHAPES:
                self._shapes.clear()
            route = parse_route(body)
            known = _Shape(
                route.protocol, _next_hops_of(route), pack_table_metric(route.table, route.metric), route.tos
            )
            self._shapes[body] = known
        return known


def _address_size(body: bytes) -> int | None:
    """Return the size of the addresses of a route; None for what is not a route of a table."""
    if body[0] == AF_INET:
        return 4
    if body[0] == AF_INET6 and not RTMSG.unpack_from(body)[-1] & RTM_F_CLONED:
        return 16
    return None


def destination_of(body: bytes) -> bytes | None:
    """Return the packed destination in the body of a route message; None for what is not a route of a table."""
    if (size := _address_size(body)) is None:
        return None
    return (body[_DESTINATION_AT : _DESTINATION_AT + size] if body[1] else bytes(size)) + body[1:2]


def parse_route(body: bytes) -> KernelRoute:
    """Return the route in the body of a RTM_NEWROUTE or RTM_DELROUTE, IPv4 or IPv6.

    Raises:
        ValueError, struct.error: the message can't be read.
    """
    family, length, source_length, tos, table, protocol, scope, kind, flags = RTMSG.unpack_from(body)
    if family not in {AF_INET, AF_INET6}:
        raise ValueError(f"its family is {family}")
    found = dict(attributes(body, RTMSG.size))
    size = 4 if family == AF_INET else 16
    address = found.get(RTA_DST, bytes(size))
    if len(address) != size or length > size * 8 or len(found.get(RTA_PREFSRC, b"")) not in {0, size}:
        raise ValueError("an address in it is of another family")
    hops: tuple[KernelNextHop, ...] = ()
    if RTA_MULTIPATH in found:
        hops = tuple(_parse_next_hops(found[RTA_MULTIPATH]))
    elif RTA_OIF in found:
        hops = (_make_hop(found, _number(found[RTA_OIF]), 1, flags, plain=True),)
    return KernelRoute(
        prefix=mask(address, length) + bytes([length]),
        table=_number(found[RTA_TABLE]) if RTA_TABLE in found else table or TABLE_MAIN,
        metric=_number(found[RTA_PRIORITY]) if RTA_PRIORITY in found else DEFAULT_METRIC_IPV4,
        protocol=protocol,
        kind=_KINDS.get(kind, str(kind)),
        hops=hops,
        source=found.get(RTA_PREFSRC, b""),
        metrics=_parse_metrics(found.get(RTA_METRICS, b"")),
        next_hop_id=_number(found[RTA_NH_ID]) if RTA_NH_ID in found else 0,
        tos=tos,
        preference=_PREFERENCES.get(found.get(RTA_PREF, b""), 0),
        scope=scope,
        plain=not tos and not source_length and found.keys() <= _OWN_ATTRIBUTES,
    )


def _number(value: bytes) -> int:
    """Return a word in host order."""
    return int(WORD.unpack_from(value)[0])


def _parse_metrics(value: bytes) -> Metrics:
    """Return the metrics in a RTA_METRICS; one whose value is no number, as that of RTAX_CC_ALGO, with a value of 0."""
    metrics = attributes(value)
    return tuple(sorted((number, _number(each) if len(each) == WORD.size else 0) for number, each in metrics))


def _parse_next_hops(value: bytes) -> Iterator[KernelNextHop]:
    """Yield the next hops in a RTA_MULTIPATH."""
    offset = 0
    while offset + _NEXTHOP.size <= len(value):
        length, flags, further, interface = _NEXTHOP.unpack_from(value, offset)
        if length < _NEXTHOP.size:
            return
        found = dict(attributes(value[offset : offset + length], _NEXTHOP.size))
        yield _make_hop(found, interface, further + 1, flags, plain=found.keys() == {RTA_GATEWAY})
        offset += (length + 3) & ~3


def _make_hop(found: dict[int, bytes], interface: int, weight: int, flags: int, *, plain: bool) -> KernelNextHop:
    if interface > _MOST_INTERFACE:
        raise ValueError(f"its interface has the number {interface}")
    # In place of a gateway, RTA_VIA has one of another family: the number of the family, then the address.
    gateway = found[RTA_VIA][2:] if RTA_VIA in found else found.get(RTA_GATEWAY, b"")
    if len(gateway) not in {4, 16}:
        gateway, plain = b"", plain and not gateway
    return KernelNextHop(gateway, interface, weight, bool(flags & RTNH_F_ONLINK), bool(flags & RTNH_F_DEAD), plain)


def _next_hops_of(route: KernelRoute) -> NextHops:
    """Return the next hops of a route as this program writes them; unknown ones if the program never writes such.

    A foreign route matters only for where its packets go, whatever other attributes it has.
    """
    size = len(route.prefix) - 1
    metrics = tuple(each for each in route.metrics if each[0] in _OWN_METRICS)
    unknown = UNKNOWN_IPV4 if size == 4 else UNKNOWN_IPV6
    foreign = route.protocol != PROTOCOL
    if foreign or (route.plain and metrics == route.metrics):
        if route.kind == UNICAST and (hops := _own_hops(route, size)):
            return NextHops(hops, route.source, metrics)
        if foreign or (route.kind in _TYPES and not route.source and not metrics):
            return unknown._replace(kind=route.kind)
    return unknown


def _own_hops(route: KernelRoute, size: int) -> tuple[NextHop, ...]:
    """Return the next hops of a unicast route, sorted; none if one of them is such as this program never writes."""
    if len(route.hops) == 1 and route.hops[0].plain:
        (hop,) = route.hops
        hops = [NextHop(hop.gateway or bytes(size), hop.interface, hop.weight, hop.on_link)]
    elif size == 4 and not all(hop.plain for hop in route.hops):
        return ()
    else:
        # The kernel finds an IPv6 next hop by its gateway alone, so other attributes of it do not matter.
        hops = [NextHop(hop.gateway, hop.interface, hop.weight, hop.on_link) for hop in route.hops]
    known = all(len(hop.gateway) == size and hop.interface for hop in hops)
    return tuple(sorted(hops)) if known else ()
