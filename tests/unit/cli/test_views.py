"""Answers as text: problems first, in columns, in colours only on a terminal, and complete for programs."""

import json
import re
from typing import Any

import click
import pytest
import yaml
from click.testing import CliRunner

from static_route_operator.cli.views import diff, explain, gateways, status
from static_route_operator.cli.views.forms import form, show
from tests.unit.cli.test_routes import PLAIN

NAT = {
    "name": "nat",
    "generation": 1,
    "gateways": ["10.0.0.1", "10.0.0.3"],
    "destinations": 2,
    "accepted": True,
    "acceptedMessage": "",
    "ready": 1,
    "since": "2024-01-01T00:00:00Z",
    "nodes": [
        {"node": "node1", "state": "Programmed", "reason": "Programmed", "message": ""},
        {"node": "node2", "state": "Failed", "reason": "KernelRefused", "message": "told so"},
    ],
}
PROBLEM = {
    "subject": "StaticRoute nat",
    "nodes": ["node2"],
    "state": "Failed",
    "reason": "KernelRefused",
    "message": "told so",
    "help": "https://example.com/#kernelrefused",
}
STATUS: dict[str, Any] = {"nodes": ["node1", "node2"], "staticRoutes": [NAT], "problems": [PROBLEM], "note": ""}

HOP = {"gateway": "10.0.0.1", "interface": "eth0", "weight": 1}
NODE: dict[str, Any] = {
    "node": "node1",
    "verdict": "Shadowed",
    "object": "nat",
    "text": "via 10.0.0.9 dev eth0, by 192.0.2.0/25",
    "cause": "A rule leads there.",
    "notes": ["as an example"],
    "kernel": {
        "error": None,
        "gateway": "10.0.0.9",
        "interface": "eth0",
        "source": "10.0.0.2",
        "route": {"text": "192.0.2.0/25 via 10.0.0.9"},
        "rule": "99: from all lookup 7",
    },
    "claims": [
        {
            "object": "nat",
            "destination": "192.0.2.0/24",
            "priority": 100,
            "gateways": [HOP],
            "standing": "Wins",
            "winner": None,
            "why": "",
            "message": "",
        },
        {
            "object": "vpn",
            "destination": "192.0.2.0/24",
            "priority": 200,
            "gateways": [],
            "standing": "Standby",
            "winner": "nat",
            "why": "its priority 100 is lower than 200",
            "message": "",
        },
    ],
    "candidates": [{"text": "192.0.2.0/25 via 10.0.0.9"}],
    "rules": ["0: from all lookup local"],
}
FOLLOWS = NODE | {
    "node": "node2",
    "verdict": "Follows",
    "text": "StaticRoute nat: via 10.0.0.1",
    "cause": "",
    "notes": [],
}

ROUTE = {"destination": "192.0.2.0/24", "gateway": "10.0.0.1", "interface": "eth0", **PLAIN}
DIFFERENCES: list[dict[str, Any]] = [
    {"kind": "Missing", "object": "nat", "wanted": ROUTE, "present": None, "message": "told so"},
    {"kind": "Different", "object": "nat", "wanted": ROUTE, "present": ROUTE | {"gateway": "10.0.0.9"}, "message": ""},
]
DIFF: dict[str, Any] = {
    "nodes": [{"node": "node1", "complete": True, "wanted": 2, "present": 1, "differences": DIFFERENCES, "rules": []}],
    "unanswered": [{"node": "node3", "problem": "no agent runs there"}],
}

GATEWAY = {
    "node": "node1",
    "address": "10.0.0.1",
    "interface": "eth0",
    "check": "ICMP every 1 s",
    "state": "Down",
    "since": "2024-01-01T00:00:00Z",
    "rttSeconds": None,
    "sent": 9,
    "lost": 3,
    "message": "no answer",
}
GATEWAYS: dict[str, Any] = {
    "gateways": [GATEWAY, GATEWAY | {"node": "node2", "state": "Up", "rttSeconds": 0.00123, "message": ""}],
    "unanswered": [],
}


