"""The default route: a table of its own behind main, with bypass routes for everything that is protected.

Main is not touched, so its default route, whoever made it, takes over again when ours goes. Three kinds of policy rules
lead to our table::

    32700  from ADDRESS lookup main                       replies to packets that came in by a default interface of main
    32701  from all lookup main suppress_prefixlength 0   every route of main but its default route
    32702  from all lookup 245                            ours

Our table holds the destinations of the StaticRoutes that are a default route. It also holds a *bypass route* for each
protected prefix that would otherwise follow them. A bypass route is of the type throw: the kernel goes on with the next
rule, and takes the route of main that it would take without our table. Which of several default routes that is may
change without a notification (neighbour state, router preference, expiry, carrier), so main's route is not copied. All
routes of our table carry protocol 245.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Final

from static_route_operator.routing.facts import Facts
from static_route_operator.routing.keys import TABLE_DEFAULT_ROUTE, TABLE_MAIN, default_metric, pack_table_metric
from static_route_operator.routing.keyset import KeySet
from static_route_operator.routing.nexthops import PROTOCOL, THROW_IPV4, THROW_IPV6, NextHops
from static_route_operator.routing.prefixes import host_prefix
from static_route_operator.routing.routes import Routes
from static_route_operator.routing.rules import Rule, RuleAction

# Behind the rules of the CNIs, and before the kernel's own rule for main (32766).
PRIORITY_OF_REPLIES: Final = 32700
PRIORITY_OF_MAIN: Final = 32701
PRIORITY_OF_OURS: Final = 32702


def anything(address_size: int) -> bytes:
    """Return the packed prefix that holds all addresses of a family."""
    return bytes(address_size + 1)


def followers(address_size: int, facts: Facts) -> list[bytes]:
    """Return the protected prefixes of a family that use main's default route, as a whole or in part."""
    every = anything(address_size)
    if facts.foreign.match(every) is None:
        # Without a default route in main there is no way to keep.
        return []
    return list(facts.foreign.exposed(every, facts.protected.outermost_within(every)))


def make_bypass_routes(address_sizes: Iterable[int], facts: Facts) -> Routes:
    """Return the bypass routes beside default routes of these families.

    New claims have bypass routes at once: a default route stays in force beside them.
    """
    bypass: dict[NextHops, KeySet] = {}
    parts = [facts]
    if facts.protected.claims is not None:
        parts.append(replace(facts, protected=facts.protected.claims))
    for size in address_sizes:
        table_metric = pack_table_metric(TABLE_DEFAULT_ROUTE, default_metric(bytes(size)))
        bypass[THROW_IPV4 if size == 4 else THROW_IPV6] = KeySet.of(
            size + 1 + len(table_metric), (each + table_metric for part in parts for each in followers(size, part))
        )
    return Routes(bypass)


def make_rules(defaults: Iterable[tuple[str, NextHops]], facts: Facts) -> dict[Rule, tuple[str, ...]]:
    """Return the rules for default routes, with the names of the StaticRoutes that each rule is for.

    Args:
        defaults: name and next hops of each StaticRoute that is a default route.
        facts: the node.
    """
    by_family: dict[int, dict[str, NextHops]] = {}
    for name, next_hops in defaults:
        by_family.setdefault(next_hops.address_size, {})[name] = next_hops
    return {rule: tuple(some) for size, some in by_family.items() for rule in _rules(size, some.values(), facts)}


def may_lead(rule: Rule) -> bool:
    """Report whether a rule of this program is one of those that `make_rules` makes."""
    tables = {PRIORITY_OF_REPLIES: TABLE_MAIN, PRIORITY_OF_MAIN: TABLE_MAIN, PRIORITY_OF_OURS: TABLE_DEFAULT_ROUTE}
    plain = rule.action is RuleAction.LOOKUP and not rule.inverted
    return plain and rule.table == tables.get(rule.priority)


def _rules(address_size: int, defaults: Iterable[NextHops], facts: Facts) -> Iterator[Rule]:
    defaults = list(defaults)
    ours = {hop.interface for next_hops in defaults for hop in next_hops.hops}
    # The kernel may change between several default routes at any time, so each one's interface counts.
    theirs = {hop.interface for next_hops in facts.foreign.leading(anything(address_size)) for hop in next_hops.hops}
    sources = {next_hops.source for next_hops in defaults}
    interfaces = {facts.interfaces.get(index) for index in theirs - ours}
    for address, interface in facts.addresses.items():
        if len(address) == address_size and interface in interfaces and address not in sources:
            yield _rule(PRIORITY_OF_REPLIES, address_size, TABLE_MAIN, source=host_prefix(address))
    yield _rule(PRIORITY_OF_MAIN, address_size, TABLE_MAIN, suppress_prefix_length=0)
    yield _rule(PRIORITY_OF_OURS, address_size, TABLE_DEFAULT_ROUTE)


def _rule(
    priority: int, address_size: int, table: int, *, source: bytes = b"", suppress_prefix_length: int | None = None
) -> Rule:
    return Rule(
        priority=priority,
        address_size=address_size,
        table=table,
        source=source,
        suppress_prefix_length=suppress_prefix_length,
        protocol=PROTOCOL,
    )
