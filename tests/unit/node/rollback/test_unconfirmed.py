"""Versions of objects in force: confirmed, unconfirmed, rolled back."""

from dataclasses import replace

import pytest

from static_route_operator.api.noderoutestate import Reason, RowState
from static_route_operator.api.resolution import ResolvedRoute
from static_route_operator.node.rollback.unconfirmed import UnconfirmedChange, UnconfirmedChanges, touches
from static_route_operator.node.rows import Outcome, make_rows
from static_route_operator.planning.diff import diff
from static_route_operator.planning.plan import Plan, make_plan
from static_route_operator.routing.prefixes import pack_address
from static_route_operator.routing.routes import Action, Operation, Routes
from tests.unit.builders import facts, keys, resolved

OLD = resolved(destinations=["192.0.2.0/24", "198.51.100.0/24"])
NEW = resolved(destinations=["192.0.2.0/24", "203.0.113.0/24"], generation=2)
OTHER_NODES = {"nodeSelectorTerms": [{"matchExpressions": [{"key": "zone", "operator": "In", "values": ["b"]}]}]}
OTHER = resolved("other", destinations=["203.0.113.7"])
# The old version, after a source beside the spec delivered other prefixes.
REVISED = replace(OLD, keys=keys("192.0.2.0/24", "203.0.113.0/24"), revision="2")


def _plan(*routes: ResolvedRoute) -> Plan:
    return make_plan(routes, facts())


def _change(before: Plan, after: Plan) -> list[Operation]:
    return diff(after.desired, before.desired)


@pytest.fixture
def changes() -> UnconfirmedChanges:
    """The old version is confirmed."""
    return UnconfirmedChanges({OLD.uid: OLD})


def test_only_new_versions_are_unconfirmed(changes: UnconfirmedChanges) -> None:
    """A version is unconfirmed with its first change of the kernel; the repair of a confirmed one is no change."""
    nothing, old, new = Plan(), _plan(OLD, OTHER), _plan(NEW, OTHER)
    changes.confirm([OTHER])

    assert changes.introduced(old, _change(nothing, old)) == []
    assert changes.introduced(new, []) == []
    assert changes.introduced(new, _change(old, new)) == [UnconfirmedChange(NEW, OLD)]

    changes.begin([UnconfirmedChange(NEW, OLD)])
    assert changes.introduced(new, _change(nothing, new)) == []


def test_new_revision_of_the_same_generation(changes: UnconfirmedChanges) -> None:
    """Other prefixes under the same generation are a new version: unconfirmed first, and rolled back like any other."""
    old, revised = _plan(OLD), _plan(REVISED)

    (change,) = changes.introduced(revised, _change(old, revised))
    assert change == UnconfirmedChange(REVISED, OLD)
    changes.begin([change])
    (row,) = changes.rows(make_rows(revised, Outcome(revised.desired, {}), [], []), lambda _: True)
    assert (row.generation, row.reason) == (1, Reason.AWAITING_CONFIRMATION)

    changes.revert([change], "why")
    changes.reject([change], "why")
    assert list(changes.in_force([REVISED])) == [OLD]
    (row,) = changes.rows(make_rows(old, Outcome(old.desired, {}), [], []), lambda _: True)
    assert row.reason is Reason.ROLLED_BACK
    assert row.message.endswith("the last confirmed version (generation 1) is in force")

    newer = replace(REVISED, revision="3")
    assert list(changes.in_force([newer])) == [newer]
    changes.confirm([newer])
    assert list(changes.in_force([newer])) == [newer]
    assert changes.rolled_back == {}


def test_fewer_destinations_are_a_change_too(changes: UnconfirmedChanges) -> None:
    """A version that only takes routes away is unconfirmed like any other."""
    less = resolved(destinations=["192.0.2.0/24"], generation=2)

    assert changes.introduced(_plan(less), _change(_plan(OLD), _plan(less))) == [UnconfirmedChange(less, OLD)]


def test_not_for_this_node_any_more(changes: UnconfirmedChanges) -> None:
    """A version that takes all routes of its object away, since it is for other nodes, is unconfirmed too."""
    elsewhere = resolved(destinations=["192.0.2.0/24"], generation=2, nodeSelector=OTHER_NODES)
    operations = _change(_plan(OLD, OTHER), _plan(OTHER))

    assert changes.introduced(_plan(OTHER), operations, {"uid-nat": elsewhere}) == [UnconfirmedChange(elsewhere, OLD)]
    assert changes.introduced(_plan(OTHER), operations, {}) == []


def test_rolled_back_until_there_is_a_newer_one(changes: UnconfirmedChanges) -> None:
    """A rolled back version gives way to the one before, also when it comes again; a newer one is in force."""
    changes.revert([UnconfirmedChange(NEW, OLD)], "why")
    newer = resolved(destinations=["192.0.2.0/24"], generation=3)

    assert list(changes.in_force([NEW, OTHER])) == [OLD, OTHER]
    assert list(changes.in_force([newer])) == [newer]

    changes.confirm([newer])
    assert changes.rolled_back == {}


