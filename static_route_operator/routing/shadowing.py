"""Routes of other programs that come before ours in the kernel, beside ours in the same table.

IPv4 and IPv6 keep routes to one prefix with different metrics. The lowest metric wins. IPv4 also keeps several routes
with one metric, in the order of `ip route append` and `prepend`, and routes for one type of service, which win for such
packets. IPv6 merges routes with one metric into one, but not those of router advertisements, those without a gateway,
and those that use a nexthop object. Of these the kernel uses one by preference, neighbour state and order.
"""

from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

from static_route_operator.routing.kernelroute import LOCAL_KINDS, KernelRoute
from static_route_operator.routing.keys import (
    IPV4_KEY_SIZE,
    TABLE_LOCAL,
    TABLE_MAIN,
    TABLE_METRIC,
    prefix_of,
    unpack_table_metric,
)
from static_route_operator.routing.nexthops import PROTOCOL
from static_route_operator.routing.prefixes import host_prefix, last_address
from static_route_operator.routing.routes import Routes


class Endangered(NamedTuple):
    """Keys of our routes before which routes of other programs may come.

    Attributes:
        keys: all of them.
        held: those that another program's route has too.
        special: those before which a route for one type of service comes, which no look-up shows.
    """

    keys: set[bytes]
    held: set[bytes]
    special: set[bytes]


def endangered(ours: Routes, prefixes: Collection[bytes], table: int, metric: int, *, tos: int = 0) -> Iterator[bytes]:
    """Yield the keys of our routes before which routes of another program may come.

    Args:
        ours: our routes.
        prefixes: packed prefixes of the other routes, of one family; a set, if there are many.
        table: the table of the other routes. The kernel looks into the local table before all others.
        metric: the metric of the other routes.
        tos: the type of service of the other routes.
    """
    if table == TABLE_LOCAL:
        for prefix in prefixes:
            yield from _within(ours, prefix)
        return
    first, last = min(prefixes), max(prefixes)
    for _, keys in ours:
        if keys.size - TABLE_METRIC.size == len(first):
            for key in keys.between(first, last):
                own_table, own_metric = unpack_table_metric(key)
                if own_table == table and (own_metric >= metric or tos) and prefix_of(key) in prefixes:
                    yield key


def _within(ours: Routes, prefix: bytes) -> Iterator[bytes]:
    """Yield the keys of our routes in main to a prefix or to a part of it."""
    last = host_prefix(last_address(prefix))
    for _, keys in ours:
        if keys.size - TABLE_METRIC.size == len(prefix):
            yield from (key for key in keys.between(prefix, last) if unpack_table_metric(key)[0] == TABLE_MAIN)


def precedes(other: KernelRoute, key: bytes) -> bool:
    """Report whether a route that the kernel uses for an address comes before the route of ours that it should use.

    Args:
        other: the route that the kernel uses; not one that is more specific than ours.
        key: of our route, in main.
    """
    if other.protocol == PROTOCOL:
        return False
    if other.kind in LOCAL_KINDS or other.table != TABLE_MAIN:
        return True
    # Any other route is a fallback: ours can't be used now, and its gateway is reported.
    return other.prefix == prefix_of(key) and other.metric <= unpack_table_metric(key)[1]


def first_before(key: bytes, beside: Sequence[KernelRoute]) -> KernelRoute | None:
    """Return the route of another program that comes before ours; None without one.

    Args:
        key: of our route.
        beside: all routes with its prefix and table, in the kernel's order.
    """
    if special := next((route for route in beside if route.tos and route.protocol != PROTOCOL), None):
        return special
    holder = next((route for route in beside if route.key == key and not route.tos), None)
    if len(key) == IPV4_KEY_SIZE and holder is not None and holder.protocol != PROTOCOL:
        # Whether it is used or not, a REPLACE of ours would hit it.
        return holder
    usable = [route for route in beside if route.usable and not route.tos]
    # The kernel takes the first of equal routes; IPv4 has no preference.
    first = min(usable, key=lambda route: (route.metric, -route.preference), default=None)
    if first is None or first.protocol == PROTOCOL or first.metric > unpack_table_metric(key)[1]:
        return None
    return first
