"""Prefixes cut out of others, held against a model that counts single addresses, and against ipaddress."""

import ipaddress
import time
from collections.abc import Iterable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from static_route_operator.routing.prefixes import pack_prefix, unpack_prefix
from static_route_operator.routing.subtraction import subtract

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# The last 8 bits of an address: small enough to count each address, and prefixes often hold each other.
_BITS = 8
_BASES = {32: int(ipaddress.IPv4Address("192.0.2.0")), 128: int(ipaddress.IPv6Address("2001:db8::"))}


def _small(bits: int) -> st.SearchStrategy[Network]:
    def make(low: int, length: int) -> Network:
        base = _BASES[bits] + low
        address = ipaddress.IPv4Address(base) if bits == 32 else ipaddress.IPv6Address(base)
        return ipaddress.ip_network((address, length), strict=False)

    return st.builds(make, st.integers(0, (1 << _BITS) - 1), st.integers(bits - _BITS, bits))


_cases = st.sampled_from((32, 128)).flatmap(
    lambda bits: st.tuples(st.lists(_small(bits), max_size=12), st.lists(_small(bits), max_size=6))
)


def _pack(network: Network) -> bytes:
    return network.network_address.packed + bytes([network.prefixlen])


def _subtract(destinations: Iterable[Network], excludes: Iterable[Network]) -> list[bytes]:
    prefixes = sorted(set(map(_pack, destinations)))
    rest = subtract(b"".join(prefixes), list(map(_pack, excludes)))
    size = len(prefixes[0]) if prefixes else 1
    found = [rest[start : start + size] for start in range(0, len(rest), size)]
    assert found == sorted(set(found)), "sorted, and each once"
    return found


def _addresses(networks: Iterable[Network]) -> set[int]:
    return {int(address) for network in networks for address in network}


def _holds(network: Network, other: Network) -> bool:
    first, last = int(network.network_address), int(network.broadcast_address)
    return first <= int(other.network_address) and int(other.broadcast_address) <= last


def _model(destinations: Sequence[Network], excludes: Sequence[Network]) -> set[bytes]:
    """Return the fewest prefixes that contain the addresses each destination keeps, found address by address."""
    cut = _addresses(excludes)
    left: set[bytes] = set()
    for destination in destinations:
        kept = [address for address in destination if int(address) not in cut]
        hosts = [ipaddress.ip_network(address) for address in kept]
        left |= set(map(_pack, ipaddress.collapse_addresses(hosts)))  # type: ignore[type-var]
    return left


@given(_cases)
def test_what_is_left_is_what_a_count_of_addresses_leaves(case: tuple[list[Network], list[Network]]) -> None:
    """Each destination keeps exactly its addresses that no exclude holds, in as few prefixes as can be."""
    destinations, excludes = case

    assert set(_subtract(destinations, excludes)) == _model(destinations, excludes)


@given(_cases)
def test_untouched_destinations_stay_as_they_are(case: tuple[list[Network], list[Network]]) -> None:
    """A destination that shares no address with an exclude is not split, merged or dropped."""
    destinations, excludes = case
    cut = _addresses(excludes)
    untouched = {_pack(each) for each in destinations if not cut & _addresses([each])}

    assert untouched <= set(_subtract(destinations, excludes))


@st.composite
def _anywhere(draw: st.DrawFn) -> tuple[Network, list[Network]]:
    """A prefix of any size and some that it holds or that are elsewhere."""
    bits = draw(st.sampled_from((32, 128)))
    addresses = st.ip_addresses(v=4 if bits == 32 else 6)
    outer = ipaddress.ip_network((draw(addresses), draw(st.integers(0, bits))), strict=False)
    inner = st.builds(
        lambda offset, length: ipaddress.ip_network((outer[offset % outer.num_addresses], length), strict=False),
        st.integers(0, (1 << bits) - 1),
        st.integers(0, bits),
    )
    return outer, draw(st.lists(inner, max_size=5))


@given(_anywhere())
def test_any_prefix_is_cut_as_ipaddress_does(case: tuple[Network, list[Network]]) -> None:
    """A destination of any size is cut as the standard library's ipaddress would, one exclude after the other."""
    destination, excludes = case
    left = [destination]
    for exclude in excludes:
        left = [
            piece
            for each in left
            if not _holds(exclude, each)
            for piece in (each.address_exclude(exclude) if _holds(each, exclude) else [each])  # type: ignore[arg-type]
        ]

    assert set(_subtract([destination], excludes)) == set(map(_pack, left))


@pytest.mark.parametrize(
    ("destinations", "excludes", "left"),
    [
        (["10.0.0.0/8"], ["10.0.0.0/9"], ["10.128.0.0/9"]),
        (["10.0.0.0/30"], ["10.0.0.1"], ["10.0.0.0/32", "10.0.0.2/31"]),
        (["10.0.0.0/30"], ["10.0.0.3"], ["10.0.0.0/31", "10.0.0.2/32"]),
        (["10.0.0.0/24", "10.0.1.0/24"], ["10.0.0.0/24"], ["10.0.1.0/24"]),
        (["10.0.0.0/24", "10.0.1.0/24"], ["10.0.0.0/23"], []),
        (["10.0.0.0/24", "10.0.1.0/24"], ["10.0.2.0/24"], ["10.0.0.0/24", "10.0.1.0/24"]),
        (["10.0.0.0/8", "10.9.0.0/16"], ["10.0.0.0/9"], ["10.128.0.0/9"]),
        (["10.0.0.0/24", "10.0.0.128/25"], ["10.0.0.0/25"], ["10.0.0.128/25"]),
        (["10.0.0.255/32", "10.0.1.0/32"], ["10.0.0.0/24"], ["10.0.1.0/32"]),
        (["10.0.0.0/30"], ["10.0.0.0/31", "10.0.0.1", "10.0.0.0/31"], ["10.0.0.2/31"]),
        (["255.255.255.0/24"], ["255.255.255.0/25"], ["255.255.255.128/25"]),
        (["128.0.0.0/2"], ["0.0.0.0/0"], []),
        (["2001:db8::/32"], ["2001:db8::/33"], ["2001:db8:8000::/33"]),
    ],
)
def test_examples(destinations: list[str], excludes: list[str], left: list[str]) -> None:
    """The result is the one that a person would write down."""
    networks, cut = map(ipaddress.ip_network, destinations), map(ipaddress.ip_network, excludes)

    assert [unpack_prefix(each) for each in _subtract(networks, cut)] == left


def test_without_excludes_nothing_is_copied() -> None:
    """Without anything to cut, the very same bytes come back."""
    prefixes = pack_prefix("10.0.0.0/8")

    assert subtract(prefixes, []) is prefixes
    assert subtract(b"", [prefixes]) == b""


@pytest.mark.parametrize("ipv6", [False, True], ids=["IPv4", "IPv6"])
def test_many_destinations_and_excludes_take_little_time(ipv6: bool) -> None:
    """500 excludes in 100,000 destinations are cut out in far less than a second on any machine."""
    start = ipaddress.ip_address("2001:db8::" if ipv6 else "20.0.0.0")
    step = 1 << (80 if ipv6 else 8)
    length = 48 if ipv6 else 24
    destinations = b"".join(pack_prefix(f"{start + each * step}/{length}") for each in range(100_000))
    excludes = [pack_prefix(str(start + each * 200 * step + 77)) for each in range(500)]

    before = time.process_time()
    left = subtract(destinations, excludes)

    assert time.process_time() - before < 2.0
    pieces = 100_000 - 500 + 500 * (80 if ipv6 else 8)
    assert len(left) == pieces * len(excludes[0])
