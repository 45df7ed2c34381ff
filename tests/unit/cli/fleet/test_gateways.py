"""The gateways as all nodes see them, from recorded answers."""

from typing import Any

from static_route_operator.cli.fleet.agents import Reply
from static_route_operator.cli.fleet.gateways import assemble

TOLD = {"address": "10.0.0.1", "interface": "eth0", "check": "ICMP every 1 s", "state": "Up"}
STATE = {"metadata": {"name": "node2"}, "status": {"gateways": [TOLD | {"since": "2024-01-01T00:00:00Z"}]}}
MEASURED = {"rttSeconds": 0.001, "sent": 9, "lost": 1, "message": ""}
DOWN = {"state": "Down", "since": 1700000000.5, "rttSeconds": None, "message": "no answer"}


def test_agents_tell_more_than_node_states() -> None:
    """The agents' measurements are shown, or else the node's NodeRouteState; gateways that are down come first."""
    answer: dict[str, Any] = {
        "gateways": [
            TOLD | MEASURED | {"since": 0.0},
            TOLD | MEASURED | DOWN | {"address": "10.0.0.3"},
        ]
    }
    found = assemble([STATE], [Reply("node1", answer), Reply("node2", None, "why")])

    shown = [(each["address"], each["node"], each["state"], each["since"]) for each in found["gateways"]]
    assert shown == [
        ("10.0.0.3", "node1", "Down", "2023-11-14T22:13:20Z"),
        ("10.0.0.1", "node1", "Up", ""),
        ("10.0.0.1", "node2", "Up", "2024-01-01T00:00:00Z"),
    ]
    assert found["gateways"][1]["rttSeconds"] == 0.001
    assert found["gateways"][2]["rttSeconds"] is None
    assert found["unanswered"] == [{"node": "node2", "problem": "why"}]


def test_pod_without_a_process_is_not_taken_for_an_answer() -> None:
    """If the agent's process does not answer, its note is the problem."""
    found = assemble([STATE], [Reply("node2", {"note": "no agent answers", "routes": []})])

    assert len(found["gateways"]) == 1
    assert found["unanswered"] == [{"node": "node2", "problem": "no agent answers"}]


def test_hold_down_is_told_with_its_end() -> None:
    """An agent's hold-down is a time of the API; without an answer, the node's last report says it."""
    held = TOLD | MEASURED | DOWN | {"heldUntil": 1700000007.5}
    stored = TOLD | {"state": "Down", "since": "2023-11-14T22:13:20Z", "heldUntil": "2023-11-14T22:13:28Z"}
    state: dict[str, Any] = {"metadata": {"name": "node2"}, "status": {"gateways": [stored]}}
    found = assemble([state], [Reply("node1", {"gateways": [held]}), Reply("node2", None, "why")])

    assert [each["heldUntil"] for each in found["gateways"]] == ["2023-11-14T22:13:28Z"] * 2
    assert found["gateways"][1]["message"] == "last report of the node, which does not answer now"