def test_first_version_leaves_nothing(changes: UnconfirmedChanges) -> None:
    """Of an object without a confirmed version none is in force when its first is reverted."""
    changes.revert([UnconfirmedChange(OTHER)], "why")

    assert list(changes.in_force([OTHER])) == []


def test_without_generations() -> None:
    """Where versions have no number, as in a directory of manifests, their content tells them apart."""
    bad, good = (resolved(generation=0, destinations=[text]) for text in ("192.0.2.1", "192.0.2.2"))
    changes = UnconfirmedChanges()
    changes.revert([UnconfirmedChange(bad)], "why")

    assert list(changes.in_force([bad])) == []
    assert list(changes.in_force([good])) == [good]


def test_reinstated(changes: UnconfirmedChanges) -> None:
    """A version whose rollback did not help is in force again, and no longer unconfirmed."""
    changes.revert([UnconfirmedChange(NEW, OLD)], "why")
    changes.reinstate([UnconfirmedChange(NEW, OLD)])

    assert list(changes.in_force([NEW])) == [NEW]
    assert changes.introduced(_plan(NEW), _change(_plan(OLD), _plan(NEW))) == []
    assert not changes.open


def test_only_reverted_routes_are_deleted_early(changes: UnconfirmedChanges) -> None:
    """While not all objects are known, nothing is deleted but the routes of a reverted version."""
    stray = resolved("stray", destinations=["100.64.0.0/10"])
    installed = _plan(NEW, stray)
    changes.revert([UnconfirmedChange(NEW, OLD)], "why")

    permitted = list(changes.permitted(_change(installed, _plan(OLD))))

    left = Routes()
    for path, there in installed.desired:
        left.put(path, there)
    for action, path, changed in permitted:
        left.drop(changed) if action.value == "delete" else left.put(path, changed)
    assert left == _plan(OLD, stray).desired


def test_dead_ends_go_while_not_all_objects_are_known(changes: UnconfirmedChanges) -> None:
    """Of the deletions those of routes that lead to this node itself are permitted."""
    operations = _change(_plan(OLD, OTHER), _plan())
    ends = {operations[0].next_hops}

    assert all(each.action is Action.DELETE for each in operations)
    assert list(changes.permitted(operations)) == []
    assert list(changes.permitted(operations, ends)) == [each for each in operations if each.next_hops in ends]


def test_rows(changes: UnconfirmedChanges) -> None:
    """A row tells that a version is unconfirmed, or rolled back with the reason and the version in force."""
    changes.confirm([OTHER])
    plan = _plan(NEW, OTHER)
    changes.begin([UnconfirmedChange(NEW, OLD)])
    rows = changes.rows(make_rows(plan, Outcome(plan.desired, {}), [], []), lambda _: True)
    assert [(row.name, row.state, row.reason) for row in rows] == [
        ("nat", RowState.PENDING, Reason.AWAITING_CONFIRMATION),
        ("other", RowState.PROGRAMMED, Reason.PROGRAMMED),
    ]

    changes.revert([UnconfirmedChange(NEW, OLD)], "the API server does not answer")
    plan = _plan(OLD, OTHER)
    row, _ = changes.rows(make_rows(plan, Outcome(plan.desired, {}), [], []), lambda _: True)
    assert (row.state, row.reason, row.generation, row.programmed) == (
        RowState.PENDING,
        Reason.AWAITING_CONFIRMATION,
        2,
        2,
    )
    assert row.message == (
        "the API server does not answer; checking whether the rollback restored connectivity; "
        "the last confirmed version (generation 1) is in force"
    )

    changes.reject([UnconfirmedChange(NEW, OLD)], "the API server did not answer")
    row, _ = changes.rows(make_rows(plan, Outcome(plan.desired, {}), [], []), lambda _: True)
    assert (row.state, row.reason, row.generation, row.programmed) == (RowState.FAILED, Reason.ROLLED_BACK, 2, 2)
    assert row.message == (
        "the API server did not answer; this version is not tried again: change the object; "
        "the last confirmed version (generation 1) is in force"
    )


def test_gone(changes: UnconfirmedChanges) -> None:
    """Of an object that is gone nothing is remembered."""
    changes.begin([UnconfirmedChange(NEW, OLD)])

    assert changes.retain(["uid-other"])
    assert (changes.confirmed, changes.open) == ({}, [])
    assert not changes.retain(["uid-other"])


def test_touches() -> None:
    """A change concerns the addresses that the version, or the one before it, routes."""
    change = UnconfirmedChange(NEW, OLD)

    assert [touches(change, pack_address(text)) for text in ("203.0.113.9", "198.51.100.1", "10.0.0.1", "fd00::1")] == [
        True,
        True,
        False,
        False,
    ]


def test_already_installed() -> None:
    """Without an unconfirmed change a version is confirmed once all of it is in the kernel."""
    changes, plan = UnconfirmedChanges(), _plan(OLD, OTHER)
    part = Routes({path: there - keys("203.0.113.7") for path, there in plan.desired})

    assert changes.already_installed(plan, part) == (True, [OLD])
    assert changes.already_installed(plan, plan.desired) == (
        False,
        [OTHER, OLD] if plan.objects[0].route is OTHER else [OLD, OTHER],
    )
