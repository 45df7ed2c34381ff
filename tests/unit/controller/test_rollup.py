"""The roll-up of node reports: counts, failing nodes and messages."""

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from static_route_operator.api.conditions import ConditionType, find_condition
from static_route_operator.api.noderoutestate import Reason, RowState
from static_route_operator.api.nodeselector import Node
from static_route_operator.controller.rollup import Rollup, roll_up
from static_route_operator.controller.status import make_status
from static_route_operator.controller.summaries import NodeInfo, Report, RouteSummary
from tests.unit.builders import manifest

GOOD = Report(1, RowState.PROGRAMMED, Reason.PROGRAMMED, "")
STANDBY = Report(1, RowState.STANDBY, Reason.ANOTHER_WINS, "primary has precedence")
OLD = Report(0, RowState.FAILED, Reason.GATEWAY_UNREACHABLE, "of the last generation")
PENDING = Report(1, RowState.PENDING, Reason.PENDING, "")
FAILED = Report(1, RowState.FAILED, Reason.GATEWAY_UNREACHABLE, "gateway 10.0.0.1 is not on any subnet of this node")
REFUSED = Report(1, RowState.REFUSED, Reason.PROTECTED_DESTINATION, "it would capture the API server")
CONFLICT = Report(1, RowState.CONFLICT, Reason.FOREIGN_ROUTE, "another program's route holds 192.0.2.1")


def summary(**spec: Any) -> RouteSummary:
    """Return a StaticRoute of generation 1 for every node."""
    return RouteSummary.parse(manifest(metadata={"uid": "u", "generation": 1}, **spec))


def node(name: str, *, ready: bool = True, **labels: str) -> NodeInfo:
    """Return a node."""
    return NodeInfo(Node(name, labels), f"uid-{name}", ready)


def rolled_up(reports: Mapping[str, Report | None], *, not_ready: str = "", **spec: Any) -> Rollup:
    """Return the roll-up of these reports."""
    nodes = [node(name, ready=name not in not_ready.split()) for name in reports]
    return roll_up(summary(**spec), nodes, lambda each: reports[each.name])


@pytest.mark.parametrize(
    ("reports", "not_ready", "status", "reason", "message"),
    [
        ({"a": GOOD, "b": STANDBY}, "", "True", "AllNodesReady", "2 of 2 nodes ready"),
        ({"a": GOOD, "b": OLD}, "", "False", "RollingOut", "1 of 2 nodes ready; waiting for b"),
        ({"a": None, "b": PENDING}, "", "False", "RollingOut", "0 of 2 nodes ready; waiting for a, b"),
        (
            {"a": GOOD, "b": FAILED},
            "",
            "False",
            "NodesFailing",
            "1 of 2 nodes ready; b: gateway 10.0.0.1 is not on any subnet of this node",
        ),
        (
            {"a": GOOD, "b": GOOD},
            "b",
            "Unknown",
            "NodesNotReady",
            "1 of 2 nodes ready; unknown on b (NotReady in Kubernetes)",
        ),
        ({}, "", "False", "NoNodesSelected", "the cluster has no nodes"),
    ],
)
def test_ready_condition(
    reports: dict[str, Report | None], not_ready: str, status: str, reason: str, message: str
) -> None:
    """The Ready condition summarizes all reports in a reason and a message."""
    condition = rolled_up(reports, not_ready=not_ready).condition

    assert (condition.status, condition.reason, condition.message) == (status, reason, message)


def test_message_has_all_problems() -> None:
    """Failing nodes come first, worst first, then pending nodes, then unknown nodes."""
    reports = {"a": CONFLICT, "b": FAILED, "c": REFUSED, "d": None, "e": GOOD, "f": GOOD}
    rollup = rolled_up(reports, not_ready="e")

    assert [each.node for each in rollup.failing] == ["b", "c", "a"]
    assert rollup.condition.message == (
        "1 of 6 nodes ready; b: gateway 10.0.0.1 is not on any subnet of this node; also failing: c, a;"
        " waiting for d; unknown on e (NotReady in Kubernetes)"
    )


def test_only_selected_nodes_count() -> None:
    """Nodes that the selector does not match are not counted; the message reports a selector that matches none."""
    selector = {"nodeSelectorTerms": [{"matchExpressions": [{"key": "zone", "operator": "In", "values": ["b"]}]}]}
    some = summary(nodeSelector=selector)
    nodes = [node("a", zone="a"), node("b", zone="b")]

    assert roll_up(some, nodes, lambda _: GOOD).selected == 1
    assert roll_up(some, nodes[:1], lambda _: GOOD).condition.message == "no node matches spec.nodeSelector"


def test_a_status_does_not_grow_with_the_cluster() -> None:
    """A status has at most ten failing nodes, with truncated messages, and three names in its own message."""
    long = FAILED._replace(message="x" * 10_000)
    rollup = rolled_up({f"node{number:03}": long for number in range(500)})

    assert (rollup.failed, len(rollup.failing)) == (500, 10)
    assert len(str(make_status(summary(), rollup, {}, "now"))) < 10_000
    assert "also failing: node001, node002, node003 and 496 more" in rollup.condition.message


