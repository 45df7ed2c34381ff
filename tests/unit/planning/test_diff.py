"""From the installed to the desired routes and rules."""

from hypothesis import given
from hypothesis import strategies as st

from static_route_operator.planning.diff import diff, diff_rules
from static_route_operator.routing.keyset import by_family
from static_route_operator.routing.nexthops import UNKNOWN_IPV4, UNKNOWN_IPV6, NextHops
from static_route_operator.routing.prefixes import pack_address
from static_route_operator.routing.routes import Action, Operation, Routes
from static_route_operator.routing.rules import Rule
from tests.unit.builders import ETH0, key, paths, routes
from tests.unit.builders import keys as pack_keys

KEYS4 = [key(f"192.0.2.{last}") for last in range(6)]
KEYS6 = [key(f"2001:db8::{last}") for last in range(4)]
PATHS4 = [
    NextHops.via(pack_address("10.0.0.1"), 2),
    NextHops.via(pack_address("10.0.0.3"), 2),
    NextHops.via(pack_address("10.0.0.1"), 3),
]
PATHS6 = [NextHops.via(pack_address("fd00::1"), 2), NextHops.via(pack_address("fd00::3"), 2)]


def _merge(four: dict[bytes, NextHops], six: dict[bytes, NextHops]) -> Routes:
    return routes(four | six)


wanted_routes = st.builds(
    _merge,
    st.dictionaries(st.sampled_from(KEYS4), st.sampled_from(PATHS4)),
    st.dictionaries(st.sampled_from(KEYS6), st.sampled_from(PATHS6)),
)
present_routes = st.builds(
    _merge,
    st.dictionaries(st.sampled_from(KEYS4), st.sampled_from([*PATHS4, UNKNOWN_IPV4])),
    st.dictionaries(st.sampled_from(KEYS6), st.sampled_from([*PATHS6, UNKNOWN_IPV6])),
)
some_keys = st.sets(st.sampled_from(KEYS4 + KEYS6))


def _apply(operations: list[Operation], installed: Routes) -> dict[bytes, NextHops]:
    """Return the routes after operations, by rules stricter than the kernel's."""
    routes = paths(installed)
    for action, path, keys in operations:
        assert keys.size == path.key_size
        for each in keys:
            match action:
                case Action.ADD:
                    assert each not in routes
                    routes[each] = path
                case Action.REPLACE:
                    assert routes[each] != path
                    routes[each] = path
                case Action.DELETE:
                    assert routes.pop(each) == path
    return routes


@given(wanted_routes, present_routes, some_keys)
def test_operations_lead_from_present_to_wanted(desired: Routes, installed: Routes, retained: set[bytes]) -> None:
    """Carried out on what is present the operations give what is wanted, and what is held and was there."""
    after = _apply(diff(desired, installed, retained=by_family(retained)), installed)

    kept = {each: path for each, path in paths(installed).items() if each in retained and each not in desired}
    assert after == {**paths(desired), **kept}


@given(wanted_routes, present_routes, some_keys, some_keys)
def test_skipped_routes_are_left_alone(
    desired: Routes, installed: Routes, retained: set[bytes], skip: set[bytes]
) -> None:
    """No operation names a skipped route; the others come out as without it."""
    operations = diff(desired, installed, retained=by_family(retained), skip=by_family(skip))

    assert not {each for operation in operations for each in operation.keys} & skip
    after = _apply(operations, installed)
    assert {each: path for each, path in after.items() if each in skip} == {
        each: path for each, path in paths(installed).items() if each in skip
    }
    full = _apply(diff(desired, installed, retained=by_family(retained)), installed)
    assert {each: path for each, path in after.items() if each not in skip} == {
        each: path for each, path in full.items() if each not in skip
    }


@given(wanted_routes, present_routes)
def test_replace_comes_first_and_delete_last(desired: Routes, installed: Routes) -> None:
    """A prefix that stays wanted is replaced and never deleted, and nothing goes before the new is there."""
    operations = diff(desired, installed)

    order = [Action.REPLACE, Action.ADD, Action.DELETE]
    steps = [order.index(operation.action) for operation in operations]
    assert steps == sorted(steps)
    deleted = {each for action, _, keys in operations for each in keys if action is Action.DELETE}
    assert not deleted & paths(desired).keys()


@given(wanted_routes)
def test_nothing_is_done_where_all_is_well(desired: Routes) -> None:
    """Routes that are as desired are not touched."""
    assert diff(desired, routes(paths(desired))) == []


@given(wanted_routes, present_routes)
def test_routes_are_grouped_by_path(desired: Routes, installed: Routes) -> None:
    """There is one operation for all routes of one action and path, so that they are encoded at once."""
    operations = diff(desired, installed)

    groups = [(action, path) for action, path, _ in operations]
    assert len(groups) == len(set(groups))
    assert all(keys for _, _, keys in operations)


def test_rule_that_leads_to_our_table_is_added_last_and_deleted_first() -> None:
    """The rules before it spare packets from the table, so there is no moment without them."""
    spare, lead, other = (Rule(priority=each, table=245, protocol=245) for each in (32701, 32702, 9))

    added = diff_rules([lead, spare], [other])
    assert [(action, rule.priority) for action, rule in added] == [
        (Action.ADD, 32701),
        (Action.ADD, 32702),
        (Action.DELETE, 9),
    ]
    deleted = diff_rules([], [spare, other, lead])
    assert [rule.priority for _, rule in deleted] == [32702, 32701, 9]
    assert diff_rules({spare: ("nat",)}, [spare]) == []


def test_dead_ends_are_not_retained() -> None:
    """A retained route that leads to this node itself goes; others with the same keys stay."""
    here, there = (NextHops.via(pack_address(gateway), ETH0) for gateway in ("10.0.0.1", "10.0.0.3"))
    installed = Routes({here: pack_keys("192.0.2.1"), there: pack_keys("192.0.2.2")})
    retained = [pack_keys("192.0.2.1", "192.0.2.2")]

    assert diff(Routes(), installed, retained=retained) == []
    assert diff(Routes(), installed, retained=retained, dead_ends={here}) == [
        Operation(Action.DELETE, here, pack_keys("192.0.2.1"))
    ]
