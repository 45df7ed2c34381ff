"""The default route: a table of its own behind main, with what is protected pinned to the way that it has.

Main is not touched, so its default route, whoever made it, is there as before when ours goes. Three kinds of policy
rules lead to our table::

    32700  from ADDRESS lookup main              replies to what came in by an interface of main's default route
    32701  lookup main suppress_prefixlength 0   all routes of main but its default route
    32702  lookup 245                            ours

Our table holds the destinations of the StaticRoutes that are a default route, and a *pin* for each protected prefix
that would else follow them: a copy of main's default route. All of it carries protocol 245.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from static_route_operator.routing.facts import Facts
from static_route_operator.routing.keys import TABLE_DEFAULT_ROUTE, TABLE_MAIN, default_metric, pack_table_metric
from static_route_operator.routing.keyset import KeySet
from static_route_operator.routing.nexthops import NextHops
from static_route_operator.routing.prefixes import host_prefix
from static_route_operator.routing.routes import Routes
from static_route_operator.routing.rules import OwnRule

# Behind the rules of the CNIs, and before that of the kernel which leads to main (32766).
PRIORITY_OF_REPLIES: Final = 32700
PRIORITY_OF_MAIN: Final = 32701
PRIORITY_OF_OURS: Final = 32702


def anything(address_size: int) -> bytes:
    """The packed prefix that holds all addresses of a family."""
    return bytes(address_size + 1)


def followers(address_size: int, facts: Facts) -> list[bytes]:
    """The protected prefixes of a family that go by main's default route, as a whole or in part."""
    every = anything(address_size)
    if facts.foreign.match(every) is None:
        # What has no way today can't lose it.
        return []
    return list(facts.foreign.exposed(every, facts.protected.outermost_within(every)))


def unpinnable(address_size: int, facts: Facts) -> bytes | None:
    """A protected prefix that goes by a default route which can't be copied; None when there is none."""
    match = facts.foreign.match(anything(address_size))
    if match is None or match.paths[0].forwards:
        return None
    return next(iter(followers(address_size, facts)), None)


def make_bypass_routes(address_sizes: Iterable[int], facts: Facts) -> Routes:
    """The pins for default routes of these families."""
    bypass: dict[NextHops, KeySet] = {}
    for size in address_sizes:
        match = facts.foreign.match(anything(size))
        if match is not None and match.paths[0].forwards:
            table_metric = pack_table_metric(TABLE_DEFAULT_ROUTE, default_metric(bytes(size)))
            bypass[match.paths[0]] = KeySet.of(
                size + 1 + len(table_metric), (each + table_metric for each in followers(size, facts))
            )
    return Routes(bypass)


def make_rules(paths: Iterable[NextHops], facts: Facts) -> frozenset[OwnRule]:
    """The rules for default routes with these paths."""
    by_family: dict[int, list[NextHops]] = {}
    for path in paths:
        by_family.setdefault(path.address_size, []).append(path)
    return frozenset(rule for size, some in by_family.items() for rule in _rules(size, some, facts))


def _rules(address_size: int, paths: Iterable[NextHops], facts: Facts) -> Iterator[OwnRule]:
    every = anything(address_size)
    ours = {hop.interface for path in paths for hop in path.hops}
    match = facts.foreign.match(every)
    theirs = {hop.interface for path in match.paths for hop in path.hops} if match else set()
    sources = {path.source for path in paths}
    interfaces = {facts.interfaces.get(index) for index in theirs - ours}
    for address, interface in facts.addresses.items():
        if len(address) == address_size and interface in interfaces and address not in sources:
            yield OwnRule(PRIORITY_OF_REPLIES, host_prefix(address), TABLE_MAIN)
    yield OwnRule(PRIORITY_OF_MAIN, every, TABLE_MAIN, specific=True)
    yield OwnRule(PRIORITY_OF_OURS, every, TABLE_DEFAULT_ROUTE)
