"""Packed addresses and prefixes, held against the standard library's ipaddress."""

import ipaddress
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from static_route_operator.errors import InvalidPrefixError
from static_route_operator.routing.prefixes import (
    contains,
    family_of,
    host_prefix,
    last_address,
    mask,
    pack_address,
    pack_prefix,
    supernet,
    unpack_address,
    unpack_prefix,
)

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_MAPPED = ipaddress.ip_network("::ffff:0:0/96")


def _network(address: ipaddress.IPv4Address | ipaddress.IPv6Address, length: int) -> Network:
    return ipaddress.ip_network((address, length), strict=False)


_networks4 = st.builds(_network, st.ip_addresses(v=4), st.integers(0, 32))
_networks6 = st.builds(_network, st.ip_addresses(v=6), st.integers(0, 128)).filter(
    lambda network: network.network_address not in _MAPPED
)
networks = _networks4 | _networks6
# Near each other, so that one often holds the other.
_related = st.builds(_network, st.integers(0, 255).map(ipaddress.IPv4Address), st.integers(22, 32)) | st.builds(
    _network, st.integers(0, 255).map(lambda low: ipaddress.IPv6Address((0xFD << 120) + low)), st.integers(118, 128)
)


def _holds(network: Network, other: Network) -> bool:
    if isinstance(network, ipaddress.IPv4Network):
        return isinstance(other, ipaddress.IPv4Network) and other.subnet_of(network)
    return isinstance(other, ipaddress.IPv6Network) and other.subnet_of(network)


@given(networks)
def test_prefix_survives_packing(network: Network) -> None:
    """A prefix packs to its network bytes and length, and unpacks to the canonical text."""
    packed = pack_prefix(str(network))

    assert packed == network.network_address.packed + bytes([network.prefixlen])
    assert ipaddress.ip_network(unpack_prefix(packed)) == network


@given(st.ip_addresses(v=4) | st.ip_addresses(v=6).filter(lambda address: address not in _MAPPED))
def test_address_survives_packing(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    """An address packs to its network bytes, and a host without a length is the longest prefix."""
    assert pack_address(str(address)) == address.packed
    assert ipaddress.ip_address(unpack_address(address.packed)) == address
    assert pack_prefix(str(address)) == host_prefix(address.packed) == address.packed + bytes([address.max_prefixlen])


@given(st.lists(_networks4) | st.lists(_networks6))
def test_packed_prefixes_sort_as_networks_do(some: list[Network]) -> None:
    """Packed prefixes sort by address and then by length, so a prefix comes right before all it holds."""
    expected = sorted(some, key=lambda network: (network.network_address.packed, network.prefixlen))

    assert sorted(pack_prefix(str(network)) for network in some) == [pack_prefix(str(network)) for network in expected]


@given(_related, _related)
def test_contains_agrees_with_ipaddress(network: Network, other: Network) -> None:
    """A prefix contains itself and every more specific one of its family, and nothing else."""
    assert contains(pack_prefix(str(network)), pack_prefix(str(other))) == _holds(network, other)


@given(networks, st.data())
def test_supernet_and_mask_agree_with_ipaddress(network: Network, data: st.DataObject) -> None:
    """The prefix of any length around an address is what ipaddress says it is."""
    length = data.draw(st.integers(0, network.prefixlen))
    expected = network.supernet(new_prefix=length)
    address = network.network_address.packed

    assert supernet(address, length) == pack_prefix(str(expected))
    assert mask(address, length) == expected.network_address.packed


@given(networks)
def test_last_address_agrees_with_ipaddress(network: Network) -> None:
    """The highest address of a prefix is ipaddress's broadcast address."""
    assert last_address(pack_prefix(str(network))) == network.broadcast_address.packed


@pytest.mark.parametrize(
    ("text", "family"),
    [
        ("192.0.2.1", socket.AF_INET),
        ("192.0.2.0/24", socket.AF_INET),
        ("fd00::1", socket.AF_INET6),
        ("fd00::/8", socket.AF_INET6),
    ],
)
def test_family_is_told_by_size(text: str, family: socket.AddressFamily) -> None:
    """A packed prefix and the packed address in it are of the same, right family."""
    packed = pack_prefix(text)

    assert family_of(packed) == family_of(packed[:-1]) == family


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("10.0.0.1/8", "10.0.0.0/8"),
        ("192.0.2.255/31", "192.0.2.254/31"),
        ("1.2.3.4/0", "0.0.0.0/0"),
        ("fd00::1/64", "fd00::/64"),
        ("2001:db8:ffff::/33", "2001:db8:8000::/33"),
    ],
)
def test_host_bits_are_refused_with_the_probable_meaning(text: str, meant: str) -> None:
    """A prefix with host bits set is refused, and the message says which one was probably meant."""
    with pytest.raises(InvalidPrefixError) as caught:
        pack_prefix(text)

    assert str(caught.value) == f"'{text}' has host bits set; did you mean '{meant}'?"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/",
        "/8",
        "example.com",
        "10.0.0",
        "10.0.0.256",
        "010.0.0.1",
        "0x0a.0.0.1",
        "10.0.0.1 ",
        "10.0.0.0/",
        "10.0.0.0/33",
        "10.0.0.0/-1",
        "10.0.0.0/+8",
        "10.0.0.0/08",
        "10.0.0.0/8/8",
        "10.0.0.0/255.0.0.0",
        "10.0.0.0/٨",
        "10.0.0.1\0",
        "fd00::/129",
        "fd00:::1",
        "fd00::1%eth0",
        "fe80::1%1/64",
        "[fd00::1]",
    ],
)
def test_what_is_no_prefix_is_refused_by_name(text: str) -> None:
    """A text that is neither address nor CIDR is refused, and quoted; control characters do not reach the log."""
    with pytest.raises(InvalidPrefixError) as caught:
        pack_prefix(text)

    assert str(caught.value).startswith(f"'{text}' is not an IP address or CIDR".replace("\0", "\\x00"))


@pytest.mark.parametrize("text", ["10.0.0.0/8", "", "fe80::1%eth0", "1.2.3"])
def test_what_is_no_address_is_refused_by_name(text: str) -> None:
    """A prefix, a zone or a fragment in the place of an address is refused, and quoted in full."""
    with pytest.raises(InvalidPrefixError) as caught:
        pack_address(text)

    assert str(caught.value) == f"'{text}' is not an IP address"


@pytest.mark.parametrize("text", ["::ffff:192.0.2.1", "::ffff:c000:201", "::ffff:192.0.2.0/120"])
def test_mapped_addresses_are_refused_with_advice(text: str) -> None:
    """An IPv4-mapped IPv6 address is refused as itself, with the advice to write IPv4."""
    with pytest.raises(InvalidPrefixError) as caught:
        pack_prefix(text)

    assert str(caught.value) == f"'{text}' is an IPv4-mapped IPv6 address; write it as IPv4"
