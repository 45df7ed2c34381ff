"""Whose the next hops of an IPv6 route are."""

from static_route_operator.kernel.multipath import mark_shared, part
from static_route_operator.routing.nexthops import NextHop, NextHops
from static_route_operator.routing.prefixes import pack_address
from static_route_operator.routing.routes import Action, Operation, Routes
from tests.unit.builders import key, pack, paths, routes

ONE = key("2001:db8::1")
A, B, C = (NextHop(pack_address(f"fd00::{last}"), 2) for last in (1, 2, 3))
NONE = Routes()


def _marked(installed: NextHops, known: NextHops | None, desired: NextHops | None) -> Routes:
    found = routes({ONE: installed})
    mark_shared(found, *(routes({ONE: path}) if path else NONE for path in (known, desired)))
    return found


def test_what_is_known_or_wanted_is_ours() -> None:
    """A route with several next hops that was written so, or has none that is not wanted, is ours as a whole."""
    both = NextHops((A, B))

    for known, desired in (
        (both, None),
        (None, both),
        (None, NextHops((A, B, C))),
        (None, NextHops((A, B._replace(weight=9)))),
    ):
        assert paths(_marked(both, known, desired)) == {ONE: both}
    assert paths(_marked(NextHops((A,)), None, None)) == {ONE: NextHops((A,))}


def test_ipv4_routes_are_never_shared() -> None:
    """The kernel merges no IPv4 routes."""
    hops = tuple(NextHop(pack_address(f"10.0.0.{last}"), 2) for last in (1, 3))
    found = routes({key("192.0.2.1"): NextHops(hops)})

    mark_shared(found, NONE, NONE)

    assert paths(found) == {key("192.0.2.1"): NextHops(hops)}


def test_next_hop_that_nobody_knows_makes_it_shared() -> None:
    """A next hop that is neither known nor wanted may be of another program, and so it stays once it is marked."""
    shared = NextHops((A, B), shared=True)

    for known, desired in ((None, None), (NextHops((A,)), NextHops((A,))), (None, NextHops((A, C))), (shared, None)):
        assert paths(_marked(NextHops((A, B)), known, desired)) == {ONE: shared}


def test_own_next_hops_are_parted_but_for_the_last() -> None:
    """Surplus next hops of ours are deleted from a shared route, but never all that it has."""
    installed = _marked(NextHops((A, B, C)), None, NextHops((A,)))
    assert part(installed, routes({ONE: NextHops((A,))})) == [Operation(Action.DELETE, NextHops((B, C)), pack([ONE]))]

    installed = _marked(NextHops((A, B)), None, NextHops((C,)))
    assert part(installed, routes({ONE: NextHops((C,))})) == [Operation(Action.DELETE, NextHops((B,)), pack([ONE]))]

    assert part(installed, NONE) == []
    assert part(routes({ONE: NextHops((A, B))}), routes({ONE: NextHops((A,))})) == []
