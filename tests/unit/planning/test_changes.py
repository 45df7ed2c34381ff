"""A forecast comes to pass, on a kernel that is a dictionary."""

import errno
from collections.abc import Collection

from hypothesis import given
from hypothesis import strategies as st

from static_route_operator.api.noderoutestate import RowState
from static_route_operator.api.resolution import ResolvedRoute
from static_route_operator.node.rows import Outcome, make_rows
from static_route_operator.planning.changes import Forecast, Kind, dry_run_row, make_forecast
from static_route_operator.planning.diff import diff
from static_route_operator.planning.plan import Plan, make_plan
from static_route_operator.routing.nexthops import NextHops
from static_route_operator.routing.prefixes import pack_address
from static_route_operator.routing.routes import Action, Failure, Routes
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
    """The plan of objects, what is foreseen of it, and what a kernel makes of it."""
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
    ends = (routes(installed), routes(kernel))
    return plan, make_forecast(plan, Plan(), ends, failures, rows, names=names, interfaces={ETH0: "eth0"}), kernel


@given(_installed, st.sets(_keys), _objects)
def test_forecast_comes_to_pass(
    installed: dict[bytes, NextHops], foreign: set[bytes], objects: list[ResolvedRoute]
) -> None:
    """Carried out by itself it gives what the kernel has, and each destination of each object has one lot."""
    _, forecast, kernel = _foresee(installed, foreign - installed.keys(), objects)
    after = routes(installed)
    for fate in forecast.fates:
        if fate.before is not None:
            assert not fate.keys - routes(installed).through(fate.before)
        if fate.kind is Kind.DELETE:
            after.drop(fate.keys)
        elif fate.path is not None:
            after.put(fate.path, fate.keys)
    assert paths(after) == kernel

    for each in objects:
        lots = [one for fate in forecast.fates if fate.name == each.name for one in fate.keys]
        assert sorted(lots) == sorted(each.keys)
    assert sum(forecast.counts().values()) == sum(len(fate.keys) for fate in forecast.fates)


@given(_installed, st.sets(_keys), _objects)
def test_what_is_denied_says_why(
    installed: dict[bytes, NextHops], foreign: set[bytes], objects: list[ResolvedRoute]
) -> None:
    """Whatever an object can't have has a reason in words, also in the form for programs."""
    _, forecast, _ = _foresee(installed, foreign - installed.keys(), objects)

    for told in forecast.to_json()["routes"]:
        if told["action"] not in {"add", "change", "delete"}:
            assert told["reason"]
            assert told["object"]


def test_row_of_a_dry_run() -> None:
    """It says what would be done and with which outcome; where the object is not for the node any more, that too."""
    desired = resolved("a", "10.0.0.3", ["192.0.2.1", "192.0.2.2"], generation=7)
    plan, forecast, _ = _foresee({key("192.0.2.1/32"): VIA[0]}, {key("192.0.2.2/32")}, [desired])
    row = dry_run_row(desired, forecast)

    assert row is not None
    assert (row.state, row.reason, row.generation, row.destinations) == (RowState.DRY_RUN, "ForeignRoute", 7, 2)
    assert row.message.startswith("would change 1; another program's route holds 192.0.2.2/32 (proto static)")

    installed = (Routes({VIA[1]: pack([key("192.0.2.1/32")])}), Routes())
    gone = make_forecast(Plan(), plan, installed, {}, (), names={"a"}, interfaces={})
    row = dry_run_row(desired, gone)
    assert row is not None
    assert row.message == "would delete 1: it is not for this node any more"
    nothing = make_forecast(Plan(), Plan(), (Routes(), Routes()), {}, (), names={"a"}, interfaces={})
    assert dry_run_row(desired, nothing) is None
