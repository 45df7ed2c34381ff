"""View of the gateways on each node, those that are down first."""

from collections.abc import Iterator, Mapping
from typing import Any

from static_route_operator.cli.views.forms import columns, unanswered

COLORS = {"Up": "green", "Down": "red", "Unknown": "yellow"}


def table(answer: Mapping[str, Any], *, wide: bool = False) -> Iterator[str]:
    """Show the answer of `gateways`; the wide table adds interface, health check, probes and hold-down."""
    yield from unanswered(answer["unanswered"])
    rows = [_row(each) for each in answer["gateways"]]
    if not rows:
        yield "No gateway has a health check: set spec.healthCheck in a StaticRoute."
        return
    names = [name for name in rows[0] if wide or name not in {"INTERFACE", "CHECK", "SENT", "HELD UNTIL"}]
    state = names.index("STATE")
    yield from columns(names, [[row[name] for name in names] for row in rows], lambda row: COLORS.get(row[state]))


def _row(each: Mapping[str, Any]) -> dict[str, str]:
    known = each["sent"] is not None
    return {
        "GATEWAY": each["address"],
        "NODE": each["node"],
        "INTERFACE": each["interface"],
        "CHECK": each["check"],
        "STATE": each["state"],
        "SINCE": each["since"] or "-",
        "HELD UNTIL": each.get("heldUntil") or "-",
        "RTT": rtt(each["rttSeconds"]),
        "LOST": str(each["lost"]) if known else "-",
        "SENT": str(each["sent"]) if known else "-",
        "MESSAGE": each["message"] or "-",
    }


def rtt(seconds: float | None) -> str:
    """Format a round-trip time."""
    return "-" if seconds is None else f"{seconds * 1000:.3g} ms"
