"""Routes that would cut this node off, and source addresses that can't be used here.

The keys of an object are sorted by prefix, so each check takes a few bisections, however many keys there are.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from typing import NamedTuple

from static_route_operator.api.destinations import LONGEST_DEFAULT
from static_route_operator.api.noderoutestate import Reason, RowState
from static_route_operator.planning.defaultroute import anything, followers
from static_route_operator.routing.facts import Facts
from static_route_operator.routing.foreign import ForeignRib, Lookup
from static_route_operator.routing.kernelroute import THROW, UNICAST
from static_route_operator.routing.keys import TABLE_MAIN, prefix_of, unpack_table_metric
from static_route_operator.routing.keyset import KeySet
from static_route_operator.routing.nexthops import NextHop, NextHops
from static_route_operator.routing.prefixes import (
    contains,
    host_prefix,
    last_address,
    unpack_address,
    unpack_prefix,
)
from static_route_operator.routing.protection import Protection
from static_route_operator.routing.rules import Rule

# Protected addresses that one message names.
_MOST_CAPTURED = 3


@dataclass(frozen=True, slots=True)
class Issue:
    """The reason why some or all destinations of an object are not programmed."""

    state: RowState
    reason: Reason
    message: str

    def but(self, text: str) -> "Issue":
        """Return the issue with a text that says how it is handled."""
        return Issue(self.state, self.reason, f"{self.message}; {text}")


def source_problem(source: bytes, facts: Facts) -> Issue | None:
    """Return the reason why no route can have a source address on this node; None if one can, or without a source."""
    # Local addresses are not only those of interfaces: `ip route add local` adds others.
    if not source or facts.is_own(source):
        return None
    text = unpack_address(source)
    found = [each for each in facts.network.addresses if each.local == source]
    if not found:
        why = f"source {text} is not an address of this node"
    elif any(each.duplicate for each in found):
        why = (
            f"source {text} of {facts.addresses[source]} is a duplicate: another node on that link has the same"
            " address, so the kernel does not use it here; remove it from one of the two"
        )
    else:
        why = f"source {text} of {facts.addresses[source]} is not in use yet: the kernel checks for a duplicate first"
    return Issue(RowState.FAILED, Reason.SOURCE_NOT_ON_NODE, why)


def default_problem(address_size: int, facts: Facts) -> Issue | None:
    """Return the reason why no default route of ours can be used; None if one can.

    The rule that leads to main passes over main's default route (see `defaultroute`). The kernel does not pass over one
    that drops packets.
    """
    match = facts.foreign.match(anything(address_size))
    kind = match.alternatives[0].kind if match else UNICAST
    if kind in {UNICAST, THROW}:
        return None
    text = f"another program's {kind} default route in table main drops packets before this one is used"
    return Issue(RowState.CONFLICT, Reason.FOREIGN_ROUTE, f"{text}; it is left alone: have its owner give it up")


class Rejection(NamedTuple):
    """Keys that must not be routed on this node, and the reason. A key may be in several rejections.

    Attributes:
        keys: the keys.
        why: the reason, after the text of a key.
        whole: no part of these prefixes may be routed, so there is nothing to cut out.
    """

    keys: KeySet
    why: str
    whole: bool = False


def default_refusals(keys: KeySet, facts: Facts, hops: Collection[NextHop] = ()) -> Iterator[Rejection]:
    """Yield the keys of a default route that must not be routed on this node.

    Packets to a prefix with a route in main use that route. Protected prefixes that use main's default route get a
    bypass route (see `defaultroute`). So only keys that would precede a bypass route are rejected.

    Args:
        keys: of one object.
        facts: the node.
        hops: see `refusals`.
    """
    if not keys:
        return
    yield from _loops(keys, facts, facts.lookups, hops)
    size = len(prefix_of(keys[0])) - 1
    if max(keys.packed[size :: keys.size]) > LONGEST_DEFAULT:
        for each in followers(size, facts):
            if run := _within(keys, each):
                yield Rejection(run, f"is in {facts.protected.describe(each)}", whole=True)


def refusals(
    keys: KeySet,
    facts: Facts,
    gateways: Collection[bytes],
    path: NextHops | None = None,
    hops: Collection[NextHop] = (),
) -> Iterator[Rejection]:
    """Yield the keys that must not be routed on this node.

    A key is rejected if it would change the next hop of a protected address: it would win the longest-prefix match
    against the route that the address has without any route of ours, and lead elsewhere. A key is also rejected if it
    holds a gateway in use, is one of the node's own addresses, or is a part of a connected subnet or of a protected
    prefix. A broader prefix changes nothing for them, and is accepted. A key is rejected as well if it would lead the
    packets of a tunnel into the tunnel itself.

    In a table other than main there is no match to win: a rule that leads packets there comes before main, or may. So
    if a rule may lead the node's own packets there, every prefix that holds such an address, or overlaps with such a
    subnet, is rejected. Without such a rule nothing is: the table is for forwarded packets.

    Args:
        keys: of one object, so of one table.
        facts: the node.
        gateways: packed addresses of all gateways in use on the node.
        path: next hops of the routes; None for unknown.
        hops: the next hops that the routes have, or may have once a gateway is up.
    """
    if not keys:
        return
    table, _ = unpack_table_metric(keys[0])
    if table == TABLE_MAIN:
        yield from _captures(keys, facts, facts.lookups, gateways)
        yield from _loops(keys, facts, facts.lookups, hops)
        yield from _changes(keys, facts.protected, facts.foreign, path)
    elif rule := _rule_towards(table, keys, facts):
        captures = [*_captures(keys, facts, {}, gateways), *_around_subnets(keys, facts)]
        captures += _loops(keys, facts, {}, hops)
        for each in (*captures, *_changes(keys, facts.protected, ForeignRib(), None)):
            yield each._replace(why=each.why + _because_of(rule))


def claim_conflicts(
    keys: KeySet, facts: Facts, path: NextHops | None = None, *, default: bool = False
) -> Iterator[Rejection]:
    """Yield the keys that change the next hop of an address which is protected only by a new claim.

    Args:
        keys: of one object, so of one table.
        facts: the node.
        path: next hops of the routes; None for unknown.
        default: the object has a default route.
    """
    claims = facts.protected.claims
    if claims is None or not keys:
        return
    table, _ = unpack_table_metric(keys[0])
    if default:
        yield from default_refusals(keys, replace(facts, protected=claims))
    elif table == TABLE_MAIN:
        yield from _changes(keys, claims, facts.foreign, path)
    elif claims.meet(keys) and (rule := _rule_towards(table, keys, facts)):
        for each in _changes(keys, claims, ForeignRib(), None):
            yield each._replace(why=each.why + _because_of(rule))


def _because_of(rule: Rule) -> str:
    return f"; policy rule {rule.priority} may lead packets that this node sends to table {rule.table}"


def _rule_towards(table: int, keys: KeySet, facts: Facts) -> Rule | None:
    """Return the first rule that may lead packets of this node to a table, of the family of these keys."""
    size = len(prefix_of(keys[0]))
    own = [host_prefix(address) for address in facts.addresses]
    for rule in facts.rules:
        # A packet without a source address gets one of the node's own when its route is looked up.
        source = rule.senders
        if (rule.table, len(source)) == (table, size) and any(contains(source, each) for each in own):
            return rule
    return None


def _captures(
    keys: KeySet, facts: Facts, lookups: Mapping[bytes, Lookup], gateways: Collection[bytes]
) -> Iterator[Rejection]:
    address_size = len(prefix_of(keys[0])) - 1
    for subnet in facts.network.around(keys):
        prefix, interface = subnet
        if len(prefix) - 1 == address_size and prefix[-1] > LONGEST_DEFAULT and (found := _within(keys, prefix)):
            what = f"a subnet that {interface} of this node is connected to"
            if subnet in facts.network.unrouted:
                what = f"the subnet of this node's address on {interface} (with noprefixroute)"
            yield Rejection(found, f"is in {unpack_prefix(prefix)}, {what}", whole=True)
    for address, interface in facts.network.owned_by(keys):
        if len(address) == address_size and (found := _within(keys, host_prefix(address))):
            yield Rejection(found, f"is this node's own address on {interface}", whole=True)
    for address in gateways:
        if len(address) == address_size and (found := _capturing(keys, address, lookups)):
            yield Rejection(found, f"would capture the gateway {unpack_address(address)} itself")


def _loops(
    keys: KeySet, facts: Facts, lookups: Mapping[bytes, Lookup], hops: Collection[NextHop]
) -> Iterator[Rejection]:
    """Yield the keys that would capture the outer packets of a tunnel that the routes lead into."""
    address_size = len(prefix_of(keys[0])) - 1
    for index in {hop.interface for hop in hops}:
        link = facts.links.get(index)
        if link is None or len(link.remote) != address_size:
            continue
        lookup = lookups.get(link.remote)
        looping = lookup is not None and lookup.ours and lookup.interface in {0, index}
        shortest = 0 if lookup is None or looping else lookup.prefix_length
        if found := keys.holding(link.remote, range(shortest, address_size * 8 + 1)):
            end = f"{unpack_address(link.remote)}, the other end of the tunnel {link.name} that leads to the gateway"
            yield Rejection(found, f"would capture {end}")


def _changes(keys: KeySet, protected: Protection, foreign: ForeignRib, path: NextHops | None) -> Iterator[Rejection]:
    """Yield the keys that would change the next hops of packets to a protected address."""
    holding, inside = protected.meet(keys)
    for key in holding:
        prefix = prefix_of(key)
        if path is not None and not path.source and (match := foreign.match(prefix)) and match.leads(path.hops):
            continue
        exposed = foreign.exposed(prefix, protected.outermost_within(prefix))
        if captured := [protected.describe(each) for each in islice(exposed, _MOST_CAPTURED + 1)]:
            more = " and more" if len(captured) > _MOST_CAPTURED else ""
            text = ", ".join(captured[:_MOST_CAPTURED])
            yield Rejection(KeySet(keys.size, key), f"would capture {text}{more}")
    while inside:
        around = protected.around(prefix_of(inside[0])) or b""
        run = _within(inside, around)
        yield Rejection(run, f"is in {protected.describe(around)}", whole=True)
        if len(protected.within(around)) > 1:
            for key in run:
                if found := protected.within(prefix_of(key)):
                    yield Rejection(KeySet(keys.size, key), f"would capture {protected.describe(found[0])}")
        inside = inside[len(run) :]


def _around_subnets(keys: KeySet, facts: Facts) -> Iterator[Rejection]:
    """Yield the keys whose prefixes are broader than a connected subnet and hold it."""
    for subnet, interface in facts.subnets:
        if len(subnet) == len(prefix_of(keys[0])) and (found := keys.holding(subnet[:-1], range(subnet[-1]))):
            text = f"would capture {unpack_prefix(subnet)}, a subnet that {interface} of this node is connected to"
            yield Rejection(found, text)


def _within(keys: KeySet, prefix: bytes) -> KeySet:
    """Return the keys whose prefixes are equal to ``prefix`` or more specific."""
    return keys.between(prefix, host_prefix(last_address(prefix)))


def _capturing(keys: KeySet, address: bytes, lookups: Mapping[bytes, Lookup]) -> KeySet:
    """Return the keys that would win the longest-prefix match for ``address``; without a look-up, all that hold it.

    Equal length counts too. Such a route differs by its metric only, and wins at the latest when the other one goes. A
    look-up that ends at a route of ours does not reveal the route beneath: then every key that holds the address
    counts.
    """
    lookup = lookups.get(address)
    shortest = 0 if lookup is None or lookup.ours else lookup.prefix_length
    return keys.holding(address, range(shortest, len(address) * 8 + 1))
