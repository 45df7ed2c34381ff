"""Route messages, held against plain ones packed field by field as linux/rtnetlink.h says."""

import ipaddress
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyroute2.netlink.rtnl.rtmsg import rtmsg

from static_route_operator.kernel.messages import RTMSG, DecodedRoute, DecodedRoutes, RouteDecoder, encode, parse_route
from static_route_operator.kernel.netlink import HEADER, blocks
from static_route_operator.routing.description import holder_words
from static_route_operator.routing.keys import prefix_of, unpack_table_metric
from static_route_operator.routing.nexthops import (
    BLACKHOLE_IPV4,
    BLACKHOLE_IPV6,
    PROTOCOL,
    THROW_IPV4,
    THROW_IPV6,
    UNKNOWN_IPV4,
    UNKNOWN_IPV6,
    NextHop,
    NextHops,
)
from static_route_operator.routing.options import METRIC_OPTIONS
from static_route_operator.routing.prefixes import pack_address, unpack_address
from static_route_operator.routing.routes import Action
from tests.unit.builders import make_key, pack

GATEWAY4 = NextHops.via(pack_address("10.0.0.1"), 2)
GATEWAY6 = NextHops.via(pack_address("fd00::1"), 70_000)
# Each metric at its greatest value.
METRICS = tuple(sorted((option.number, option.maximum) for option in METRIC_OPTIONS))

RICH4 = NextHops.via(pack_address("10.0.0.1"), 2, pack_address("10.0.0.9"), METRICS, on_link=True)
RICH6 = NextHops.via(pack_address("fd00::1"), 2, pack_address("fd00::9"), METRICS, on_link=True)

MANY4 = NextHops(
    (NextHop(pack_address("10.0.0.1"), 2, 3), NextHop(pack_address("10.0.0.3"), 7, 256, on_link=True)),
    pack_address("10.0.0.9"),
    ((2, 1400),),
)
MANY6 = NextHops((NextHop(pack_address("fd00::1"), 2), NextHop(pack_address("fd00::3"), 70_000, 256, on_link=True)))

# Type and flags: RTM_NEWROUTE 24 with REQUEST|CREATE|EXCL, with REQUEST|REPLACE, RTM_DELROUTE 25 with REQUEST.
_KINDS = {Action.ADD: (24, 0x601), Action.REPLACE: (24, 0x101), Action.DELETE: (25, 0x1)}


def _attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value


def _metrics(path: NextHops) -> bytes:
    return b"".join(_attribute(number, struct.pack("=I", value)) for number, value in path.metrics)


def _message(action: Action, path: NextHops, key: bytes, sequence: int) -> bytes:
    """One request, the slow way."""
    address, length, (table, metric) = key[:-9], key[-9], struct.unpack("=II", key[-8:])
    family = 2 if len(address) == 4 else 10
    scope, kind = (255, 0) if action is Action.DELETE else (0, {"unicast": 1, "blackhole": 6, "throw": 9}[path.kind])
    hop, *others = path.hops
    flags = 4 if hop.on_link and not others else 0
    body = struct.pack("=BBBBBBBBI", family, length, 0, 0, 0, 245, scope, kind, flags)
    body += _attribute(1, address) + _attribute(15, struct.pack("=I", table)) + _attribute(6, struct.pack("=I", metric))
    if others and not (action is Action.DELETE and family == 2):
        body += _attribute(9, b"".join(_next_hop(*each) for each in path.hops))
    elif hop.interface and not others:
        body += _attribute(5, hop.gateway) + _attribute(4, struct.pack("=I", hop.interface))
    if action is not Action.DELETE:
        body += _attribute(7, path.source) if path.source else b""
        body += _attribute(8, _metrics(path)) if path.metrics else b""
    kind, flags = _KINDS[action]
    return struct.pack("=IHHII", 16 + len(body), kind, flags, sequence, 0) + body


def _keys(count: int, *, ipv4: bool) -> list[bytes]:
    if ipv4:
        return [
            make_key(ipaddress.IPv4Address(0x0B000000 + 77 * each).packed + bytes([32 - each % 25]), 254, each % 3)
            for each in range(count)
        ]
    return [
        make_key(
            ipaddress.IPv6Address((0x20010DB8 << 96) + 0x123456789 * each).packed + bytes([128 - each % 100]),
            100_000 + each,
            1024,
        )
        for each in range(count)
    ]


