"""The agents of a cluster, asked through kubectl."""

import json
import time
from pathlib import Path

import pytest

from static_route_operator.cli.fleet import agents as module
from static_route_operator.cli.fleet import kubectl
from static_route_operator.cli.fleet.agents import CONTROLLER, Agents, Reply
from static_route_operator.cli.fleet.kubectl import ClusterError, ForbiddenError
from static_route_operator.cli.views import explain
from tests.unit.cli.fleet.fakekubectl import fake_kubectl, node, pod
from tests.unit.cli.fleet.test_kubectl import FORBIDDEN

PODS = {"items": [pod("agent-b", "node2", ready=False, waiting="CrashLoopBackOff"), pod("agent-a", "node1")]}
GOOD = {"nodes": [{"node": "node1"}]}


def test_nodes_are_asked_and_put_together(tmp_path: Path) -> None:
    """The nodes' answers become one list; nodes that can't be asked are listed with the reason."""
    answers = {"labelSelector": PODS, "agent-a": (1, json.dumps(GOOD), ""), "agent-b": (1, "", "container not found")}
    told: list[tuple[int, int]] = []
    agents = Agents(fake_kubectl(tmp_path, answers), "ns", ["node3", "node1", "node2"], lambda *at: told.append(at))

    assert agents.gather("nodes", "diff") == {
        "nodes": [{"node": "node1"}],
        "unanswered": [
            {
                "node": "node2",
                "problem": "the agent is not ready (CrashLoopBackOff): `kubectl logs -n ns agent-b`;"
                " container not found",
            },
            {
                "node": "node3",
                "problem": "no agent runs there: is it a node (`kubectl get nodes`), and does the DaemonSet select it?",
            },
        ],
    }
    assert told == [(0, 3), (1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        ((2, "", "Error: No such command 'diff'."), "the agent is too old for `diff`: upgrade the operator"),
        ((3, "", "error: no agent answers"), "error: no agent answers"),
        ((0, "[]", ""), "[]"),
        ((137, "", ""), "exec in pod agent-a exited with code 137 and no output"),
    ],
)
def test_node_that_does_not_answer_is_told(tmp_path: Path, answer: tuple[int, str, str], problem: str) -> None:
    """Any error on a node is put into words, with advice."""
    agents = Agents(fake_kubectl(tmp_path, {"labelSelector": PODS, "exec": answer}), "ns", ["node1"])

    assert list(agents.ask("diff")) == [Reply("node1", None, problem)]


def test_missing_right_ends_it(tmp_path: Path) -> None:
    """A user without the right to exec sees that once, not for each node."""
    agents = Agents(fake_kubectl(tmp_path, {"labelSelector": PODS, "exec": (1, "", FORBIDDEN)}), "ns")

    with pytest.raises(ForbiddenError):
        list(agents.ask("diff"))


def test_namespace_without_agents_is_told(tmp_path: Path) -> None:
    """If no agent runs, the text names possible reasons."""
    with pytest.raises(ClusterError, match=r"no pod of k8s-staticroute-operator runs in namespace ns: .*-n"):
        list(Agents(fake_kubectl(tmp_path, {"labelSelector": {"items": []}}), "ns").ask("diff"))


NODES = {"items": [node("node1"), node("node2"), node("node3"), node("win", labels={"kubernetes.io/os": "windows"})]}


def test_node_without_an_agent_does_not_disappear(tmp_path: Path) -> None:
    """The nodes of the cluster are asked, not those that happen to have an agent; each has a reply."""
    answers = {"/api/v1/nodes": NODES, "labelSelector": PODS, "exec": (0, json.dumps(GOOD), "")}
    found = Agents(fake_kubectl(tmp_path, answers), "ns").gather("nodes", "diff")

    # Both call themselves node1.
    assert found["nodes"] == [{"node": "node1"}, {"node": "node2"}]
    assert [each["node"] for each in found["unanswered"]] == ["node3"]
    assert "no agent runs there" in found["unanswered"][0]["problem"]


def test_pod_of_a_node_that_is_gone_is_no_node(tmp_path: Path) -> None:
    """A pod outlives its node for a while; the answer has the nodes that there are."""
    pods = {"items": [*PODS["items"], pod("old", "node9")]}
    answers = {"/api/v1/nodes": NODES, "labelSelector": pods, "exec": (0, json.dumps(GOOD), "")}
    found = Agents(fake_kubectl(tmp_path, answers), "ns").gather("nodes", "diff")

    assert [each["node"] for each in [*found["nodes"], *found["unanswered"]]] == ["node1", "node2", "node3"]


def test_unknown_nodes_are_mentioned(tmp_path: Path) -> None:
    """Without the right to list nodes, those with an agent or a report are asked, and the rest is not forgotten."""
    answers = {
        "/api/v1/nodes": (1, "", FORBIDDEN.replace("pods/exec", "nodes")),
        "noderoutestates": {"items": [{"metadata": {"name": "node9"}}]},
        "labelSelector": PODS,
        "exec": (0, json.dumps(GOOD), ""),
    }
    found = Agents(fake_kubectl(tmp_path, answers), "ns").gather("nodes", "diff")

    assert [each["node"] for each in found["unanswered"]] == ["node9", "other nodes"]
    assert "nodes without an agent are not known: you lack the right" in found["unanswered"][1]["problem"]