def test_invalid_spec() -> None:
    """An invalid spec is not accepted and not ready; the message has the field and the problem."""
    status = make_status(summary(gateway="nowhere"), rolled_up({"a": GOOD}, gateway="nowhere"), {}, "now")
    accepted, ready = (find_condition(status, each) for each in (ConditionType.ACCEPTED, ConditionType.READY))

    assert (accepted["status"], accepted["reason"], ready["status"], ready["reason"]) == (
        *("False", "InvalidSpec"),
        *("False", "InvalidSpec"),
    )
    assert accepted["message"].startswith("spec.gateway: ")
    assert accepted["message"] in ready["message"]


def test_invalid_destinations() -> None:
    """The Accepted condition counts the invalid destinations and names the first."""
    accepted = summary(destinations=["192.0.2.1", "127.0.0.1", "x"]).accepted

    assert (accepted.status, accepted.reason) == ("False", "InvalidDestinations")
    assert accepted.message.startswith("2 of 3 destinations can't be routed: '127.0.0.1'")
    assert accepted.message.endswith("and 1 more")


def test_transition_time_moves_with_the_status_only() -> None:
    """A condition has the time of its last change of status; a new reason or message does not change it."""
    before = make_status(summary(), rolled_up({"a": None}), {}, "first")
    failing = make_status(summary(), rolled_up({"a": FAILED}), before, "second")
    ready = make_status(summary(), rolled_up({"a": GOOD}), failing, "third")

    times = [find_condition(each, ConditionType.READY)["lastTransitionTime"] for each in (before, failing, ready)]
    assert times == ["first", "first", "third"]


def test_status_of_the_retired_operator_is_ignored() -> None:
    """A stored status of another shape counts as none."""
    rollup = rolled_up({"a": GOOD})

    for before in ({"conditions": "Ready"}, {"conditions": ["Ready"]}, {"create_fn": [{"x": 1}]}):
        assert make_status(summary(), rollup, before, "now") == make_status(summary(), rollup, {}, "now")


_REPORTS = st.dictionaries(
    st.text("abcdef", min_size=1, max_size=4),
    st.sampled_from([GOOD, STANDBY, OLD, PENDING, FAILED, REFUSED, CONFLICT, None]),
    max_size=30,
)


@given(reports=_REPORTS, down=st.integers(0, 5), data=st.data())
def test_every_node_is_counted_once_and_order_does_not_matter(
    reports: dict[str, Report | None], down: int, data: st.DataObject
) -> None:
    """The counts add up to the number of nodes, and the order of the nodes does not change the result."""
    not_ready = " ".join(sorted(reports)[:down])
    rollup = rolled_up(reports, not_ready=not_ready)
    names = data.draw(st.permutations(list(reports)))

    assert rollup.selected == len(reports)
    assert rollup.unknown == min(down, len(reports))
    assert len(rollup.failing) == min(rollup.failed, 10)
    assert rolled_up({name: reports[name] for name in names}, not_ready=not_ready) == rollup
    assert (rollup.condition.status == "True") == (0 < rollup.ready == rollup.selected)


UP = GOOD._replace(up=("10.0.0.1", "10.0.0.3"))
ONE_DOWN = GOOD._replace(up=("10.0.0.3",), down=("10.0.0.1",))
SEVERAL: dict[str, Any] = {
    "gateway": None,
    "gateways": [{"address": "10.0.0.1"}, {"address": "10.0.0.3"}],
    "healthCheck": {},
}


@pytest.mark.parametrize(
    ("reports", "status", "reason", "message", "numbers"),
    [
        ({"a": UP, "b": UP}, "True", "AllGatewaysUp", "up: 10.0.0.1, 10.0.0.3", [(2, 0), (2, 0)]),
        ({"a": UP, "b": ONE_DOWN}, "False", "GatewaysDown", "down: 10.0.0.1 on some nodes", [(1, 1), (2, 0)]),
        ({"a": ONE_DOWN}, "False", "GatewaysDown", "down: 10.0.0.1", [(0, 1), (1, 0)]),
        ({"a": GOOD, "b": None}, "Unknown", "NotProbed", "no node has reported yet", []),
    ],
    ids=["up", "down somewhere", "down everywhere", "not probed yet"],
)
def test_health_of_gateways(
    reports: Mapping[str, Report | None],
    status: str,
    reason: str,
    message: str,
    numbers: list[tuple[int, int]],
) -> None:
    """The status counts the nodes on which each gateway is up or down; the condition reports whether all are up."""
    made = make_status(summary(**SEVERAL), rolled_up(reports, **SEVERAL), {}, "now")

    condition = find_condition(made, ConditionType.GATEWAYS_HEALTHY)
    assert (condition["status"], condition["reason"], condition["message"]) == (status, reason, message)
    assert [(each["healthyNodes"], each["unhealthyNodes"]) for each in made["gateways"]] == numbers
    assert made["gateway"] == "10.0.0.1, 10.0.0.3"


