"""The version of an object that is in force."""

import pytest

from static_route_operator.api.noderoutestate import Reason, RowState
from static_route_operator.api.staticroute import StaticRoute
from static_route_operator.node.rollback.unconfirmed import UnconfirmedChange, UnconfirmedChanges, touches
from static_route_operator.node.rows import Outcome, make_rows
from static_route_operator.planning.diff import diff
from static_route_operator.planning.plan import Plan, make_plan
from static_route_operator.routing.prefixes import pack_address
from static_route_operator.routing.routes import Operation, Routes
from tests.unit.builders import facts, keys, route

OLD = route(destinations=["192.0.2.0/24", "198.51.100.0/24"])
NEW = route(destinations=["192.0.2.0/24", "203.0.113.0/24"], generation=2)
OTHER_NODES = {"nodeSelectorTerms": [{"matchExpressions": [{"key": "zone", "operator": "In", "values": ["b"]}]}]}
OTHER = route("other", destinations=["203.0.113.7"])


def _plan(*routes: StaticRoute) -> Plan:
    return make_plan(routes, facts())


def _change(before: Plan, after: Plan) -> list[Operation]:
    return diff(after.desired, before.desired)


@pytest.fixture
def trials() -> UnconfirmedChanges:
    """The old version is good."""
    trials = UnconfirmedChanges()
    trials.take_as_good([OLD])
    return trials


def test_only_what_is_new_is_tried(trials: UnconfirmedChanges) -> None:
    """A version goes on trial with its first change of the kernel; the repair of a good one is no trial."""
    nothing, old, new = Plan(), _plan(OLD, OTHER), _plan(NEW, OTHER)
    trials.take_as_good([OTHER])

    assert trials.untried(old, _change(nothing, old)) == []
    assert trials.untried(new, []) == []
    assert trials.untried(new, _change(old, new)) == [UnconfirmedChange(NEW, OLD)]

    trials.begin([UnconfirmedChange(NEW, OLD)])
    assert trials.untried(new, _change(nothing, new)) == []


def test_fewer_destinations_are_a_change_too(trials: UnconfirmedChanges) -> None:
    """A version that only takes routes away is on trial like any other."""
    less = route(destinations=["192.0.2.0/24"], generation=2)

    assert trials.untried(_plan(less), _change(_plan(OLD), _plan(less))) == [UnconfirmedChange(less, OLD)]


def test_not_for_this_node_any_more(trials: UnconfirmedChanges) -> None:
    """A version that takes all routes of its object away, since it is for other nodes, is on trial too."""
    elsewhere = route(destinations=["192.0.2.0/24"], generation=2, nodeSelector=OTHER_NODES)
    operations = _change(_plan(OLD, OTHER), _plan(OTHER))

    assert trials.untried(_plan(OTHER), operations, {"uid-nat": elsewhere}) == [UnconfirmedChange(elsewhere, OLD)]
    assert trials.untried(_plan(OTHER), operations, {}) == []


def test_undone_until_there_is_a_newer_one(trials: UnconfirmedChanges) -> None:
    """The version before counts in place of an undone one, also when that comes again; a newer one counts itself."""
    trials.undo([UnconfirmedChange(NEW, OLD)], "why")
    newer = route(destinations=["192.0.2.0/24"], generation=3)

    assert list(trials.in_force([NEW, OTHER])) == [OLD, OTHER]
    assert list(trials.in_force([newer])) == [newer]

    trials.take_as_good([newer])
    assert trials.undone == {}


def test_first_version_leaves_nothing(trials: UnconfirmedChanges) -> None:
    """An object without a confirmed version has none in force when its first is rolled back."""
    trials.undo([UnconfirmedChange(OTHER)], "why")

    assert list(trials.in_force([OTHER])) == []


def test_without_generations() -> None:
    """Versions without a number, as in a directory of manifests, are distinguished by their content."""
    bad, good = (route(generation=0, destinations=[text]) for text in ("192.0.2.1", "192.0.2.2"))
    trials = UnconfirmedChanges()
    trials.undo([UnconfirmedChange(bad)], "why")

    assert list(trials.in_force([bad])) == []
    assert list(trials.in_force([good])) == [good]


