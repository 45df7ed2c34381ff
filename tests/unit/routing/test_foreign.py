"""The what-if over the routes of others, beside a longest-prefix match that is as simple as can be."""

import ipaddress
import time

from hypothesis import given
from hypothesis import strategies as st

from static_route_operator.planning.guards import refusals
from static_route_operator.routing.facts import Facts
from static_route_operator.routing.keys import prefix_of
from static_route_operator.routing.keyset import KeySet
from static_route_operator.routing.nexthops import NextHops
from static_route_operator.routing.prefixes import pack_address, pack_prefix, unpack_prefix
from static_route_operator.routing.protection import Protection
from tests.unit.builders import ETH0, foreign, keys, protection

Network = ipaddress.IPv4Network

# The last bits of 192.0.2.0/28, so that whatever is drawn meets, and each address can be asked for.
NETWORK = ipaddress.IPv4Network("192.0.2.0/28")
GATEWAYS = ("10.0.0.1", "10.0.0.3")


@st.composite
def networks(draw: st.DrawFn) -> Network:
    """A prefix inside 192.0.2.0/28, or one that holds all of it."""
    length = draw(st.sampled_from([0, 8, 24, 28, 28, 29, 30, 31, 32]))
    address = int(NETWORK.network_address) + draw(st.integers(0, 15))
    return ipaddress.IPv4Network((address, length), strict=False)


def _longest(routes: dict[Network, str], address: ipaddress.IPv4Address) -> tuple[int, str]:
    """The length and gateway of the route that an address takes."""
    return max(((each.prefixlen, routes[each]) for each in routes if address in each), default=(-1, ""))


def _refused(others: dict[Network, str], new: Network, gateway: str, protected: list[Network]) -> bool:
    """Report whether a new route is a real part of a protected prefix, or changes the gateway of an address in it."""
    if any(new != each and new.subnet_of(each) for each in protected):
        return True
    for each in protected:
        for address in NETWORK:
            if address in each and address in new:
                length, today = _longest(others, address)
                if length <= new.prefixlen and today != gateway:
                    return True
    return False


@given(
    st.dictionaries(networks(), st.sampled_from(GATEWAYS), max_size=8),
    st.sets(networks(), min_size=1, max_size=6),
    st.sampled_from(GATEWAYS),
    st.sets(networks().filter(lambda each: each.prefixlen >= 28), max_size=4),
)
def test_what_changes_the_way_of_something_protected_is_refused(
    others: dict[Network, str], new: set[Network], gateway: str, protected: set[Network]
) -> None:
    """Exactly that is refused which a longest-prefix match over all addresses, one by one, finds to change one."""
    node = Facts(
        protected=protection({str(each): "it" for each in protected}),
        foreign=foreign({str(each): via for each, via in others.items()}),
    )
    # One as the other: what is refused of an object does not depend on what else it wants.
    found = refusals(keys(*map(str, new)), node, [], NextHops.via(pack_address(gateway), ETH0))

    refused = {unpack_prefix(prefix_of(key)) for each in found for key in each.keys}
    assert refused == {str(each) for each in new if _refused(others, each, gateway, list(protected))}


def test_thousands_of_destinations_and_protected_addresses_are_compared_in_leaps() -> None:
    """100,000 destinations and 5,000 nodes that have nothing to do with each other cost no look at each of them."""
    hosts = KeySet.of(13, (pack_prefix(f"34.{n >> 16}.{n >> 8 & 255}.{n & 255}") + bytes(8) for n in range(100_000)))
    nodes = Protection({pack_prefix(f"10.{n >> 8}.{n & 255}.7"): "InternalIP of a node" for n in range(5_000)})

    started = time.process_time()
    assert not nodes.meet(hosts)
    assert nodes.meet(keys("10.0.0.0/8")).holding == keys("10.0.0.0/8")
    spent = time.process_time() - started
    assert nodes.meet(hosts) is nodes.meet(hosts)
    assert spent < 1, "a look at each pair would take minutes"
