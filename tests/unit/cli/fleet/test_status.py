"""The state of a cluster, put together from recorded objects."""

from pathlib import Path
from typing import Any

from static_route_operator.cli.fleet import status
from tests.unit.builders import manifest
from tests.unit.cli.fleet.fakekubectl import fake_kubectl, node, pod
from tests.unit.cli.fleet.test_kubectl import FORBIDDEN

UNREACHABLE = "gateway 10.9.0.1 is not on any subnet of this node"


def row(name: str, state: str = "Programmed", generation: int = 1, message: str = "") -> dict[str, Any]:
    """Return a node's report about an object."""
    reasons = {"Failed": "GatewayUnreachable"}
    return {
        "name": name,
        "observedGeneration": generation,
        "state": state,
        "reason": reasons.get(state, state),
        "message": message,
        "gateway": "10.0.0.1",
        "destinations": 1,
        "programmed": int(state == "Programmed"),
    }


def state(node: str, *rows: dict[str, Any]) -> dict[str, Any]:
    """A NodeRouteState."""
    return {"metadata": {"name": node}, "status": {"rows": list(rows)}}


def cluster(tmp_path: Path, **changes: Any) -> dict[str, Any]:
    """The state of a cluster of two nodes; all is well unless changed."""
    recorded = {
        "/api/v1/nodes": {"items": [node("node1"), node("node2")]},
        "staticroutes": {"items": [manifest("nat", metadata={"generation": 1})]},
        "noderoutestates": {"items": [state("node1", row("nat")), state("node2", row("nat"))]},
        "controller": {"items": [pod("controller-x", "node1")]},
        "labelSelector": {"items": [pod("agent-a", "node1"), pod("agent-b", "node2")]},
    }
    return status.fetch(fake_kubectl(tmp_path, recorded | changes), "ns")


def _problems(found: dict[str, Any]) -> list[tuple[str, list[str], str]]:
    return [(each["subject"], each["nodes"], each["reason"]) for each in found["problems"]]


def test_all_is_well(tmp_path: Path) -> None:
    """If every node has every object, and all pods are ready, there is no problem."""
    found = cluster(tmp_path)

    assert (found["nodes"], found["problems"], found["note"]) == (["node1", "node2"], [], "")
    (nat,) = found["staticRoutes"]
    assert (nat["ready"], nat["gateways"], [each["state"] for each in nat["nodes"]]) == (
        2,
        ["10.0.0.1"],
        ["Programmed", "Programmed"],
    )


def test_dry_run_is_no_problem_where_it_would_do(tmp_path: Path) -> None:
    """A dry run on a node is no problem; one that failed is, with its reason."""
    good, bad = row("nat", "DryRun") | {"reason": "Programmed"}, row("nat", "DryRun") | {"reason": "ForeignRoute"}
    found = cluster(tmp_path, noderoutestates={"items": [state("node1", good), state("node2", bad)]})

    assert _problems(found) == [("StaticRoute nat", ["node2"], "ForeignRoute")]


def test_worst_comes_first_and_nodes_that_say_the_same_together(tmp_path: Path) -> None:
    """Problems are ordered by how bad they are; equal ones of several nodes are one, with their names."""
    routes = [manifest(name, metadata={"generation": 2}) for name in ("a-good", "b-late", "c-bad", "d-nowhere")]
    rows = [row("a-good", generation=2), row("b-late"), row("c-bad", "Failed", 2, UNREACHABLE)]
    found = cluster(
        tmp_path,
        staticroutes={"items": routes},
        noderoutestates={"items": [state("node1", *rows), state("node2", *rows)]},
    )

    assert _problems(found) == [
        ("StaticRoute c-bad", ["node1", "node2"], "GatewayUnreachable"),
        ("StaticRoute b-late", ["node1", "node2"], "Pending"),
        ("StaticRoute d-nowhere", [], "NoNodesSelected"),
    ]
    assert [each["name"] for each in found["staticRoutes"]] == ["c-bad", "b-late", "a-good", "d-nowhere"]
    assert found["problems"][1]["message"] == "the node still has generation 1"
    assert [str(each["help"]).rpartition("#")[2] for each in found["problems"]] == [
        "gatewayunreachable",
        "pending",
        "None",
    ]


