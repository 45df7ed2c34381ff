"""Link and address messages."""

import struct

import pytest

from static_route_operator.kernel.interfaces import decode_link_state, decode_links, parse_addresses, parse_links
from static_route_operator.kernel.netlink import Message
from static_route_operator.routing.facts import Subnet
from static_route_operator.routing.prefixes import pack_address, pack_prefix


def _attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def _link(index: int, name: str, flags: int = 1) -> Message:
    body = struct.pack("=BxHiII", 0, 1, index, flags, 0) + _attribute(3, name.encode() + b"\0")
    return Message(16, 0, 0, 0, body)


def _address(index: int, length: int, address: str, local: str = "") -> Message:
    packed = pack_address(address)
    body = struct.pack("=BBBBI", 2 if len(packed) == 4 else 10, length, 0, 0, index) + _attribute(1, packed)
    if local:
        body += _attribute(2, pack_address(local))
    return Message(20, 0, 0, 0, body)


def test_links_have_their_names_by_index() -> None:
    """Routes name interfaces by index, people by name."""
    names, _ = parse_links([_link(1, "lo"), _link(70_000, "enp0s31f6.4094")])

    assert names == {1: "lo", 70_000: "enp0s31f6.4094"}


def test_link_without_a_name_is_passed_over() -> None:
    """A message without a name breaks neither the dump nor the other links; one without an MTU counts."""
    nameless = Message(16, 0, 0, 0, struct.pack("=BxHiII", 0, 1, 3, 1, 0) + _attribute(4, struct.pack("=I", 1500)))
    mtu = _link(4, "eth1")._replace(body=_link(4, "eth1").body + _attribute(4, struct.pack("=I", 9000)))

    links = decode_links([nameless, _link(2, "eth0"), mtu])
    assert [(link.state.interface, link.name, link.mtu) for link in links] == [(2, "eth0", 0), (4, "eth1", 9000)]


@pytest.mark.parametrize(("flags", "up"), [(0x1, True), (0x11043, True), (0x1002, False), (0, False)])
def test_link_is_up_by_its_flag(flags: int, up: bool) -> None:
    """Administratively up is one bit of many."""
    assert decode_link_state(_link(2, "eth0", flags).body).up is up


def test_addresses_are_own_ones_and_subnets() -> None:
    """An address says which one is the node's own, and which subnet it makes reachable; equal subnets count once."""
    addresses, subnets = parse_addresses(
        [
            _address(2, 24, "10.0.0.2", "10.0.0.2"),
            _address(2, 24, "10.0.0.9", "10.0.0.9"),
            _address(2, 64, "fd00::2"),
            _address(9, 24, "10.7.0.1"),
        ],
        {2: "eth0"},
    )

    assert addresses == {
        pack_address("10.0.0.2"): "eth0",
        pack_address("10.0.0.9"): "eth0",
        pack_address("fd00::2"): "eth0",
        pack_address("10.7.0.1"): "9",
    }
    assert subnets == (
        Subnet(pack_prefix("10.0.0.0/24"), "eth0"),
        Subnet(pack_prefix("fd00::/64"), "eth0"),
        Subnet(pack_prefix("10.7.0.0/24"), "9"),
    )


def test_point_to_point_link_reaches_its_peer() -> None:
    """On a point-to-point link the own address is not the peer's, and the subnet is around the peer's."""
    addresses, subnets = parse_addresses([_address(2, 32, "172.16.0.9", "172.16.0.1")], {2: "tun0"})

    assert addresses == {pack_address("172.16.0.1"): "tun0"}
    assert subnets == (Subnet(pack_prefix("172.16.0.9/32"), "tun0"),)


def test_address_that_can_not_be_read_is_passed_over() -> None:
    """Without IFA_ADDRESS the local address counts; a message with neither, or of an odd size, breaks nothing."""
    local = Message(20, 0, 0, 0, struct.pack("=BBBBI", 2, 24, 0, 0, 2) + _attribute(2, pack_address("10.0.0.2")))
    neither = Message(20, 0, 0, 0, struct.pack("=BBBBI", 2, 24, 0, 0, 2))
    odd = Message(20, 0, 0, 0, struct.pack("=BBBBI", 2, 24, 0, 0, 2) + _attribute(1, b"odd"))
    long = Message(20, 0, 0, 0, struct.pack("=BBBBI", 2, 64, 0, 0, 2) + _attribute(1, pack_address("10.0.0.9")))

    addresses, subnets = parse_addresses([neither, odd, long, local], {2: "eth0"})
    assert addresses == {pack_address("10.0.0.2"): "eth0"}
    assert subnets == (Subnet(pack_prefix("10.0.0.0/24"), "eth0"),)
