"""Routes that would cut this node off, and gateways that can't work here.

Keys of an object are sorted by their prefixes, so each question is a few bisections, however many there are.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from static_route_operator.api.noderoutestate import Reason, RowState
from static_route_operator.keys import Keys, prefix_of
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


class Refusal(NamedTuple):
    """Keys that must not be routed on this node, and why not; keys may be in several."""

    keys: Keys
    why: str


def refusals(keys: Keys, facts: Facts, gateways: Collection[bytes]) -> Iterator[Refusal]:
    """What must not be routed on this node.

    Refused is what would capture a protected address (win the longest-prefix match against the route it takes today),
    a gateway in use, one of the node's own addresses, or a part of a connected subnet. A broader prefix, which changes
    nothing for them, is accepted.

    Args:
        keys: of one object.
        facts: what is known of this node.
        gateways: packed addresses of all gateways in use on it.
    """
    if not keys:
        return
    address_size = len(prefix_of(keys[0])) - 1
    for subnet, interface in facts.subnets:
        if len(subnet) - 1 == address_size and (found := _within(keys, subnet)):
            yield Refusal(
                found, f"is in {unpack_prefix(subnet)}, a subnet that {interface} of this node is connected to"
            )
    for address, interface in facts.addresses.items():
        if len(address) == address_size and (found := _within(keys, host_prefix(address))):
            yield Refusal(found, f"is this node's own address on {interface}")
    for address, what in facts.protected.items():
        if len(address) == address_size and (found := _capturing(keys, address, facts)):
            yield Refusal(found, f"would capture {unpack_address(address)} ({what})")
    for address in gateways:
        if len(address) == address_size and (found := _capturing(keys, address, facts)):
            yield Refusal(found, f"would capture the gateway {unpack_address(address)} itself")


def _within(keys: Keys, prefix: bytes) -> Keys:
    """The keys whose prefixes are equal to ``prefix`` or more specific."""
    return keys.between(prefix, host_prefix(last_address(prefix)))


def _capturing(keys: Keys, address: bytes, facts: Facts) -> Keys:
    """The keys that would win the longest-prefix match for ``address``.

    Equal length counts too: such a route differs by its metric only, and the metric of ours is the lowest there is. A
    look-up that already ends at a route of ours tells nothing about the one beneath: then any of ours that holds the
    address counts.
    """
    lookup = facts.lookups.get(address)
    shortest = 0 if lookup is None or lookup.ours else lookup.prefix_length
    # Whatever holds the address sorts in here, and in most cases nothing does.
    near = keys.between(supernet(address, shortest), host_prefix(address))
    if not near:
        return near
    lengths = range(shortest, len(address) * 8 + 1)
    found = (near.between(candidate, candidate) for candidate in (supernet(address, length) for length in lengths))
    return Keys(keys.size, b"".join(each.packed for each in found))
