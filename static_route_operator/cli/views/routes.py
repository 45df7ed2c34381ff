"""The routes of a host, its gateways, and what became of each StaticRoute."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from static_route_operator.api.noderoutestate import GOOD_STATES, RowState
from static_route_operator.cli.views.forms import columns, paint, unanswered
from static_route_operator.routing.keys import DEFAULT_METRIC_IPV4, DEFAULT_METRIC_IPV6, TABLE_MAIN
from static_route_operator.routing.options import metric_words


def is_good(report: Mapping[str, Any]) -> bool:
    """Whether every object of a report is programmed, stands by for another one, or is not to be."""
    return all(row["state"] in GOOD_STATES | {RowState.DRY_RUN} for row in report["objects"])


def table(report: Mapping[str, Any], *, wide: bool = False) -> Iterator[str]:
    """A report as tables; the wide one shows what is as the kernel has it unless told otherwise, too."""
    if note := report.get("note"):
        yield f"# {note}"
    elif not report["complete"]:
        yield "# no complete list of StaticRoutes yet: nothing is removed until there is one"
    if "routes" in report:
        yield from _route_lines(report["routes"], wide=wide) or ["No routes."]
    if gateways := report.get("gateways"):
        yield from ["", *_gateway_lines(gateways)]
    objects = [
        (
            row["name"],
            row["gateway"],
            f"{row['programmed']}/{row['destinations']}",
            row["state"],
            row["message"] or "-",
        )
        for row in report["objects"]
    ]
    if objects:
        yield from ["", *columns(("STATICROUTE", "GATEWAY", "ROUTES", "STATE", "MESSAGE"), objects)]


def tables(answer: Mapping[str, Any], *, wide: bool = False) -> Iterator[str]:
    """The reports of several nodes."""
    yield from unanswered(answer["unanswered"])
    for report in answer["nodes"]:
        yield from [paint(f"# node {report.get('node') or '?'}", "cyan"), *table(report, wide=wide), ""]


def _route_lines(routes: Sequence[Mapping[str, Any]], *, wide: bool) -> list[str]:
    """A table of routes; with their options if any has one."""
    cells: dict[str, list[str]] = {
        "DESTINATION": [each["destination"] for each in routes],
        "GATEWAY": [gateway(each) for each in routes],
        "INTERFACE": [interface(each) for each in routes],
        "OPTIONS": [options(each, wide=wide) for each in routes],
        "STATICROUTE": [each["object"] or "-" for each in routes],
    }
    if not any(cells["OPTIONS"]):
        del cells["OPTIONS"]
    return columns(tuple(cells), list(zip(*cells.values(), strict=True))) if routes else []


def _gateway_lines(gateways: Sequence[Mapping[str, Any]]) -> list[str]:
    """A table of the gateways that are probed."""
    rows = [
        (
            each["address"],
            each["interface"],
            each["check"],
            each["state"],
            "-" if each["rttSeconds"] is None else f"{each['rttSeconds'] * 1000:.3g} ms",
            f"{each['lost']}/{each['sent']}",
            each["message"] or "-",
        )
        for each in gateways
    ]
    return columns(("GATEWAY", "INTERFACE", "CHECK", "STATE", "RTT", "LOST", "MESSAGE"), rows)


def gateway(route: Mapping[str, Any]) -> str:
    """Where it leads; of several gateways each with its weight."""
    if several := route.get("gateways"):
        return ", ".join(f"{hop['gateway']} weight {hop['weight']}" for hop in several)
    return str(route.get("type") or route["gateway"] or "?")


def interface(route: Mapping[str, Any]) -> str:
    """The interfaces it leads by."""
    hops = route.get("gateways") or [route]
    return ", ".join(dict.fromkeys(hop["interface"] for hop in hops)) or "-"


def options(route: Mapping[str, Any], *, wide: bool) -> str:
    """What differs from a plain route, or all there is, in the words of `ip route`."""
    ipv6 = ":" in route["destination"]
    words = []
    if wide or route["table"] != TABLE_MAIN:
        words.append(f"table {route['table']}")
    if wide or route["metric"] != (DEFAULT_METRIC_IPV6 if ipv6 else DEFAULT_METRIC_IPV4):
        words.append(f"metric {route['metric']}")
    if route["source"]:
        words.append(f"src {route['source']}")
    words += metric_words(route)
    if route["onLink"]:
        words.append("onlink")
    return " ".join(words)
