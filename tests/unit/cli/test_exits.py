"""Exit codes of the verbs that ask a cluster: 0 only if every node was asked and has no problem."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from static_route_operator.cli.program import program
from static_route_operator.errors import UnansweredError
from tests.unit.builders import manifest
from tests.unit.cli.fleet.fakekubectl import fake_kubectl, node, pod
from tests.unit.cli.fleet.test_kubectl import FORBIDDEN
from tests.unit.cli.fleet.test_status import row, state
from tests.unit.cli.test_views import DIFF, FOLLOWS

NO_DIFFERENCE = DIFF["nodes"][0] | {"differences": []}
GATEWAY = {"address": "10.0.0.1", "interface": "eth0", "check": "ICMP every 1 s", "state": "Up", "since": 1.0}
SUMMARY: dict[str, Any] = {
    "node": "node1",
    "complete": True,
    "objects": [],
    "gateways": [GATEWAY | {"rttSeconds": 0.001, "sent": 9, "lost": 0, "message": ""}],
}
ANSWERS: dict[str, Any] = {
    "explain": {"nodes": [FOLLOWS], "unanswered": []},
    "diff": {"nodes": [NO_DIFFERENCE], "unanswered": []},
    "log-level": {"processes": [{"host": "node1", "level": "info"}], "unanswered": []},
    "routes": SUMMARY,
    "snapshot": "# links\n",
    "plan": {
        "nodes": [
            {
                "node": "node1",
                "complete": True,
                "objects": [],
                "routes": [],
                "rules": [],
                "notSelected": [],
                "summary": dict.fromkeys(
                    ("add", "change", "delete", "conflict", "refused", "failed", "standby", "unchanged"), 0
                ),
            }
        ],
        "unanswered": [],
    },
}
VERBS = {
    "explain": ["explain", "192.0.2.1"],
    "diff": ["diff"],
    "gateways": ["gateways"],
    "routes": ["routes", "--all-nodes"],
    "log-level": ["log-level"],
    "status": ["status"],
    "bundle": ["bundle", "--output-file", "ARCHIVE"],
}


def run(directory: Path, arguments: list[str], changes: dict[str, Any]) -> Result:
    """Run a verb against a cluster of two nodes with an agent each, in which all is well unless changed."""
    answers = {
        "/api/v1/nodes": {"items": [node("node1"), node("node2")]},
        "staticroutes": {"items": [manifest("nat", metadata={"generation": 1})]},
        "noderoutestates": {"items": [state("node1", row("nat")), state("node2", row("nat"))]},
        "controller": {"items": [pod("controller-x", "node1")]},
        "labelSelector": {"items": [pod("agent-a", "node1"), pod("agent-b", "node2")]},
        "logs": "a log",
        "get --raw": {"items": []},
    }
    for verb, answer in ANSWERS.items():
        answers[f"static-route-operator {verb}"] = answer
    fake_kubectl(directory, changes | answers | changes)
    arguments = [each.replace("ARCHIVE", str(directory / "archive.tar.gz")) for each in arguments]
    return CliRunner().invoke(program, arguments, env={"PATH": str(directory)})


@pytest.mark.parametrize("verb", VERBS)
def test_all_is_well(tmp_path: Path, verb: str) -> None:
    """With every node asked and no problem, every verb exits with 0."""
    result = run(tmp_path, VERBS[verb], {})

    assert result.exit_code == 0, result.output


TROUBLES: dict[str, dict[str, Any]] = {
    "node without an agent": {"/api/v1/nodes": {"items": [node("node1"), node("node2"), node("node3")]}},
    "pod that waits": {
        "labelSelector": {"items": [pod("agent-a", "node1"), pod("agent-b", "node2", ready=False)]},
        "exec -n static-routes agent-b": (1, "", "container not found"),
        "exec --stdin -n static-routes agent-b": (1, "", "container not found"),
    },
    "answer that is no JSON": {"exec -n static-routes agent-b": (0, "Hello", "")},
    "answer of nobody": {"exec -n static-routes agent-b": (137, "", "")},
    "no right to list nodes": {"/api/v1/nodes": (1, "", FORBIDDEN.replace("pods/exec", "nodes"))},
    "no right to exec": {"exec": (1, "", FORBIDDEN)},
}


@pytest.mark.parametrize("trouble", TROUBLES)
@pytest.mark.parametrize("verb", ["explain", "diff", "gateways", "routes", "log-level"])
def test_part_that_was_not_asked_is_never_well(tmp_path: Path, verb: str, trouble: str) -> None:
    """Whatever keeps a node from answering, the verb exits with 3, and says which node and why."""
    result = run(tmp_path, VERBS[verb], TROUBLES[trouble])
    if trouble == "no right to exec" and verb != "gateways":
        # The program ends with 3 for this error.
        assert isinstance(result.exception, UnansweredError)
        return

    assert result.exit_code == 3, result.output
    assert any(name in result.output for name in ("node2", "node3", "nodes", "you lack the right")), result.output


def test_archive_that_lacks_a_node_is_not_complete(tmp_path: Path) -> None:
    """An answer of a node that can't be read is missing from the archive, and named."""
    result = run(tmp_path, VERBS["bundle"], TROUBLES["answer that is no JSON"])

    assert result.exit_code == 3, result.output
    assert "missing: diff.txt: node2 could not be asked: Hello" in result.output


