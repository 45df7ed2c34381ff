"""Which next hops of an IPv6 route are ours, where the kernel has made one route of several.

Of IPv6 routes with one key the kernel makes one, with the next hops of all of them, and tells the protocol of the first
next hop only. A REPLACE would take the others away too. So what of a route with several next hops is neither known to
be of our own writing nor wanted is taken for shared. To delete a next hop with our protocol is safe all the same: of
others there is none that it matches. What stays then is of others.
"""

from static_route_operator.routing.paths import Hop, Path
from static_route_operator.routing.routes import Action, Operation, Routes


def mark_shared(present: Routes, known: Routes, wanted: Routes) -> None:
    """Tell the routes in which next hops of another program may be from ours.

    Args:
        present: the routes that were read; those get a shared path.
        known: the routes that are ours as a whole, as far as it is known from what was written or marked before.
        wanted: the routes that should be there: one with no other next hops than those needs no other owner.
    """
    for path, keys in list(present):
        if path.address_size == 4 or len(path.hops) == 1:
            continue
        unsure = keys - known.through(path)
        for target, there in wanted:
            if unsure and not surplus_hops(path, target):
                unsure -= there
        present.put(path._replace(shared=True), unsure)


def part(present: Routes, wanted: Routes) -> list[Operation]:
    """What deletes our own next hops from shared routes that stay wanted, as far as they are not, but not the last."""
    operations = []
    for path, keys in present:
        if not path.shared:
            continue
        for target, there in wanted:
            if both := keys & there:
                surplus = surplus_hops(path, target)
                if len(surplus) == len(path.hops):
                    # Without any the destination would be without a route.
                    surplus = surplus[1:]
                operations.append(Operation(Action.DELETE, Path(surplus), both))
    return operations


def surplus_hops(path: Path, wanted: Path) -> tuple[Hop, ...]:
    """The next hops of a path that another has not, whatever their weights are."""
    places = {(hop.gateway, hop.interface) for hop in wanted.hops}
    return tuple(hop for hop in path.hops if (hop.gateway, hop.interface) not in places)
