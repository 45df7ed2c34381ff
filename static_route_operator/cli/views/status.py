"""View of the whole cluster: problems first, then a line for each StaticRoute."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from static_route_operator.api.noderoutestate import GOOD_STATES, RowState, severity
from static_route_operator.cli.views.forms import columns, some

# Nodes that get a column each in the narrow table; more nodes are counted by state.
MAX_NODES = 5

# Colours of problems; any other state is red.
COLORS = {RowState.PENDING.value: "yellow"}
_UNCOLORED = GOOD_STATES | {RowState.DRY_RUN}


def table(answer: Mapping[str, Any], *, wide: bool = False) -> Iterator[str]:
    """Show the answer of `status`; the wide table has a column for every node."""
    objects, nodes, problems = answer["staticRoutes"], answer["nodes"], answer["problems"]
    if answer["note"]:
        yield f"# {answer['note']}"
    yield f"{_number(len(objects), 'StaticRoute')} on {_number(len(nodes), 'node')}: " + (
        f"{_number(len(problems), 'problem')}."
        if problems
        else "no problems in what could be checked."
        if answer["note"]
        else "no problems."
    )
    if problems:
        yield ""
        rows = [
            (
                each["subject"],
                some(each["nodes"], len(each["nodes"]) if wide else 3) or "-",
                each["state"],
                each["reason"],
                each["message"],
            )
            for each in problems
        ]
        yield from columns(
            ("PROBLEM", "NODES", "STATE", "REASON", "MESSAGE"), rows, lambda row: COLORS.get(row[2], "red")
        )
        yield from (f"# {link}" for link in dict.fromkeys(each["help"] for each in problems) if link)
    if objects:
        each_node = wide or len(nodes) <= MAX_NODES
        yield ""
        header = ["STATICROUTE", "GATEWAY", "DESTINATIONS", "READY", "SINCE", *(nodes if each_node else ["STATES"])]
        yield from columns(
            header, [_line(each, nodes if each_node else None) for each in objects], lambda row: _color(row[3])
        )


def rows(report: Mapping[str, Any], *, wide: bool = False) -> Iterator[str]:
    """Show the row of each StaticRoute on this host; the wide table adds gateways that are up and down."""
    header = ["STATICROUTE", "GATEWAY", "ROUTES", "STATE", "REASON", "MESSAGE"]
    lines = [
        [
            row["name"],
            row["gateway"] or "-",
            f"{row['programmed']}/{row['destinations']}",
            row["state"],
            row["reason"],
            row["message"] or "-",
        ]
        for row in report["objects"]
    ]
    if wide:
        header[2:2] = ["UP", "DOWN"]
        for row, line in zip(report["objects"], lines, strict=True):
            line[2:2] = [", ".join(row["up"]) or "-", ", ".join(row["down"]) or "-"]
    if not lines:
        yield "No StaticRoute is for this host."
        return
    state = header.index("STATE")
    yield from columns(header, lines, lambda row: None if row[state] in _UNCOLORED else COLORS.get(row[state], "red"))


def _line(each: Mapping[str, Any], nodes: Sequence[str] | None) -> list[str]:
    at = {row["node"]: row["state"] for row in each["nodes"]}
    ready = f"{each['ready']}/{len(at)}"
    cells = [each["name"], some(each["gateways"]), str(each["destinations"]), ready, each["since"] or "-"]
    if nodes is not None:
        return [*cells, *(at.get(node, "-") for node in nodes)]
    counts = [f"{number} {state}" for state, number in sorted(Counter(at.values()).items(), key=_worst_first)]
    return [*cells, ", ".join(counts) or "-"]


def _worst_first(counted: tuple[str, int]) -> int:
    return -severity(counted[0])


def _color(ready: str) -> str | None:
    good, _, all_ = ready.partition("/")
    return "green" if good == all_ != "0" else "yellow"


def _number(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