def test_without_a_check_there_is_no_health_of_gateways() -> None:
    """The status of an object with one gateway and no check has no such fields; earlier values are deleted."""
    plain, reports = summary(), {"a": GOOD}

    made = make_status(plain, rolled_up(reports), {}, "now")
    assert not made.keys() & {"gateway", "gateways"}
    assert [each["type"] for each in made["conditions"]] == ["Accepted", "Ready"]

    before = make_status(summary(**SEVERAL), rolled_up({"a": UP}, **SEVERAL), {}, "now")
    after = make_status(plain, rolled_up(reports), before, "now")
    assert (after["gateway"], after["gateways"]) == (None, None)


def _staged(reports: Mapping[str, Report | None], stored: Mapping[str, Any], **rollout: Any) -> dict[str, Any]:
    """Return the status of an object with a roll-out and these reports."""
    routed = summary(rollout=rollout)
    nodes = [node(name) for name in reports]
    return make_status(routed, roll_up(routed, nodes, lambda each: reports[each.name], stored), stored, "now")


def test_status_has_the_stage() -> None:
    """The status and the Ready message have the stage; without news the status stays the same."""
    # In order of rank: c, b, a.
    first = _staged({"a": OLD, "b": OLD, "c": OLD}, {})
    assert (first["rollout"]["phase"], first["rollout"]["nodes"]) == ("Progressing", "1/3")
    assert first["conditions"][1]["message"].startswith("released to 1/3 nodes; 0 of 3 nodes ready")
    assert _staged({"a": OLD, "b": OLD, "c": OLD}, first) == first

    second = _staged({"a": OLD, "b": OLD, "c": GOOD}, first)
    assert (second["rollout"]["phase"], second["rollout"]["nodes"]) == ("Progressing", "2/3")
    paused = _staged({"a": OLD, "b": FAILED, "c": GOOD}, second)
    assert (paused["rollout"]["phase"], paused["rollout"]["nodes"]) == ("Paused", "2/3")
    assert (paused["conditions"][1]["reason"], paused["conditions"][1]["status"]) == ("RolloutPaused", "False")
    third = _staged({"a": OLD, "b": GOOD, "c": GOOD}, paused)
    assert (third["rollout"]["phase"], third["rollout"]["nodes"]) == ("Complete", "3/3")
    assert "released" not in third["conditions"][1]["message"]


def test_outdated_stage_is_not_written() -> None:
    """A roll-up from before the last write does not narrow the stage of that write."""
    routed = summary(rollout={})
    nodes = [node(name) for name in "abc"]
    old = roll_up(routed, nodes, lambda _: OLD, {})
    wider = _staged({"a": OLD, "b": OLD, "c": GOOD}, make_status(routed, old, {}, "now"))

    assert make_status(routed, old, wider, "later")["rollout"] == wider["rollout"]


def test_unconfirmed_change_is_not_done() -> None:
    """A roll-out waits for a node whose change is unconfirmed."""
    unconfirmed = Report(1, RowState.PENDING, Reason.AWAITING_CONFIRMATION, "")
    first = _staged({"a": OLD, "b": OLD, "c": OLD}, {})

    assert _staged({"a": OLD, "b": OLD, "c": unconfirmed}, first)["rollout"] == first["rollout"]


def test_object_without_roll_out_loses_its_stage() -> None:
    """Without spec.rollout the status has no stage, and an earlier one is deleted."""
    staged = _staged({"a": OLD}, {})
    plain = summary()
    status = make_status(plain, roll_up(plain, [node("a")], lambda _: GOOD, staged), staged, "now")

    assert status["rollout"] is None
    assert "rollout" not in make_status(plain, roll_up(plain, [], lambda _: None), {}, "now")


def test_dry_run() -> None:
    """A dry run counts the nodes that would succeed and names the others, but is never Ready."""
    would = Report(1, RowState.DRY_RUN, Reason.PROGRAMMED, "would add 2")
    would_not = Report(
        1, RowState.DRY_RUN, Reason.FOREIGN_ROUTE, "would change nothing; another program's route is there"
    )
    rollup = rolled_up({"a": would, "b": would, "c": would_not}, dryRun=True, rollout={})

    assert (rollup.ready, rollup.failed, rollup.stage) == (2, 1, None)
    assert (rollup.condition.status, rollup.condition.reason) == ("False", "DryRun")
    assert rollup.condition.message == (
        "dry run, no route is changed (spec.dryRun): 2 of 3 nodes ready; c: would change nothing;"
        " another program's route is there; a would add 2"
    )
    assert [each.node for each in rollup.failing] == ["c"]
