"""A forecast comes to pass, on a kernel that is a dictionary."""

import errno
from collections.abc import Collection

from hypothesis import given
from hypothesis import strategies as st

from static_route_operator.api.noderoutestate import RowState
from static_route_operator.api.resolution import ResolvedRoute
from static_route_operator.node.rows import Outcome, make_rows
from static_route_operator.planning.changes import Forecast, Kind, State, dry_run_row, make_forecast
from static_route_operator.planning.diff import diff
from static_route_operator.planning.plan import Plan, make_plan
from static_route_operator.routing.nexthops import NextHops
from static_route_operator.routing.prefixes import pack_address
from static_route_operator.routing.routes import Action, Failure, Routes
from static_route_operator.routing.rules import Rule
from tests.unit.builders import ETH0, facts, key, pack, paths, resolved, routes

DESTINATIONS = ("192.0.2.0/24", "192.0.2.1/32", "192.0.2.2/32", "198.51.100.0/24", "10.0.0.77/32")
GATEWAYS = ("10.0.0.1", "10.0.0.3", "10.9.0.1", "10.0.0.2")
VIA = tuple(NextHops.via(pack_address(each), ETH0) for each in GATEWAYS[:2])

_keys = st.sampled_from([key(each) for each in DESTINATIONS])
_installed = st.dictionaries(_keys, st.sampled_from(VIA))
_objects = st.lists(
    st.builds(
        resolved,
        st.sampled_from("abc"),
        st.sampled_from(GATEWAYS),
        st.lists(st.sampled_from(DESTINATIONS), min_size=1, unique=True),
        priority=st.sampled_from([1, 100]),
        whenAllGatewaysDown=st.sampled_from(["Keep", "Withdraw", "Blackhole"]),
    ),
    max_size=3,
    unique_by=lambda each: each.name,
)


def _foresee(
    installed: dict[bytes, NextHops], foreign: Collection[bytes], objects: list[ResolvedRoute]
) -> tuple[Plan, Forecast, dict[bytes, NextHops]]:
    """Return the plan of objects, the forecast, and the routes of a kernel after the plan."""
    plan = make_plan(objects, facts(gateways=GATEWAYS))
    kernel, failures = dict(installed), {}
    for action, path, some in diff(plan.desired, routes(installed), retained=plan.retained):
        for each in some:
            if action is Action.DELETE:
                del kernel[each]
            elif action is Action.ADD and each in foreign:
                failures[each] = Failure(errno.EEXIST, "proto static")
            else:
                kernel[each] = path
    rows = make_rows(plan, Outcome(routes(kernel), failures), (), ())
    names = {each.name for each in objects}
    before, after = State(Plan(), routes(installed), ()), State(plan, routes(kernel), plan.rules)
    forecast = make_forecast(before, after, failures, rows, names=names, interfaces={ETH0: "eth0"})
    return plan, forecast, kernel


@given(_installed, st.sets(_keys), _objects)
def test_forecast_comes_to_pass(
    installed: dict[bytes, NextHops], foreign: set[bytes], objects: list[ResolvedRoute]
) -> None:
    """Carried out by itself it gives what the kernel has, and each destination of each object has one lot."""
    _, forecast, kernel = _foresee(installed, foreign - installed.keys(), objects)
    after = routes(installed)
    for change in forecast.routes:
        if change.before is not None:
            assert not change.keys - routes(installed).through(change.before)
        if change.kind is Kind.DELETE:
            after.drop(change.keys)
        elif change.next_hops is not None:
            after.put(change.next_hops, change.keys)
    assert paths(after) == kernel

    for each in objects:
        lots = [one for change in forecast.routes if change.name == each.name for one in change.keys]
        assert sorted(lots) == sorted(each.keys)
    assert sum(forecast.counts().values()) == sum(len(change.keys) for change in forecast.routes)


@given(_installed, st.sets(_keys), _objects)
def test_what_is_denied_says_why(
    installed: dict[bytes, NextHops], foreign: set[bytes], objects: list[ResolvedRoute]
) -> None:
    """Whatever an object can't have has a reason in words, also in the form for programs."""
    _, forecast, _ = _foresee(installed, foreign - installed.keys(), objects)

    for change in forecast.to_json()["routes"]:
        if change["action"] not in {"add", "change", "delete"}:
            assert change["reason"]
            assert change["object"]


def test_row_of_a_dry_run() -> None:
    """It says what would be done and with which outcome; where the object is not for the node any more, that too."""
    desired = resolved("a", "10.0.0.3", ["192.0.2.1", "192.0.2.2"], generation=7)
    plan, forecast, _ = _foresee({key("192.0.2.1/32"): VIA[0]}, {key("192.0.2.2/32")}, [desired])
    row = dry_run_row(desired, forecast)

    assert row is not None
    assert (row.state, row.reason, row.generation, row.destinations) == (RowState.DRY_RUN, "ForeignRoute", 7, 2)
    assert row.message.startswith("would change 1; another program's route holds 192.0.2.2/32 (proto static)")

    before = State(plan, Routes({VIA[1]: pack([key("192.0.2.1/32")])}), ())
    nothing = State(Plan(), Routes(), ())
    gone = make_forecast(before, nothing, {}, (), names={"a"}, interfaces={})
    row = dry_run_row(desired, gone)
    assert row is not None
    assert row.message == "would delete 1: the object no longer selects this node"
    unchanged = make_forecast(nothing, nothing, {}, (), names={"a"}, interfaces={})
    assert dry_run_row(desired, unchanged) is None


def test_rules_have_their_objects() -> None:
    """A rule that would be added names the objects it is for; one that would be deleted, those that it was for."""
    default = resolved("a", "10.0.0.1", ["0.0.0.0/0"], allowDefaultRoute=True)
    plan, forecast, _ = _foresee({}, (), [default])

    assert [str(change.rule) for change in forecast.rules] == [str(rule) for rule in sorted(plan.rules)]
    assert {(change.kind, change.names) for change in forecast.rules} == {(Kind.ADD, ("a",))}
    row = dry_run_row(default, forecast)
    assert row is not None
    assert row.message == "would add 1, add 2 policy rules"
    assert forecast.to_json()["rules"][0] == {
        "action": "add",
        "family": "IPv4",
        "rule": "32701: from all lookup main suppress_prefixlength 0",
        "objects": ["a"],
    }

    stray = Rule(priority=1, table=7, protocol=245)
    before = State(plan, Routes(), [*plan.rules, stray])
    gone = make_forecast(before, State(Plan(), Routes(), ()), {}, (), names={"a"}, interfaces={})
    assert [(change.kind, change.rule.priority, change.names) for change in gone.rules] == [
        (Kind.DELETE, 32702, ("a",)),
        (Kind.DELETE, 32701, ("a",)),
        (Kind.DELETE, 1, ()),
    ]
