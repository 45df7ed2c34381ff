"""Next hops of other programs in an IPv6 route of ours.

The kernel merges IPv6 routes with one key into one, with the next hops of all of them, and reports the protocol of the
first next hop only. A REPLACE would remove the next hops of other programs too. So a route with several next hops is
marked as shared, unless this program wrote or desires all of them. Deleting a next hop with our protocol is safe
nevertheless: the request matches no next hop of another program. The next hops that remain are those of others.
"""

from static_route_operator.routing.nexthops import NextHop, NextHops
from static_route_operator.routing.routes import Action, Operation, Routes


def mark_shared(installed: Routes, known: Routes, desired: Routes) -> None:
    """Mark the installed routes in which next hops of another program may be.

    Args:
        installed: the routes that were read; the next hops of those in question become ``shared``.
        known: the routes that are ours as a whole, since this program wrote or marked them before.
        desired: the routes that should be installed: a route without further next hops has no other owner.
    """
    for next_hops, keys in list(installed):
        if next_hops.address_size == 4 or len(next_hops.hops) == 1:
            continue
        unsure = keys - known.through(next_hops)
        for target, there in desired:
            if unsure and not surplus_hops(next_hops, target):
                unsure -= there
        installed.put(next_hops._replace(shared=True), unsure)


def part(installed: Routes, desired: Routes) -> list[Operation]:
    """Return the operations that delete our surplus next hops from shared, desired routes, except for the last."""
    operations = []
    for next_hops, keys in installed:
        if not next_hops.shared:
            continue
        for target, there in desired:
            if both := keys & there:
                surplus = surplus_hops(next_hops, target)
                if len(surplus) == len(next_hops.hops):
                    # Without the last next hop the destination would have no route.
                    surplus = surplus[1:]
                operations.append(Operation(Action.DELETE, NextHops(surplus), both))
    return operations


def surplus_hops(next_hops: NextHops, desired: NextHops) -> tuple[NextHop, ...]:
    """Return the next hops that are not among the desired ones, whatever their weights are."""
    places = {(hop.gateway, hop.interface) for hop in desired.hops}
    return tuple(hop for hop in next_hops.hops if (hop.gateway, hop.interface) not in places)
