"""Which next hops of an IPv6 route are ours, where the kernel has made one route of several.

Of IPv6 routes with one key the kernel makes one, with the next hops of all of them, and tells the protocol of the first
next hop only. A REPLACE would take the others away too. So what of a route with several next hops is neither known to
be of our own writing nor wanted is taken for shared. To delete a next hop with our protocol is safe all the same: of
others there is none that it matches. What stays then is of others.
"""

from static_route_operator.routing.nexthops import NextHop, NextHops
from static_route_operator.routing.routes import Action, Operation, Routes


def mark_shared(installed: Routes, known: Routes, desired: Routes) -> None:
    """Tell the routes in which next hops of another program may be from ours.

    Args:
        installed: the routes that were read; those get a shared path.
        known: the routes that are ours as a whole, as far as it is known from what was written or marked before.
        desired: the routes that should be there: one with no other next hops than those needs no other owner.
    """
    for path, keys in list(installed):
        if path.address_size == 4 or len(path.hops) == 1:
            continue
        unsure = keys - known.through(path)
        for target, there in desired:
            if unsure and not surplus_hops(path, target):
                unsure -= there
        installed.put(path._replace(shared=True), unsure)


def part(installed: Routes, desired: Routes) -> list[Operation]:
    """What deletes our own next hops from shared routes that stay wanted, as far as they are not, but not the last."""
    operations = []
    for path, keys in installed:
        if not path.shared:
            continue
        for target, there in desired:
            if both := keys & there:
                surplus = surplus_hops(path, target)
                if len(surplus) == len(path.hops):
                    # Without any the destination would be without a route.
                    surplus = surplus[1:]
                operations.append(Operation(Action.DELETE, NextHops(surplus), both))
    return operations


def surplus_hops(path: NextHops, desired: NextHops) -> tuple[NextHop, ...]:
    """The next hops of a path that another has not, whatever their weights are."""
    places = {(hop.gateway, hop.interface) for hop in desired.hops}
    return tuple(hop for hop in path.hops if (hop.gateway, hop.interface) not in places)