@pytest.mark.parametrize("count", [1, 2, 1000])
@pytest.mark.parametrize(
    ("action", "path"),
    [
        *(
            (action, path)
            for action in Action
            for path in (GATEWAY4, GATEWAY6, RICH4, RICH6, MANY4, MANY6, BLACKHOLE_IPV4, BLACKHOLE_IPV6, THROW_IPV4)
        ),
        (Action.DELETE, UNKNOWN_IPV4),
        (Action.DELETE, UNKNOWN_IPV6),
    ],
)
def test_messages_are_those_packed_one_by_one(action: Action, path: NextHops, count: int) -> None:
    """Many messages encoded at once equal the same ones packed field by field, to the byte."""
    keys = pack(_keys(count, ipv4=path.address_size == 4))

    buffer = encode(action, path, keys, 65_530)

    expected = [_message(action, path, key, 65_530 + index) for index, key in enumerate(keys)]
    assert len(expected[0]) % 4 == 0
    assert bytes(buffer) == b"".join(expected)


def _dumped(
    key: bytes, path: NextHops, *, protocol: int = PROTOCOL, kind: int = 1, flags: int = 0, tos: int = 0
) -> bytes:
    """The body of a message as the kernel dumps a route: table, destination unless it is the default, the rest."""
    address, length, (table, metric) = key[:-9], key[-9], struct.unpack("=II", key[-8:])
    family = 2 if len(address) == 4 else 10
    first, *others = path.hops
    flags |= 4 if first.on_link and not others else 0
    body = struct.pack("=BBBBBBBBI", family, length, 0, tos, table & 0xFF, protocol, 0, kind, flags)
    body += _attribute(15, struct.pack("=I", table))
    body += _attribute(1, address) if length else b""
    body += _attribute(6, struct.pack("=I", metric)) if metric else b""
    body += _attribute(8, _metrics(path)) if path.metrics else b""
    body += _attribute(7, path.source) if path.source else b""
    if others:
        # In an order of the kernel's own.
        return body + _attribute(9, b"".join(_next_hop(*hop) for hop in path.hops[::-1]))
    body += _attribute(5, first.gateway) if first.gateway else b""
    body += _attribute(4, struct.pack("=I", first.interface)) if first.interface else b""
    return body


def _next_hop(gateway: bytes, interface: int, weight: int = 1, on_link: bool = False) -> bytes:  # noqa: FBT002
    attributes = _attribute(5, gateway)
    return struct.pack("=HBBI", 8 + len(attributes), 4 if on_link else 0, weight - 1, interface) + attributes


_keys4 = st.builds(
    lambda address, length, table, metric: make_key(
        ipaddress.ip_network((address, length), strict=False).network_address.packed + bytes([length]), table, metric
    ),
    st.ip_addresses(v=4),
    st.integers(0, 32),
    st.integers(1, 2**32 - 1),
    st.integers(0, 2**32 - 1),
)
_keys6 = st.builds(
    lambda address, length, table, metric: make_key(
        ipaddress.ip_network((address, length), strict=False).network_address.packed + bytes([length]), table, metric
    ),
    st.ip_addresses(v=6),
    st.integers(0, 128),
    st.integers(1, 2**32 - 1),
    st.integers(1, 2**32 - 1),
)
_addresses4 = st.ip_addresses(v=4).map(lambda each: each.packed)
_addresses6 = st.ip_addresses(v=6).map(lambda each: each.packed)
_interfaces = st.integers(1, 2**31 - 1)
_metric_sets = st.tuples(
    *(st.none() | st.tuples(st.just(each.number), st.integers(each.minimum, each.maximum)) for each in METRIC_OPTIONS)
).map(lambda each: tuple(sorted(filter(None, each))))


def _paths(addresses: st.SearchStrategy[bytes]) -> st.SearchStrategy[NextHops]:
    sources = st.just(b"") | addresses
    hops = st.lists(
        st.builds(NextHop, addresses, _interfaces, st.integers(1, 256), st.booleans()), min_size=2, max_size=4
    )
    one = st.builds(NextHops.via, addresses, _interfaces, sources, _metric_sets, st.booleans())
    many = st.builds(lambda each, *rest: NextHops(tuple(sorted(each)), *rest), hops, sources, _metric_sets)
    return one | many


