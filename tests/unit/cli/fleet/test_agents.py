"""The agents of a cluster, asked through kubectl."""

import json
from pathlib import Path

import pytest

from static_route_operator.cli.fleet.agents import Agents, Reply
from static_route_operator.cli.fleet.kubectl import ClusterError, ForbiddenError
from tests.unit.cli.fleet.fakekubectl import fake_kubectl, pod
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