def test_acquitted(trials: UnconfirmedChanges) -> None:
    """A version that was undone for nothing is in force again, and not tried any more."""
    trials.undo([UnconfirmedChange(NEW, OLD)], "why")
    trials.acquit([UnconfirmedChange(NEW, OLD)])

    assert list(trials.in_force([NEW])) == [NEW]
    assert trials.untried(_plan(NEW), _change(_plan(OLD), _plan(NEW))) == []
    assert not trials.open


def test_only_what_was_undone_is_deleted_early(trials: UnconfirmedChanges) -> None:
    """While not all objects are known, nothing is deleted but the routes of an undone version."""
    stray = route("stray", destinations=["100.64.0.0/10"])
    installed = _plan(NEW, stray)
    trials.undo([UnconfirmedChange(NEW, OLD)], "why")

    permitted = list(trials.released(_change(installed, _plan(OLD))))

    left = Routes()
    for path, there in installed.desired:
        left.put(path, there)
    for action, path, changed in permitted:
        left.drop(changed) if action.value == "delete" else left.put(path, changed)
    assert left == _plan(OLD, stray).desired


def test_rows(trials: UnconfirmedChanges) -> None:
    """A row tells of a trial while it lasts, and of an undone version what failed and what is in force."""
    trials.take_as_good([OTHER])
    plan = _plan(NEW, OTHER)
    trials.begin([UnconfirmedChange(NEW, OLD)])
    rows = trials.rows(make_rows(plan, Outcome(plan.desired, {}), [], []), lambda _: True)
    assert [(row.name, row.state, row.reason) for row in rows] == [
        ("nat", RowState.PENDING, Reason.AWAITING_CONFIRMATION),
        ("other", RowState.PROGRAMMED, Reason.PROGRAMMED),
    ]

    trials.undo([UnconfirmedChange(NEW, OLD)], "the API server does not answer")
    plan = _plan(OLD, OTHER)
    row, _ = trials.rows(make_rows(plan, Outcome(plan.desired, {}), [], []), lambda _: True)
    assert (row.state, row.reason, row.generation, row.programmed) == (
        RowState.PENDING,
        Reason.AWAITING_CONFIRMATION,
        2,
        2,
    )
    assert row.message == (
        "the API server does not answer; it is being found out whether that helps; "
        "its last good version (generation 1) is in force"
    )

    trials.convict([UnconfirmedChange(NEW, OLD)], "the API server did not answer")
    row, _ = trials.rows(make_rows(plan, Outcome(plan.desired, {}), [], []), lambda _: True)
    assert (row.state, row.reason, row.generation, row.programmed) == (RowState.FAILED, Reason.ROLLED_BACK, 2, 2)
    assert row.message == (
        "the API server did not answer; it is not tried again: change the object; "
        "its last good version (generation 1) is in force"
    )


def test_gone(trials: UnconfirmedChanges) -> None:
    """An object that is gone leaves nothing behind."""
    trials.begin([UnconfirmedChange(NEW, OLD)])

    assert trials.retain(["uid-other"])
    assert (trials.good, trials.open) == ({}, [])
    assert not trials.retain(["uid-other"])


def test_touches() -> None:
    """A change has to do with the addresses that the version, or the one before it, routes."""
    trial = UnconfirmedChange(NEW, OLD)

    assert [touches(trial, pack_address(text)) for text in ("203.0.113.9", "198.51.100.1", "10.0.0.1", "fd00::1")] == [
        True,
        True,
        False,
        False,
    ]


def test_lived_with() -> None:
    """Without a trial a version is good when all of it is in the kernel."""
    trials, plan = UnconfirmedChanges(), _plan(OLD, OTHER)
    part = Routes({path: there - keys("203.0.113.7") for path, there in plan.desired})

    assert trials.lived_with(plan, part) == (True, [OLD])
    assert trials.lived_with(plan, plan.desired) == (
        False,
        [OTHER, OLD] if plan.objects[0].route is OTHER else [OLD, OTHER],
    )