@pytest.mark.parametrize("trouble", ["node without an agent", "pod that waits"])
def test_status_names_the_node(tmp_path: Path, trouble: str) -> None:
    """`status` says not that all is well while a node does not report."""
    result = run(tmp_path, ["status"], TROUBLES[trouble])

    assert result.exit_code == 1
    assert "1 problem" in result.output


@pytest.mark.parametrize("resource", ["/api/v1/nodes", "labelSelector"])
def test_status_without_a_right_is_not_complete(tmp_path: Path, resource: str) -> None:
    """What can't be listed is said, and the exit code is 3."""
    result = run(tmp_path, ["status"], {resource: (1, "", FORBIDDEN), "controller": (1, "", FORBIDDEN)})

    assert result.exit_code == 3
    assert "no problems in what could be checked" in result.output


@pytest.mark.parametrize(
    ("verb", "answer"),
    [
        ("explain", {"nodes": [FOLLOWS | {"verdict": "Dropped", "cause": "why"}]}),
        ("explain", {"nodes": [FOLLOWS | {"verdict": "Redirected", "cause": "why"}]}),
        ("diff", {"nodes": [DIFF["nodes"][0]]}),
        ("gateways", SUMMARY | {"gateways": [SUMMARY["gateways"][0] | {"state": "Down"}]}),
    ],
)
def test_problem_counts_more_than_a_node_that_was_not_asked(tmp_path: Path, verb: str, answer: dict[str, Any]) -> None:
    """A problem that was found is code 1, beside a node that could not be asked."""
    changes = {"exec -n static-routes agent-a": answer, "exec -n static-routes agent-b": (1, "", "no")}

    result = run(tmp_path, VERBS[verb], changes)

    assert result.exit_code == 1, result.output
    assert "node2 could not be asked: no" in result.output


@pytest.mark.parametrize(
    ("verb", "answer"),
    [
        ("explain", {"nodes": [FOLLOWS | {"verdict": "Unknown", "claims": None}]}),
        ("diff", {"nodes": [NO_DIFFERENCE | {"complete": False}]}),
        ("routes", {"note": "no agent answers", "objects": [], "routes": []}),
        ("gateways", {"note": "no agent answers", "objects": [], "routes": []}),
    ],
)
def test_agent_that_knows_nothing_is_no_answer(tmp_path: Path, verb: str, answer: dict[str, Any]) -> None:
    """Without the agent's process, or before its first complete list, nothing is known to be well."""
    result = run(
        tmp_path, VERBS[verb], {f"static-route-operator {verb}": answer, "static-route-operator routes": answer}
    )

    assert result.exit_code == 3, result.output


def test_text_of_a_node_does_not_steer_the_terminal(tmp_path: Path) -> None:
    """Control characters of a node are replaced; JSON has them escaped."""
    evil = {"nodes": [FOLLOWS | {"text": "\x1b]0;title\x07\x1b[2Jgone\r\x9b1A"}]}

    shown = run(tmp_path, VERBS["explain"], {"static-route-operator explain": evil}).output
    as_json = run(tmp_path, [*VERBS["explain"], "-o", "json"], {"static-route-operator explain": evil}).output

    assert not any(each in shown for each in ("\x1b", "\x07", "\r", "\x9b"))
    assert "gone" in shown
    assert json.loads(as_json)["nodes"][0]["text"] == evil["nodes"][0]["text"]


def test_plan_for_nodes_names_the_one_that_does_not_answer(tmp_path: Path) -> None:
    """`plan --node` exits with 3 if a node did not answer."""
    file = tmp_path / "nat.yaml"
    file.write_text(json.dumps(manifest("nat")))
    arguments = ["plan", str(file), "--node", "node1", "--node", "node3"]

    result = run(tmp_path, arguments, {})

    assert result.exit_code == 3, result.output
    assert "node3 could not be asked" in result.output
