"""View of the differences between desired and installed routes."""

from collections.abc import Iterator, Mapping
from typing import Any

from static_route_operator.cli.views.forms import columns, unanswered
from static_route_operator.cli.views.routes import gateway, options

COLORS = {"Missing": "red", "Different": "yellow", "Surplus": "yellow", "Shadowed": "red"}

# Differences shown of each node in the narrow table.
MAX_DIFFERENCES = 20


def table(answer: Mapping[str, Any], *, wide: bool = False) -> Iterator[str]:
    """Show the answer of `diff`; the wide table has every difference, with all options."""
    yield from unanswered(answer["unanswered"])
    rows = []
    for node in answer["nodes"]:
        name = node["node"] or "-"
        found = [
            *(_rule_row(name, each) for each in node["rules"]),
            *(_row(name, each, wide=wide) for each in node["differences"]),
        ]
        rest = 0 if wide else len(found) - MAX_DIFFERENCES
        rows += found[:MAX_DIFFERENCES] if rest > 0 else found
        if rest > 0:
            rows.append((node["node"], f"and {rest} more", "-", "-", "-", "-", "see -o wide"))
    nodes, desired = len(answer["nodes"]), sum(node["wanted"] for node in answer["nodes"])
    if rows:
        header = ("NODE", "DIFFERENCE", "DESTINATION", "DESIRED", "INSTALLED", "STATICROUTE", "MESSAGE")
        yield from columns(header, rows, lambda row: COLORS.get(row[1]))
    elif nodes:
        yield f"No difference: {desired} routes on {nodes} node{'' if nodes == 1 else 's'}, all installed as desired."
    for node in answer["nodes"]:
        if not node["complete"]:
            name = node["node"] or "this host"
            yield f"# {name} has no complete list of StaticRoutes yet, and removes no routes until then"


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
    desired, installed = ("-", each["rule"]) if each["kind"] == "Surplus" else (each["rule"], "-")
    objects = ", ".join(each["objects"]) or "-"
    return (node, each["kind"], f"{each['family']} rule", desired, installed, objects, each["message"] or "-")


def _way(route: Mapping[str, Any] | None, *, wide: bool) -> str:
    if route is None:
        return "-"
    return " ".join(filter(None, [gateway(route), route["interface"], options(route, wide=wide)]))
