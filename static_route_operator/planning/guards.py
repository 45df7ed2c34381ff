"""Routes that would cut this node off, and gateways that can't work here.

Destinations of an object are sorted packed prefixes, so each question is a few look-ups or one bisection, however many
destinations there are.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from static_route_operator.api.noderoutestate import Reason, RowState
from static_route_operator.planning.facts import Facts
from static_route_operator.prefixes import contains, host_prefix, last_address, supernet, unpack_address, unpack_prefix


@dataclass(frozen=True, slots=True)
class Problem:
    """Why some or all destinations of an object are not programmed."""

    state: RowState
    reason: Reason
    message: str


def gateway_problem(gateway: bytes, facts: Facts) -> Problem | None:
    """Why no route can go through a gateway on this node; None when one can."""
    text = unpack_address(gateway)
    lookup = facts.lookups.get(gateway)
    if lookup is not None and lookup.on_link:
        return None
    if lookup is not None and lookup.local:
        whose = facts.addresses.get(gateway)
        what = f"this node's own address on {whose}" if whose else "a local or broadcast address of this node"
        return Problem(RowState.REFUSED, Reason.GATEWAY_IS_THIS_NODE, f"gateway {text} is {what}")
    for subnet, interface in facts.subnets:
        if contains(subnet, host_prefix(gateway)):
            where = f"is on {unpack_prefix(subnet)} of {interface}, which has no route to it now: is {interface} up?"
            break
    else:
        where = f"is not on any subnet of this node ({_subnets_text(gateway, facts)})"
    return Problem(RowState.FAILED, Reason.GATEWAY_UNREACHABLE, f"gateway {text} {where}")


def _subnets_text(gateway: bytes, facts: Facts) -> str:
    own = [f"{unpack_prefix(prefix)} on {name}" for prefix, name in facts.subnets if len(prefix) == len(gateway) + 1]
    return ", ".join(own[:8]) or "it has none of this address family"


def refused_destinations(
    destinations: Sequence[bytes], facts: Facts, gateways: Collection[bytes]
) -> Iterator[tuple[bytes, str]]:
    """The destinations that must not be routed on this node, each with the reason as a message.

    Refused is what would capture a protected address (win the longest-prefix match against the route it takes today),
    a gateway in use, one of the node's own addresses, or a part of a connected subnet. A broader prefix, which changes
    nothing for them, is accepted.

    Args:
        destinations: sorted packed prefixes of one family.
        facts: what is known of this node.
        gateways: packed addresses of all gateways in use on it.
    """
    if not destinations:
        return
    size = len(destinations[0])
    for subnet, interface in facts.subnets:
        if len(subnet) == size:
            text = f"is in {unpack_prefix(subnet)}, a subnet that {interface} of this node is connected to"
            yield from ((each, text) for each in _within(destinations, subnet))
    for address, interface in facts.addresses.items():
        if len(address) + 1 == size:
            text = f"is this node's own address on {interface}"
            yield from ((each, text) for each in _within(destinations, host_prefix(address)))
    for address, what in facts.protected.items():
        if len(address) + 1 == size:
            text = f"would capture {unpack_address(address)} ({what})"
            yield from ((each, text) for each in _capturing(destinations, address, facts))
    for address in gateways:
        if len(address) + 1 == size:
            text = f"would capture the gateway {unpack_address(address)} itself"
            yield from ((each, text) for each in _capturing(destinations, address, facts))


def _within(destinations: Sequence[bytes], prefix: bytes) -> Sequence[bytes]:
    """The destinations equal to ``prefix`` or more specific: one run of the sorted sequence."""
    start = bisect_left(destinations, prefix)
    return destinations[start : bisect_right(destinations, host_prefix(last_address(prefix)), start)]


def _capturing(destinations: Sequence[bytes], address: bytes, facts: Facts) -> Iterator[bytes]:
    """The destinations that would win the longest-prefix match for ``address``.

    Equal length counts too: such a route differs by its metric only, and the metric of ours is the lowest there is. A
    look-up that already ends at a route of ours tells nothing about the one beneath: then any of ours that holds the
    address counts.
    """
    lookup = facts.lookups.get(address)
    shortest = 0 if lookup is None or lookup.ours else lookup.prefix_length
    for length in range(shortest, len(address) * 8 + 1):
        candidate = supernet(address, length)
        index = bisect_left(destinations, candidate)
        if index < len(destinations) and destinations[index] == candidate:
            yield candidate
