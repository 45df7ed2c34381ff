"""The differences between what nodes should have and what they have."""

from collections.abc import Iterator, Mapping
from typing import Any

from static_route_operator.cli.views.forms import columns, unanswered
from static_route_operator.cli.views.routes import gateway, options

COLORS = {"Missing": "red", "Different": "yellow", "Surplus": "yellow"}

# Of each node so many are shown, unless all are asked for.
MOST = 20


def table(answer: Mapping[str, Any], *, wide: bool = False) -> Iterator[str]:
    """The answer of `diff`; the wide one has every difference, however many there are, with all options."""
    yield from unanswered(answer["unanswered"])
    rows = []
    for node in answer["nodes"]:
        name = node["node"] or "-"
        found = [
            *(_rule_row(name, each) for each in node["rules"]),
            *(_row(name, each, wide=wide) for each in node["differences"]),
        ]
        rest = 0 if wide else len(found) - MOST
        rows += found[:MOST] if rest > 0 else found
        if rest > 0:
            rows.append((node["node"], f"and {rest} more", "-", "-", "-", "-", "see -o wide"))
    nodes, desired = len(answer["nodes"]), sum(node["wanted"] for node in answer["nodes"])
    if rows:
        header = ("NODE", "WHAT", "DESTINATION", "WANTED", "PRESENT", "STATICROUTE", "MESSAGE")
        yield from columns(header, rows, lambda row: COLORS.get(row[1]))
    elif nodes:
        yield f"No difference: {desired} routes on {nodes} node{'' if nodes == 1 else 's'}, all as wanted."
    for node in answer["nodes"]:
        if not node["complete"]:
            yield f"# {node['node']} has no complete list of StaticRoutes yet: nothing is removed until there is one"


def _row(node: str, each: Mapping[str, Any], *, wide: bool) -> tuple[str, ...]:
    either = each["wanted"] or each["present"]
    return (
        node,
        each["kind"],
        either["destination"],
        _way(each["wanted"], wide=wide),
        _way(each["present"], wide=wide),
        each["object"] or "-",
        each["message"] or "-",
    )


def _rule_row(node: str, each: Mapping[str, Any]) -> tuple[str, ...]:
    wanted, present = ("-", each["rule"]) if each["kind"] == "Surplus" else (each["rule"], "-")
    objects = ", ".join(each["objects"]) or "-"
    return (node, each["kind"], f"{each['family']} rule", wanted, present, objects, each["message"] or "-")


def _way(route: Mapping[str, Any] | None, *, wide: bool) -> str:
    if route is None:
        return "-"
    return " ".join(filter(None, [gateway(route), route["interface"], options(route, wide=wide)]))