_paths4 = _paths(_addresses4)
_paths6 = _paths(_addresses6)


@given(st.lists(st.tuples(_keys4, _paths4) | st.tuples(_keys6, _paths6), max_size=20), st.integers(1, 255))
def test_dumped_routes_are_read_back(routes: list[tuple[bytes, NextHops]], protocol: int) -> None:
    """Key, path and protocol of any unicast route come out of one decoder as they went into the kernel's message."""
    decoder = RouteDecoder()

    for key, path in routes:
        assert decoder.decode(_dumped(key, path, protocol=protocol)) == DecodedRoute(key, path, protocol)


@given(
    st.lists(st.tuples(_keys4, st.sampled_from([GATEWAY4, RICH4]) | _paths4, st.sampled_from([245, 4])), max_size=40)
    | st.lists(st.tuples(_keys6, st.sampled_from([GATEWAY6, RICH6]) | _paths6, st.sampled_from([245, 4])), max_size=40)
)
def test_dumps_are_read_back_in_bulk(routes: list[tuple[bytes, NextHops, int]]) -> None:
    """Whatever shapes the messages of a dump have, and however they are mixed, each route comes out once."""
    bodies = [_dumped(key, path, protocol=protocol) for key, path, protocol in routes]
    datagram = b"".join(struct.pack("=IHHII", 16 + len(body), 24, 2, 7, 0) + body for body in bodies)
    decoder = RouteDecoder()

    found = [each for block in blocks(datagram) for each in decoder.decode_block(block.packed, block.size)]

    size = len(routes[0][0]) if routes else 1
    keys = [
        (packed[start : start + size], path, protocol)
        for protocol, path, packed, _ in found
        for start in range(0, len(packed), size)
    ]
    assert sorted(keys) == sorted(routes)


def test_routes_of_one_shape_are_read_at_once() -> None:
    """Routes that differ in their destinations only are one piece, in the kernel's order."""
    keys = _keys(100, ipv4=True)[:1] * 3 + [make_key(f"192.0.2.{each}", 254, 0) for each in range(100)][::-1]
    bodies = [_dumped(key, GATEWAY4) for key in keys]
    datagram = b"".join(struct.pack("=IHHII", 16 + len(body), 24, 2, 7, 0) + body for body in bodies)

    (block,) = blocks(datagram)

    (found,) = RouteDecoder().decode_block(block.packed, block.size)
    assert found == DecodedRoutes(PROTOCOL, GATEWAY4, b"".join(keys))


def test_paths_are_not_confused_across_families_and_kinds() -> None:
    """Routes whose messages end alike, but that are of another family or kind, do not share a remembered path."""
    decoder = RouteDecoder()
    key4, key6 = make_key("192.0.2.0/24", 254, 0), make_key("2001:db8::/32", 254, 0)
    by_interface = NextHops.via(b"", 2)

    assert decoder.decode(_dumped(key4, GATEWAY4)) == DecodedRoute(key4, GATEWAY4, PROTOCOL)
    assert decoder.decode(_dumped(key4, GATEWAY4, kind=6)) == DecodedRoute(key4, BLACKHOLE_IPV4, PROTOCOL)
    assert decoder.decode(_dumped(key4, GATEWAY4, kind=7)) == DecodedRoute(key4, UNKNOWN_IPV4, PROTOCOL)
    assert decoder.decode(_dumped(key4, GATEWAY4)) == DecodedRoute(key4, GATEWAY4, PROTOCOL)
    assert decoder.decode(_dumped(key6, by_interface)) == DecodedRoute(key6, NextHops.via(bytes(16), 2), PROTOCOL)
    assert decoder.decode(_dumped(key4, by_interface)) == DecodedRoute(key4, NextHops.via(bytes(4), 2), PROTOCOL)
    assert decoder.decode(_dumped(key4, GATEWAY4, tos=8)) == DecodedRoute(key4, UNKNOWN_IPV4, PROTOCOL, tos=8)