def test_pods_that_can_not_be_asked(tmp_path: Path) -> None:
    """A pod that waits, even for its node, and one that is being deleted are told as such; a better one is asked."""
    pending, waiting, leaving = pod("p", "node1"), pod("w", ""), pod("l", "node3", ready=False)
    pending["status"] |= {"phase": "Pending", "conditions": []}
    term = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["node2"]}]}
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}
    waiting["spec"] = {"affinity": {"nodeAffinity": required}}
    unscheduled = {"type": "PodScheduled", "status": "False", "message": "0/3 nodes are available"}
    waiting["status"] = {"phase": "Pending", "conditions": [unscheduled]}
    leaving["metadata"]["deletionTimestamp"] = "2024-01-01T00:00:00Z"
    pods = {"items": [pending, waiting, leaving, pod("new", "node3")]}
    answers = {"/api/v1/nodes": NODES, "labelSelector": pods, "exec -n ns new": (0, json.dumps(GOOD), "")}
    found = Agents(fake_kubectl(tmp_path, answers), "ns").gather("nodes", "diff")

    assert len(found["nodes"]) == 1
    assert found["unanswered"] == [
        {"node": "node1", "problem": "the agent's pod p does not run (Pending)"},
        {"node": "node2", "problem": "the agent's pod w does not run (0/3 nodes are available)"},
    ]


def test_node_that_is_not_ready_says_so(tmp_path: Path) -> None:
    """The reason of Kubernetes stands before that of kubectl."""
    answers = {
        "/api/v1/nodes": {"items": [node("node1", ready=False)]},
        "labelSelector": {"items": [pod("agent-a", "node1")]},
        "exec": (1, "", "error dialing backend"),
    }
    (reply,) = Agents(fake_kubectl(tmp_path, answers), "ns").ask("diff")

    assert reply.problem == "the node is NotReady: Kubelet stopped posting node status.; error dialing backend"


def test_slow_node_holds_up_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nodes that are NotReady come last, and a deadline ends the waiting; each node is accounted for."""
    monkeypatch.setattr(module, "PARALLEL", 1)
    monkeypatch.setattr(module, "DEADLINE", 3.0)
    names = ["a-dead", "b-good", "c-good"]
    answers = {
        "/api/v1/nodes": {"items": [node(each, ready=each != "a-dead") for each in names]},
        "labelSelector": {"items": [pod(f"pod-{each}", each) for each in names]},
        "exec -n ns pod-a": "sleep",
        "exec": (0, json.dumps(GOOD), ""),
    }
    started = time.monotonic()
    found = Agents(fake_kubectl(tmp_path, answers), "ns").gather("nodes", "diff")

    assert time.monotonic() - started < 10
    assert len(found["nodes"]) == 2
    (problem,) = found["unanswered"]
    assert problem["node"] == "a-dead"
    assert "did not end within" in problem["problem"]


def test_node_that_is_not_asked_in_time_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind the deadline nothing is started."""
    monkeypatch.setattr(module, "DEADLINE", 0.0)
    answers = {"/api/v1/nodes": NODES, "labelSelector": PODS, "exec": (0, json.dumps(GOOD), "")}
    found = Agents(fake_kubectl(tmp_path, answers), "ns", ["node1"]).gather("nodes", "diff")

    assert found["unanswered"] == [
        {"node": "node1", "problem": "not asked: the other nodes took 0 s; ask it alone with --node node1"}
    ]


@pytest.mark.parametrize(
    ("output", "problem"),
    [
        ("x" * 1000, "x" * 300 + "…"),
        ("[" * 100_000, "[" * 300 + "…"),
        (json.dumps({"nodes": [{"node": "node1", "verdict": "Follows"}]}), "another form than version"),
        (json.dumps({"nodes": {}}), '{"nodes": {}}'),
        (json.dumps({"nodes": [7]}), "another form than version"),
    ],
)
def test_answer_that_can_not_be_read_harms_no_other(tmp_path: Path, output: str, problem: str) -> None:
    """An answer that is no JSON, nested without end, or of another version is one node's problem, in few words."""
    answers = {
        "/api/v1/nodes": {"items": [node("node1")]},
        "labelSelector": {"items": [pod("agent-a", "node1")]},
        "exec": (0, output, ""),
    }
    found = Agents(fake_kubectl(tmp_path, answers), "ns").gather("nodes", "explain", view=explain.table)

    assert found["nodes"] == []
    assert problem in found["unanswered"][0]["problem"]


def test_answer_without_end_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A node that writes without end is ended."""
    monkeypatch.setattr(kubectl, "MAX_OUTPUT", 100_000)
    answers = {
        "/api/v1/nodes": {"items": [node("node1")]},
        "labelSelector": {"items": [pod("agent-a", "node1")]},
        "exec": "flood",
    }
    (reply,) = Agents(fake_kubectl(tmp_path, answers), "ns").ask("diff")

    assert reply.problem.startswith("`kubectl exec` answered with more than")


def test_two_controllers_on_one_node_both_answer(tmp_path: Path) -> None:
    """Replicas that share a node are told apart by their pods."""
    answers = {
        "labelSelector": {"items": [pod("one", "node1"), pod("two", "node1")]},
        "exec -n ns one": (0, json.dumps({"processes": [{"host": "one", "level": "info"}]}), ""),
        "exec -n ns two": (1, "", "container not found"),
    }
    agents = Agents(fake_kubectl(tmp_path, answers), "ns", app=CONTROLLER)
    found = agents.gather("processes", "log-level")

    assert found["processes"] == [{"host": "one", "level": "info"}]
    assert found["unanswered"] == [{"node": "node1 (two)", "problem": "container not found"}]
