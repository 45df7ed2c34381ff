"""Link and address messages."""

import struct

import pytest

from static_route_operator.kernel.interfaces import link_is_up, parse_addresses, parse_links
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


@pytest.mark.parametrize(("flags", "up"), [(0x1, True), (0x11043, True), (0x1002, False), (0, False)])
def test_link_is_up_by_its_flag(flags: int, up: bool) -> None:
    """Administratively up is one bit of many."""
    assert link_is_up(_link(2, "eth0", flags).body) is up


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
    """On a point-to-point link the own address and the peer's are told apart, and the subnet is the peer's."""
    addresses, subnets = parse_addresses([_address(2, 32, "172.16.0.9", "172.16.0.1")], {2: "tun0"})

    assert addresses == {pack_address("172.16.0.1"): "tun0"}
    assert subnets == (Subnet(pack_prefix("172.16.0.9/32"), "tun0"),)
