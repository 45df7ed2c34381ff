"""Link and address messages."""

import struct

import pytest

from static_route_operator.kernel.interfaces import decode_address, decode_link, decode_link_state, decode_network
from static_route_operator.kernel.netlink import Message, pack_attribute
from static_route_operator.routing.facts import Address, Link, Network, Subnet
from static_route_operator.routing.prefixes import pack_address, pack_prefix
from tests.unit.builders import keys

LINKS = [Message(16, 0, 0, 0, struct.pack("=BxHiII", 0, 1, 2, 1, 0) + pack_attribute(3, b"eth0\0"))]


def _link(index: int, name: str, flags: int = 1, layer: int = 1, attributes: bytes = b"") -> Message:
    body = struct.pack("=BxHiII", 0, layer, index, flags, 0)
    return Message(16, 0, 0, 0, body + pack_attribute(3, name.encode() + b"\0") + attributes)


def _address(index: int, length: int, address: str, local: str = "", flags: int | None = None) -> Message:
    body = b""
    if address:
        body += pack_attribute(1, pack_address(address))
    if local:
        body += pack_attribute(2, pack_address(local))
    if flags is not None:
        body += pack_attribute(8, struct.pack("=I", flags))
    family = 10 if ":" in address + local else 2
    return Message(20, 0, 0, 0, struct.pack("=BBBBI", family, length, 0, 0, index) + body)


def test_links_have_their_names_by_index() -> None:
    """Routes name interfaces by index, people by name or by alternative name."""
    names = pack_attribute(52, pack_attribute(53, b"lte\0") + pack_attribute(53, b"wan\0"))
    network = decode_network([_link(1, "lo"), _link(70_000, "enp0s31f6.4094", attributes=names)], [])

    assert network.names == {1: "lo", 70_000: "enp0s31f6.4094"}
    assert [network.index(name) for name in ("lte", "wan", "enp0s31f6.4094", "lo", "eth9")] == [
        70_000,
        70_000,
        70_000,
        1,
        0,
    ]


def test_link_without_a_name_is_passed_over() -> None:
    """A message without a name breaks neither the dump nor the other links; one without an MTU counts."""
    nameless = Message(16, 0, 0, 0, struct.pack("=BxHiII", 0, 1, 3, 1, 0) + pack_attribute(4, struct.pack("=I", 1500)))
    mtu = _link(4, "eth1", attributes=pack_attribute(4, struct.pack("=I", 9000)))
    cut = _link(5, "eth2")._replace(body=b"\0\0\1")

    links = decode_network([nameless, cut, _link(2, "eth0"), mtu], []).links
    assert [(link.index, link.name, link.mtu) for link in links.values()] == [(2, "eth0", 0), (4, "eth1", 9000)]


@pytest.mark.parametrize(("flags", "up"), [(0x1, True), (0x11043, True), (0x1002, False), (0, False)])
def test_link_is_up_by_its_flag(flags: int, up: bool) -> None:
    """Administratively up is one bit of many."""
    assert decode_link_state(_link(2, "eth0", flags).body).up is up
    assert decode_network([_link(2, "eth0", flags)], []).down == (frozenset() if up else {"eth0"})


def test_port_of_a_bridge_names_its_bridge() -> None:
    """A link knows whose port it is, and of what kind it is."""
    kind = pack_attribute(18, pack_attribute(1, b"veth\0"))
    port = decode_link(_link(2, "eth0", 0x10001, attributes=pack_attribute(10, struct.pack("=I", 7)) + kind).body)

    assert port == Link(2, "eth0", up=True, carrier=True, master=7, kind="veth")


@pytest.mark.parametrize(
    ("layer", "attributes"),
    [
        (768, pack_attribute(2, pack_address("203.0.113.9"))),
        (778, pack_attribute(2, pack_address("203.0.113.9"))),
        (1, pack_attribute(18, pack_attribute(1, b"vxlan\0") + pack_attribute(2, b"\x08\0\x02\0\xcb\0\x71\x09"))),
    ],
)
def test_tunnel_names_its_other_end(layer: int, attributes: bytes) -> None:
    """The outer address of a tunnel's other end is known, where the tunnel has one."""
    link = decode_link(_link(9, "tun0", 0x10D1, layer, attributes).body)

    assert link is not None
    assert link.remote == pack_address("203.0.113.9")
    assert not link.arp
    assert link.point_to_point


_END = pack_attribute(2, pack_address("203.0.113.9"))


def _info(kind: bytes, *data: tuple[int, int]) -> bytes:
    packed = b"".join(pack_attribute(number, struct.pack("=I", value)) for number, value in data)
    return pack_attribute(18, pack_attribute(1, kind + b"\0") + pack_attribute(2, packed))


@pytest.mark.parametrize(
    ("attributes", "known"),
    [
        (_END + pack_attribute(5, struct.pack("=I", 0)), True),
        (_END + pack_attribute(5, struct.pack("=I", 2)), False),
        (_END + pack_attribute(37, struct.pack("=I", 0)), False),
        (_END + _info(b"gre", (20, 0)), True),
        (_END + _info(b"gre", (20, 7)), False),
        (_END + _info(b"vti", (6, 7)), False),
    ],
    ids=["free", "bound", "of another namespace", "unmarked", "marked", "marked vti"],
)
def test_tunnel_whose_outer_packets_follow_other_routes_names_no_end(attributes: bytes, known: bool) -> None:
    """Routes of the node do not capture the outer packets of a tunnel that is bound to a device, or marks them."""
    link = decode_link(_link(9, "tun0", 0x10D1, 778, attributes).body)

    assert link is not None
    assert link.remote == (pack_address("203.0.113.9") if known else b"")


