"""A plan, as people read it."""

from typing import Any

import pytest

from static_route_operator.cli.views.forms import form
from static_route_operator.cli.views.plan import MAX_LISTED, is_good, table

VIA = {"gateway": "10.0.0.1", "interface": "eth0", "metric": 0, "source": None, "mtu": None, "onLink": False}
PLAIN = {"table": 254, **VIA}


def forecast(*routes: dict[str, Any], **counts: int) -> dict[str, Any]:
    """A forecast of one object."""
    kinds = ("add", "change", "delete", "conflict", "refused", "failed", "standby", "unchanged")
    return {
        "node": "node1",
        "complete": True,
        "summary": dict.fromkeys(kinds, 0) | counts,
        "objects": [{"name": "nat", "message": ""}],
        "routes": list(routes),
        "rules": [],
        "notSelected": [],
    }


def _answer(*forecasts: dict[str, Any], **unanswered: str) -> dict[str, Any]:
    """Answers of nodes, and errors of others."""
    return {
        "nodes": list(forecasts),
        "unanswered": [{"node": node, "problem": problem} for node, problem in unanswered.items()],
    }


def addition(destination: str, **more: Any) -> dict[str, Any]:
    """A route that would be added."""
    return {"action": "add", "object": "nat", "destination": destination, **PLAIN, **more}


def test_many_routes_are_folded() -> None:
    """The first few of many routes with one state are shown and the rest counted; wide shows all."""
    answer = forecast(*(addition(f"192.0.2.{each}/32") for each in range(MAX_LISTED + 2000)), add=2005)

    lines = form(_answer(answer), "table", table).splitlines()
    assert lines[:2] == ["StaticRoute nat", "  + 192.0.2.0/32 via 10.0.0.1 dev eth0"]
    assert lines[MAX_LISTED + 1 :] == [
        "    and 2,000 more to add",
        "",
        "Plan for node1: 2,005 to add, 0 to change, 0 to delete. Nothing was written.",
    ]
    assert len(form(_answer(answer), "wide", table).splitlines()) == 2005 + 3


@pytest.mark.parametrize(
    ("more", "line"),
    [
        ({"table": 100, "mtu": 1400, "source": "10.0.0.2"}, "table 100 via 10.0.0.1 dev eth0 src 10.0.0.2 mtu 1400"),
        ({"onLink": True}, "via 10.0.0.1 dev eth0 onlink"),
        ({"gateway": None, "interface": "", "type": "blackhole"}, "blackhole"),
        (
            {
                "gateways": [
                    {"gateway": "10.0.0.1", "interface": "eth0", "weight": 1},
                    {"gateway": "10.0.0.3", "interface": "eth0", "weight": 2},
                ]
            },
            "nexthop via 10.0.0.1 dev eth0 weight 1 nexthop via 10.0.0.3 dev eth0 weight 2",
        ),
    ],
    ids=["options", "on link", "blackhole", "several"],
)
def test_paths_are_told_as_ip_route_does(more: dict[str, Any], line: str) -> None:
    """A planned route is written as `ip route` writes it."""
    assert f"  + 192.0.2.1/32 {line}" in form(
        _answer(forecast(addition("192.0.2.1/32", **more), add=1)), "table", table
    )


@pytest.mark.parametrize("kind", ["add", "change", "delete", "conflict", "refused", "failed"])
def test_change_and_denial_are_not_good(kind: str) -> None:
    """The exit code is that of a change if something would change, and if something can't be had."""
    assert not is_good(forecast(**{kind: 1}))
    assert is_good(forecast(standby=1, unchanged=1))


def test_what_is_not_known_is_told() -> None:
    """Before all StaticRoutes are known, and for an object that is for other nodes, the plan says so."""
    answer = forecast() | {"complete": False, "notSelected": ["other"]}

    text = form(_answer(answer), "table", table)
    assert text.startswith("# this node has no complete list of StaticRoutes yet, and removes no routes until then\n")
    assert "StaticRoute nat: nothing to do\nStaticRoute other: not for this node\n" in text


def test_nodes_are_told_one_after_the_other() -> None:
    """Each of several nodes has its plan, and a node that could not be asked is named."""
    text = form(_answer(forecast(add=1), forecast(delete=2), node3="no agent runs there"), "table", table)

    assert text.count("StaticRoute nat: nothing to do") == text.count("Nothing was written.") == 2
    assert "node3" in text
    assert "no agent runs there" in text


def test_rules_are_shown_with_their_object() -> None:
    """A rule stands behind the routes of its object, is counted apart, and is a change."""
    answer = forecast(addition("0.0.0.0/0"), add=1)
    answer["rules"] = [
        {"action": "add", "family": "IPv4", "rule": "32702: from all lookup 245", "objects": ["nat", "b"]},
        {"action": "delete", "family": "IPv6", "rule": "32701: from all lookup main", "objects": []},
    ]

    assert form(_answer(answer), "table", table).splitlines() == [
        "No known StaticRoute",
        "  - IPv6 rule 32701: from all lookup main",
        "StaticRoute nat",
        "  + 0.0.0.0/0 via 10.0.0.1 dev eth0",
        "  + IPv4 rule 32702: from all lookup 245 (also for b)",
        "",
        "Plan for node1: 1 to add, 0 to change, 0 to delete; policy rules: 1 to add, 1 to delete. Nothing was written.",
    ]
    assert not is_good(forecast() | {"rules": answer["rules"]})
