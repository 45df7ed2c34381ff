"""Whose the next hops of an IPv6 route are."""

from static_route_operator.kernel.multipath import mark_shared, part
from static_route_operator.routing.paths import Hop, Path
from static_route_operator.routing.prefixes import pack_address
from static_route_operator.routing.routes import Action, Operation, Routes
from tests.unit.builders import key, pack, paths, routes

ONE = key("2001:db8::1")
A, B, C = (Hop(pack_address(f"fd00::{last}"), 2) for last in (1, 2, 3))
NONE = Routes()


def _marked(present: Path, known: Path | None, wanted: Path | None) -> Routes:
    found = routes({ONE: present})
    mark_shared(found, *(routes({ONE: path}) if path else NONE for path in (known, wanted)))
    return found


def test_what_is_known_or_wanted_is_ours() -> None:
    """A route with several next hops that was written so, or has none that is not wanted, is ours as a whole."""
    both = Path((A, B))

    for known, wanted in ((both, None), (None, both), (None, Path((A, B, C))), (None, Path((A, B._replace(weight=9))))):
        assert paths(_marked(both, known, wanted)) == {ONE: both}
    assert paths(_marked(Path((A,)), None, None)) == {ONE: Path((A,))}


def test_ipv4_routes_are_never_shared() -> None:
    """The kernel merges no IPv4 routes."""
    hops = tuple(Hop(pack_address(f"10.0.0.{last}"), 2) for last in (1, 3))
    found = routes({key("192.0.2.1"): Path(hops)})

    mark_shared(found, NONE, NONE)

    assert paths(found) == {key("192.0.2.1"): Path(hops)}


def test_next_hop_that_nobody_knows_makes_it_shared() -> None:
    """A next hop that is neither known nor wanted may be of another program, and so it stays once it is marked."""
    shared = Path((A, B), shared=True)

    for known, wanted in ((None, None), (Path((A,)), Path((A,))), (None, Path((A, C))), (shared, None)):
        assert paths(_marked(Path((A, B)), known, wanted)) == {ONE: shared}


def test_own_next_hops_are_parted_but_for_the_last() -> None:
    """What is not wanted is deleted from a shared route, which takes our own only, yet never all there are."""
    present = _marked(Path((A, B, C)), None, Path((A,)))
    assert part(present, routes({ONE: Path((A,))})) == [Operation(Action.DELETE, Path((B, C)), pack([ONE]))]

    present = _marked(Path((A, B)), None, Path((C,)))
    assert part(present, routes({ONE: Path((C,))})) == [Operation(Action.DELETE, Path((B,)), pack([ONE]))]

    assert part(present, NONE) == []
    assert part(routes({ONE: Path((A, B))}), routes({ONE: Path((A,))})) == []