def test_foreign_route_is_known_by_where_it_leads() -> None:
    """Whatever else a route of another program says (here a hop limit), its next hop is read; none is a neighbour's."""
    key = make_key("2001:db8::/32", 254, 1024)
    hop_limit = _attribute(8, _attribute(10, struct.pack("=I", 64)))
    gateway = NextHops.via(bytes(15) + b"\1", 2)

    for path, read in ((gateway, gateway), (NextHops.via(b"", 2), NextHops.via(bytes(16), 2))):
        body = _dumped(key, path, protocol=9) + hop_limit
        assert RouteDecoder().decode(body) == DecodedRoute(key, read, 9)


def test_default_route_that_leads_nowhere_is_read() -> None:
    """An unreachable default route, whose message is shorter than any other, does not disturb a dump."""
    body = RTMSG.pack(2, 0, 0, 0, 254, 3, 0, 7, 0) + _attribute(15, struct.pack("=I", 254))
    message = HEADER.pack(HEADER.size + len(body), 24, 0, 1, 0) + body

    (found,) = RouteDecoder().decode_block(message, len(message))
    assert found == DecodedRoutes(3, UNKNOWN_IPV4._replace(kind="unreachable"), make_key("0.0.0.0/0", 254, 0))


@pytest.mark.parametrize(
    ("extra", "what"),
    [
        (_attribute(9, struct.pack("=HBBI", 8, 0, 0, 2)), "several next hops"),
        (_attribute(18, struct.pack("=H16s", 10, bytes(16))), "an IPv6 next hop for IPv4"),
        (_attribute(8, _attribute(10, struct.pack("=I", 64))), "a metric that is no option"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_paths_this_program_never_writes_are_unknown(extra: bytes, what: str) -> None:
    """A route of another shape than ours has unknown next hops, which differ from all desired ones."""
    key = make_key("192.0.2.0/24", 254, 0)
    decoded = RouteDecoder().decode(_dumped(key, NextHops.via(b"", 2)) + extra)

    assert decoded == DecodedRoute(key, UNKNOWN_IPV4, PROTOCOL), what


@pytest.mark.parametrize("family", [0, 7, 28, 128])
def test_other_families_are_passed_over(family: int) -> None:
    """A route that is neither IPv4 nor IPv6 is no route to this program."""
    body = bytearray(_dumped(make_key("192.0.2.0/24", 254, 0), GATEWAY4))
    body[0] = family

    assert RouteDecoder().decode(bytes(body)) is None


def test_cached_clones_are_passed_over() -> None:
    """An IPv6 route that the kernel cloned for one destination is not in the table."""
    key = make_key("2001:db8::1", 254, 1024)

    assert RouteDecoder().decode(_dumped(key, GATEWAY6, flags=0x200)) is None


def test_many_different_paths_are_read_right() -> None:
    """More paths than the decoder remembers cost it time, not correctness."""
    decoder = RouteDecoder()
    key = make_key("192.0.2.0/24", 254, 0)
    paths = [NextHops.via(bytes((10, each >> 8, each & 255, 1)), 2) for each in range(9000)]

    decoded = [decoder.decode(_dumped(key, path)) for path in [*paths, *paths[:10]]]

    assert decoded == [DecodedRoute(key, path, PROTOCOL) for path in [*paths, *paths[:10]]]


@pytest.mark.parametrize(
    ("key", "path", "kind"),
    [
        ("192.0.2.1", BLACKHOLE_IPV4, 6),
        ("2001:db8::1", BLACKHOLE_IPV6, 6),
        ("192.0.2.1", THROW_IPV4, 9),
        ("2001:db8::1", THROW_IPV6, 9),
    ],
)
def test_route_without_next_hops_is_read_back(key: str, path: NextHops, kind: int) -> None:
    """A blackhole and a throw are read as such; those of IPv6 have an interface, as the kernel tells it."""
    one = make_key(key, 254, 1024)
    body = _dumped(one, path, kind=kind) + (_attribute(4, struct.pack("=I", 1)) if ":" in key else b"")

    assert RouteDecoder().decode(body) == DecodedRoute(one, path, PROTOCOL)


@pytest.mark.parametrize("kind", [9, 11, 18, 21, 22, 30, 99], ids=lambda kind: f"attribute {kind}")
def test_route_with_what_is_never_written_is_unknown(kind: int) -> None:
    """Several next hops, a realm, an encapsulation, a nexthop object: such a route is none that this program wrote."""
    key = make_key("192.0.2.0/24", 254, 0)
    body = _dumped(key, GATEWAY4) + _attribute(kind, struct.pack("=II", 8, 7))

    assert RouteDecoder().decode(body) == DecodedRoute(key, UNKNOWN_IPV4, PROTOCOL)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (_dumped(make_key("192.0.2.0/24", 254, 0), GATEWAY4, protocol=4), "via 10.0.0.1 proto static"),
        (_dumped(make_key("2001:db8::/32", 254, 0), GATEWAY6, protocol=186), "via fd00::1 proto 186"),
        (_dumped(make_key("192.0.2.0/24", 254, 0), NextHops.via(b"", 0), kind=8, protocol=12), "prohibit proto bird"),
        (
            _dumped(make_key("2001:db8::/32", 254, 0), NextHops.via(b"", 0), protocol=3)
            + _attribute(9, _next_hop(GATEWAY6.hops[0].gateway, 7) + _next_hop(pack_address("fd00::3"), 8)),
            "via fd00::1 via fd00::3 proto boot",
        ),
        (
            _dumped(make_key("192.0.2.0/24", 254, 0), NextHops.via(b"", 7))
            + _attribute(30, struct.pack("=I", 9))
            + _attribute(18, struct.pack("=H", 10) + GATEWAY6.hops[0].gateway),
            "nhid 9 via fd00::1 proto 245",
        ),
    ],
    ids=["IPv4", "IPv6", "type", "multipath", "nexthop object"],
)
def test_route_is_described_in_the_words_of_ip(body: bytes, words: str) -> None:
    """The holder of a key is described as `ip route` would: by type, object, gateways and protocol."""
    assert holder_words(parse_route(body), {}) == words


@given(
    st.sampled_from(Action),
    st.tuples(_paths4, st.lists(_keys4, min_size=1, max_size=5, unique=True))
    | st.tuples(_paths6, st.lists(_keys6, min_size=1, max_size=5, unique=True)),
    st.integers(0, 2**31),
)
def test_pyroute2_reads_what_is_encoded(
    action: Action, some: tuple[NextHops, list[bytes]], first_sequence: int
) -> None:
    """An independent decoder finds in each message what it is about."""
    path, keys = some
    buffer = bytes(encode(action, path, pack(keys), first_sequence))
    size = len(buffer) // len(keys)

    for index, key in enumerate(sorted(keys)):
        message = rtmsg(buffer[index * size : (index + 1) * size])
        message.decode()

        table, metric = unpack_table_metric(key)
        assert message["header"]["sequence_number"] == first_sequence + index
        assert (message["proto"], message["dst_len"]) == (PROTOCOL, prefix_of(key)[-1])
        assert message.get_attr("RTA_DST") == unpack_address(prefix_of(key)[:-1])
        assert (message.get_attr("RTA_TABLE"), message.get_attr("RTA_PRIORITY")) == (table, metric)
        hops = message.get_attr("RTA_MULTIPATH")
        if len(path.hops) > 1 and not (action is Action.DELETE and path.address_size == 4):
            assert [
                (hop.get_attr("RTA_GATEWAY"), hop["oif"], hop["hops"] + 1, bool(hop["flags"] & 4)) for hop in hops
            ] == [(unpack_address(hop.gateway), *hop[1:]) for hop in path.hops]
        else:
            assert hops is None
        (hop,) = path.hops if len(path.hops) == 1 else (None,)
        gateway = unpack_address(hop.gateway) if hop and any(hop.gateway) else None
        assert message.get_attr("RTA_GATEWAY") == gateway
        assert message.get_attr("RTA_OIF") == (hop.interface if hop else None)
        if action is Action.DELETE:
            continue
        assert message.get_attr("RTA_PREFSRC") == (unpack_address(path.source) if path.source else None)
        metrics = message.get_attr("RTA_METRICS")
        names = {option.number: f"RTAX_{option.word.upper()}" for option in METRIC_OPTIONS}
        found = {number: metrics and metrics.get_attr(name) for number, name in names.items()}
        assert found == dict.fromkeys(names) | dict(path.metrics)
        assert bool(message["flags"] & 4) == bool(hop and hop.on_link)