def _plain(answer: dict[str, Any], view: Any, output: str = "table") -> str:
    @click.command()
    def command() -> None:
        show(answer, output, view.table)

    return CliRunner().invoke(command).stdout


@pytest.mark.parametrize(
    ("answer", "view"), [(STATUS, status), ({"nodes": [NODE]}, explain), (DIFF, diff), (GATEWAYS, gateways)]
)
def test_programs_get_everything(answer: dict[str, Any], view: Any) -> None:
    """JSON and YAML hold the whole answer."""
    assert json.loads(form(answer, "json", view.table)) == answer
    assert yaml.safe_load(form(answer, "yaml", view.table)) == answer


def test_status_begins_with_what_is_not_right() -> None:
    """First the sum, then what is not right with its words, then a line for each object with its state on each node."""
    assert _plain(STATUS, status) == (
        "1 StaticRoute on 2 nodes: 1 problem.\n"
        "\n"
        "PROBLEM           NODES   STATE    REASON          MESSAGE\n"
        "StaticRoute nat   node2   Failed   KernelRefused   told so\n"
        "# https://example.com/#kernelrefused\n"
        "\n"
        "STATICROUTE   GATEWAY              DESTINATIONS   READY   SINCE                  node1        node2\n"
        "nat           10.0.0.1, 10.0.0.3   2              1/2     2024-01-01T00:00:00Z   Programmed   Failed\n"
    )


def test_status_counts_where_nodes_are_many() -> None:
    """With many nodes their states are counted; the wide form has a column for each all the same."""
    nodes = [f"node{number}" for number in range(1, 8)]
    states = [{"node": node, "state": "Failed" if node == "node3" else "Programmed"} for node in nodes]
    answer = STATUS | {
        "nodes": nodes,
        "staticRoutes": [NAT | {"ready": 6, "nodes": states}],
        "problems": [PROBLEM | {"nodes": nodes}],
        "note": "pods are not known",
    }

    lines = _plain(answer, status).splitlines()
    assert lines[0] == "# pods are not known"
    assert lines[4].split()[2:7] == ["node1,", "node2,", "node3", "and", "4"]
    assert lines[-1].endswith("6/7     2024-01-01T00:00:00Z   1 Failed, 6 Programmed")
    assert _plain(answer, status, "wide").splitlines()[-2].split()[-7:] == nodes


def test_status_of_a_healthy_cluster_is_short() -> None:
    """All is well, and there is no table of what is not."""
    assert _plain(STATUS | {"problems": [], "staticRoutes": []}, status) == "0 StaticRoutes on 2 nodes: no problems.\n"


def test_explain_has_what_is_wrong_first_and_says_why() -> None:
    """A node on which something else takes the packet comes first, with the cause; claims say who wins and why."""
    text = _plain({"nodes": [FOLLOWS, NODE], "unanswered": []}, explain)

    assert text.startswith(
        "node1: Shadowed\n"
        "  via 10.0.0.9 dev eth0, by 192.0.2.0/25\n"
        "  A rule leads there.\n"
        "  note: as an example\n"
        "\n"
        "  the kernel of node1:\n"
        "    sends it      via 10.0.0.9 dev eth0 src 10.0.0.2\n"
        "    by the route  192.0.2.0/25 via 10.0.0.9\n"
        "    by the rule   99: from all lookup 7\n"
        "\n"
        "  STATICROUTE   DESTINATION    PRIORITY   GATEWAY    STANDING   WHY\n"
        "  nat           192.0.2.0/24   100        10.0.0.1   Wins       -\n"
        "  vpn           192.0.2.0/24   200        -          Standby    "
        "StaticRoute nat has precedence: its priority 100 is lower than 200\n"
        "\n"
        "node2: Follows\n"
        "  StaticRoute nat: via 10.0.0.1\n"
    )


