"""The report of a node, as people and programs read it."""

import json
from typing import Any

import pytest
import yaml

from static_route_operator.cli.views.forms import form
from static_route_operator.cli.views.routes import is_good, table


def format_report(report: dict[str, Any], output: str = "table") -> str:
    """A report in one of its forms."""
    return form(report, output, table)


PLAIN = {"table": 254, "metric": 0, "source": None, "mtu": None, "onLink": False}

REPORT: dict[str, Any] = {
    "node": "node1",
    "complete": True,
    "objects": [
        {
            "name": "nat",
            "generation": 2,
            "gateway": "10.0.0.1",
            "state": "Programmed",
            "reason": "Programmed",
            "message": "",
            "destinations": 2,
            "programmed": 2,
        },
        {
            "name": "vpn",
            "generation": 1,
            "gateway": "10.9.0.1",
            "state": "Failed",
            "reason": "GatewayUnreachable",
            "message": "gateway 10.9.0.1 is not on any subnet of this node",
            "destinations": 1,
            "programmed": 0,
        },
    ],
    "routes": [
        {"destination": "192.0.2.0/24", "gateway": "10.0.0.1", "interface": "eth0", "object": "nat", **PLAIN},
        {"destination": "198.51.100.255/32", "gateway": None, "interface": "7", "object": None, **PLAIN},
    ],
}


def test_table_shows_routes_and_objects_in_columns() -> None:
    """The table has a line for every route and for every object, with dashes where there is nothing to say."""
    assert format_report(REPORT) == (
        "DESTINATION         GATEWAY    INTERFACE   STATICROUTE\n"
        "192.0.2.0/24        10.0.0.1   eth0        nat\n"
        "198.51.100.255/32   ?          7           -\n"
        "\n"
        "STATICROUTE   GATEWAY    ROUTES   STATE        MESSAGE\n"
        "nat           10.0.0.1   2/2      Programmed   -\n"
        "vpn           10.9.0.1   0/1      Failed       gateway 10.9.0.1 is not on any subnet of this node\n"
    )


def test_table_shows_options_where_there_are_any() -> None:
    """Options that differ from a plain route are shown in the words of `ip route`; the kernel's defaults are not."""
    rich = {"table": 100, "metric": 7, "source": "10.0.0.9", "mtu": 1400, "onLink": True}
    plain6 = {"destination": "2001:db8::/32", "gateway": "fd00::1", "metric": 1024}
    routes = [REPORT["routes"][0] | rich, REPORT["routes"][0] | plain6]

    assert format_report(REPORT | {"objects": [], "routes": routes}) == (
        "DESTINATION     GATEWAY    INTERFACE   OPTIONS                                           STATICROUTE\n"
        "192.0.2.0/24    10.0.0.1   eth0        table 100 metric 7 src 10.0.0.9 mtu 1400 onlink   nat\n"
        "2001:db8::/32   fd00::1    eth0                                                          nat\n"
    )


def test_table_without_anything_says_so() -> None:
    """A node without routes and objects is shown in words, not as an empty page."""
    assert format_report(REPORT | {"objects": [], "routes": []}) == "No routes.\n"


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"complete": False}, "# this node has no complete list of StaticRoutes yet, and removes no routes until then"),
        ({"note": "no agent answers"}, "# no agent answers"),
    ],
)
def test_table_begins_with_what_limits_it(change: dict[str, Any], line: str) -> None:
    """That a report is not the whole truth stands above it."""
    assert format_report(REPORT | change).startswith(f"{line}\nDESTINATION")


def test_report_of_the_kernel_alone_needs_no_objects() -> None:
    """If no process answers, a note stands in the place of completeness, and routes have no objects."""
    report = {"note": "no agent", "objects": [], "routes": REPORT["routes"]}

    assert format_report(report).splitlines()[:2] == [
        "# no agent",
        "DESTINATION         GATEWAY    INTERFACE   STATICROUTE",
    ]


def test_json_and_yaml_hold_the_whole_report() -> None:
    """Programs get everything, in the form they ask for, ending in a line break."""
    assert json.loads(format_report(REPORT, "json")) == REPORT
    assert yaml.safe_load(format_report(REPORT, "yaml")) == REPORT
    assert all(format_report(REPORT, output).endswith("\n") for output in ("table", "json", "yaml"))


@pytest.mark.parametrize(
    ("states", "good"),
    [([], True), (["Programmed", "Standby"], True), (["Programmed", "Conflict"], False), (["Pending"], False)],
)
def test_report_is_good_when_every_object_is(states: list[str], good: bool) -> None:
    """One object that is neither programmed nor standing by makes the whole not good."""
    assert is_good({"objects": [{"state": state} for state in states]}) is good


def test_several_gateways_and_their_health_are_shown() -> None:
    """A route of several next hops shows each with its weight, a blackhole what it is; then how the gateways answer."""
    hops = [{"gateway": "10.0.0.1", "weight": 3}, {"gateway": "10.0.0.3", "weight": 1}]
    both = {"gateway": "10.0.0.1", "gateways": [{**hop, "interface": "eth0", "onLink": False} for hop in hops]}
    none = {"destination": "192.0.2.2/32", "gateway": None, "interface": "", "type": "blackhole", "object": "vpn"}
    probed = {"address": "10.0.0.1", "interface": "eth0", "check": "ICMP every 1 s", "since": 0.0, "sent": 9, "lost": 4}
    report = {
        **REPORT,
        "routes": [
            {"destination": "192.0.2.1/32", "interface": "eth0", "object": "nat", **PLAIN, **both},
            PLAIN | none,
        ],
        "gateways": [
            {**probed, "state": "Up", "rttSeconds": 0.00123, "message": ""},
            {**probed, "state": "Down", "rttSeconds": None, "message": "link down"},
        ],
    }

    lines = format_report(report).splitlines()

    assert [line.split() for line in lines[1:3]] == [
        ["192.0.2.1/32", *["10.0.0.1", "weight", "3,", "10.0.0.3", "weight", "1"], "eth0", "nat"],
        ["192.0.2.2/32", "blackhole", "-", "vpn"],
    ]
    assert [line.split() for line in lines[5:7]] == [
        ["10.0.0.1", "eth0", "ICMP", "every", "1", "s", "Up", "1.23", "ms", "4/9", "-"],
        ["10.0.0.1", "eth0", "ICMP", "every", "1", "s", "Down", "-", "4/9", "link", "down"],
    ]