def test_pods_that_are_wrong_are_told(tmp_path: Path) -> None:
    """A node without an agent, a ready agent or a report, and a missing controller: each is a problem."""
    agents = [pod("agent-b", "node2", ready=False, waiting="ImagePullBackOff"), pod("agent-c", "node3")]
    nodes = {"items": [node(name) for name in ("node1", "node2", "node3")]}
    found = cluster(tmp_path, controller={"items": []}, labelSelector={"items": agents}, **{"/api/v1/nodes": nodes})

    assert _problems(found) == [
        ("node node1", ["node1"], "NoAgent"),
        ("node node2", ["node2"], "AgentNotReady"),
        ("node node3", ["node3"], "NoState"),
        ("controller", [], "ControllerNotReady"),
    ]
    assert "(ImagePullBackOff): `kubectl logs -n ns agent-b`" in found["problems"][1]["message"]


def test_without_the_right_to_list_pods_the_rest_is_shown(tmp_path: Path) -> None:
    """A user who may not list pods sees the objects, and which right is missing."""
    found = cluster(tmp_path, controller=(1, "", FORBIDDEN), labelSelector=(1, "", FORBIDDEN))

    assert (len(found["staticRoutes"]), found["problems"]) == (1, [])
    assert found["note"].startswith("the pods of the operator are not checked: you lack the right to create pods/exec")


def test_gateway_that_is_down_is_a_problem(tmp_path: Path) -> None:
    """Where the routes have moved to another gateway, all is not well as long as the first is down."""
    gateway = {"address": "10.0.0.1", "check": "ICMP every 1 s", "state": "Down", "since": "2024-01-01T00:00:00Z"}
    up = gateway | {"address": "10.0.0.3", "state": "Up"}
    states = [state("node1", row("nat")), state("node2", row("nat"))]
    states[0]["status"]["gateways"] = [gateway | {"heldUntil": "2024-01-01T00:00:08Z"}, up]
    states[1]["status"]["gateways"] = [gateway | {"since": "2024-01-01T00:00:01Z"}]
    found = cluster(tmp_path, noderoutestates={"items": states})

    (problem,) = found["problems"]
    assert (problem["subject"], problem["nodes"], problem["state"]) == ("gateway 10.0.0.1", ["node1", "node2"], "Down")
    assert problem["message"] == (
        "it does not answer (ICMP every 1 s), since 2024-01-01T00:00:00Z; held down until 2024-01-01T00:00:08Z, "
        "since it failed again and again"
    )


def test_node_that_does_not_report_is_a_problem(tmp_path: Path) -> None:
    """A node without agent and report, and one that is NotReady, are named; a report without its node is not."""
    nodes = {"items": [node("node1"), node("node2", ready=False), node("node3")]}
    states = {"items": [state("node1", row("nat")), state("node2", row("nat")), state("gone", row("nat"))]}
    found = cluster(tmp_path, **{"/api/v1/nodes": nodes, "noderoutestates": states})

    assert found["nodes"] == ["node1", "node2", "node3"]
    assert _problems(found) == [("node node2", ["node2"], "NodeNotReady"), ("node node3", ["node3"], "NoAgent")]


def test_part_that_can_not_be_checked_is_told(tmp_path: Path) -> None:
    """Without the right to list nodes there may be more of them: the note says so."""
    found = cluster(tmp_path, **{"/api/v1/nodes": (1, "", FORBIDDEN.replace("pods/exec", "nodes"))})

    assert found["problems"] == []
    assert found["note"].startswith("nodes that have never reported are not known: you lack the right")


def test_state_of_another_version_is_the_worst(tmp_path: Path) -> None:
    """A state that this version does not know is a problem, and ends nothing."""
    new = row("nat", "Exploded")
    del new["message"]
    found = cluster(tmp_path, noderoutestates={"items": [state("node1", new), state("node2", row("nat"))]})

    assert [each["state"] for each in found["problems"]] == ["Exploded"]