def test_message_about_something_else_of_a_link_is_no_link() -> None:
    """Bridges report their ports in a family of their own, wireless drivers their events: neither is a link."""
    bridge = struct.pack("=BxHiII", 7, 1, 2, 1, 0) + pack_attribute(3, b"eth0\0")
    wireless = struct.pack("=BxHiII", 0, 1, 2, 1, 0) + pack_attribute(11, b"12345678")

    assert decode_link(bridge) is None
    assert decode_link(wireless) is None


def test_addresses_are_own_ones_and_subnets() -> None:
    """An address says which one is the node's own, and which subnet it makes reachable; equal subnets count once."""
    network = decode_network(
        LINKS,
        [
            _address(2, 24, "10.0.0.2", "10.0.0.2"),
            _address(2, 24, "10.0.0.9", "10.0.0.9"),
            _address(2, 64, "fd00::2"),
            _address(9, 24, "10.7.0.1"),
        ],
    )

    assert network.owners == {
        pack_address("10.0.0.2"): "eth0",
        pack_address("10.0.0.9"): "eth0",
        pack_address("fd00::2"): "eth0",
        pack_address("10.7.0.1"): "9",
    }
    assert network.subnets == (
        Subnet(pack_prefix("10.0.0.0/24"), "eth0"),
        Subnet(pack_prefix("fd00::/64"), "eth0"),
        Subnet(pack_prefix("10.7.0.0/24"), "9"),
    )


@pytest.mark.parametrize(
    ("address", "subnets"),
    [
        # On a point-to-point link the own address is not the peer's, and the IPv4 subnet is around the peer's.
        (_address(2, 32, "172.16.0.9", "172.16.0.1"), ["172.16.0.9/32"]),
        (_address(2, 24, "10.9.9.9", "172.16.0.1"), ["10.9.9.0/24"]),
        # `ip address add 172.16.0.1 peer 0.0.0.0`: the kernel leaves the peer out, and makes no route to a subnet.
        (_address(2, 32, "", "172.16.0.1"), []),
        (_address(2, 24, "", "172.16.0.1"), []),
        (_address(2, 32, "172.16.0.1", "172.16.0.1"), []),
        (_address(2, 31, "172.16.0.1", "172.16.0.1"), ["172.16.0.0/31"]),
        # The IPv6 subnet is around the own address, with the peer beside it.
        (_address(2, 64, "fd00:9::1", "fd00::1"), ["fd00::/64", "fd00:9::1/128"]),
        (_address(2, 128, "fd00:9::1", "fd00::1"), ["fd00:9::1/128"]),
        (_address(2, 128, "fd00::1"), []),
    ],
)
def test_subnet_is_where_the_kernel_makes_a_route(address: Message, subnets: list[str]) -> None:
    """An address connects to the subnets that the kernel makes routes to; without any it is an own address still."""
    network = decode_network(LINKS, [address])

    assert len(network.owners) == 1
    assert network.subnets == tuple(Subnet(pack_prefix(each), "eth0") for each in subnets)


def test_address_says_whether_it_is_in_use() -> None:
    """The flags tell an address that is being checked, one that another node has, and one without a route."""
    found = decode_address(_address(2, 64, "fd00::2", flags=0x40 | 0x8 | 0x20 | 0x200).body)

    assert found == Address(
        2,
        pack_address("fd00::2"),
        64,
        pack_address("fd00::2"),
        prefix_route=False,
        tentative=True,
        duplicate=True,
        deprecated=True,
    )


def test_address_that_can_not_be_read_is_passed_over() -> None:
    """A message without an address, or with one of an odd size or family, breaks nothing."""
    head = struct.pack("=BBBBI", 2, 24, 0, 0, 2)
    neither = Message(20, 0, 0, 0, head)
    odd = Message(20, 0, 0, 0, head + pack_attribute(2, b"odd"))
    long = _address(2, 64, "10.0.0.9")
    family = Message(20, 0, 0, 0, b"\x09" + head[1:] + pack_attribute(2, pack_address("10.0.0.9")))
    cut = Message(20, 0, 0, 0, head[:5])

    network = decode_network(LINKS, [neither, odd, long, family, cut, _address(2, 24, "10.0.0.2")])
    assert network.owners == {pack_address("10.0.0.2"): "eth0"}


def test_few_keys_are_looked_up_among_many_addresses() -> None:
    """Whatever is larger, the keys or the addresses: each key finds its subnet and its own address."""
    many = Network(
        {2: Link(2, "ipvs0")},
        [Address(2, bytes([10, 96, each >> 8, each & 255]), 32, b"") for each in range(5_000)]
        + [Address(2, bytes([172, each, 0, 1]), 16, bytes([172, each, 0, 1])) for each in range(200)],
    )
    few = keys("10.96.0.7", "172.9.4.0/24", "192.0.2.1")

    assert list(many.owned_by(few)) == [(pack_address("10.96.0.7"), "ipvs0")]
    assert list(many.around(few)) == [Subnet(pack_prefix("172.9.0.0/16"), "ipvs0")]
    assert many.holding(pack_address("172.9.4.1")) == [Subnet(pack_prefix("172.9.0.0/16"), "ipvs0")]
    one = Network({2: Link(2, "ipvs0")}, [many.addresses[7]])
    assert list(one.owned_by(few)) == [(pack_address("10.96.0.7"), "ipvs0")]