def test_explain_puts_nodes_together_and_is_wide_on_demand() -> None:
    """Nodes that say the same are one paragraph; the wide form has all routes and rules, too."""
    answer = {"nodes": [FOLLOWS, FOLLOWS | {"node": "node3"}], "unanswered": [{"node": "node4", "problem": "why"}]}

    text = _plain(answer, explain, "wide")
    assert text.startswith("# node4 could not be asked: why\nnode2, node3: Follows\n")
    assert text.count("Follows") == 1
    assert "  rules:\n    0: from all lookup local\n" in text
    assert "rules:" not in _plain(answer, explain)


def test_diff_shows_both_sides() -> None:
    """Each difference has what is wanted, what is there, whose it is and what the node says of it."""
    assert _plain(DIFF, diff) == (
        "# node3 could not be asked: no agent runs there\n"
        "NODE    DIFFERENCE   DESTINATION    DESIRED         INSTALLED       STATICROUTE   MESSAGE\n"
        "node1   Missing      192.0.2.0/24   10.0.0.1 eth0   -               nat           told so\n"
        "node1   Different    192.0.2.0/24   10.0.0.1 eth0   10.0.0.9 eth0   nat           -\n"
    )


def test_diff_shows_rules() -> None:
    """A policy rule that is missing or surplus has a line of its own."""
    rule = {"kind": "Missing", "family": "IPv4", "rule": "32702: from all lookup 245", "objects": ["a", "b"]}
    surplus = {"kind": "Surplus", "family": "IPv6", "rule": "9: from all lookup 7", "objects": []}
    rules = [rule | {"message": ""}, surplus | {"message": "no need"}]
    nodes = [DIFF["nodes"][0] | {"differences": [], "rules": rules}]

    lines = _plain({"nodes": nodes, "unanswered": []}, diff).splitlines()[1:]
    assert [re.split(r"\s{3,}", line) for line in lines] == [
        ["node1", "Missing", "IPv4 rule", "32702: from all lookup 245", "-", "a, b", "-"],
        ["node1", "Surplus", "IPv6 rule", "-", "9: from all lookup 7", "-", "no need"],
    ]


def test_diff_of_many_is_cut_unless_wide() -> None:
    """The first of many differences of a node are shown, with the number of the others."""
    nodes = [DIFF["nodes"][0] | {"differences": DIFFERENCES * 20}]

    assert _plain({"nodes": nodes, "unanswered": []}, diff).splitlines()[-1].split()[:4] == [
        "node1",
        "and",
        "20",
        "more",
    ]
    assert len(_plain({"nodes": nodes, "unanswered": []}, diff, "wide").splitlines()) == 41


def test_diff_without_a_difference_says_so() -> None:
    """The lack of differences is stated with the number of compared routes; an incomplete agent is mentioned too."""
    nodes = [DIFF["nodes"][0] | {"differences": [], "complete": False}]

    assert _plain({"nodes": nodes, "unanswered": []}, diff) == (
        "No difference: 2 routes on 1 node, all installed as desired.\n"
        "# node1 has no complete list of StaticRoutes yet, and removes no routes until then\n"
    )


def test_gateways_show_health_and_latency() -> None:
    """Each node's view of a gateway is a line; the wide form says how it is asked."""
    assert _plain(GATEWAYS, gateways) == (
        "GATEWAY    NODE    STATE   SINCE                  RTT       LOST   MESSAGE\n"
        "10.0.0.1   node1   Down    2024-01-01T00:00:00Z   -         3      no answer\n"
        "10.0.0.1   node2   Up      2024-01-01T00:00:00Z   1.23 ms   3      -\n"
    )
    assert "ICMP every 1 s" in _plain(GATEWAYS, gateways, "wide")
    assert _plain({"gateways": [], "unanswered": []}, gateways).startswith("No gateway has a health check")


@pytest.mark.parametrize("color", [False, True])
def test_colours_are_for_terminals(color: bool) -> None:
    """A table has colours on a terminal, and none elsewhere."""

    @click.command()
    def command() -> None:
        show(GATEWAYS, "table", gateways.table)

    assert CliRunner().invoke(command, color=color).stdout.count("\033[3") == (2 if color else 0)
