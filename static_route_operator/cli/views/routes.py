"""View of the routes of a host, its gateways, and the state of each StaticRoute."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from static_route_operator.api.noderoutestate import GOOD_STATES, RowState
from static_route_operator.cli.views.forms import columns, paint, unanswered
from static_route_operator.routing.keys import DEFAULT_METRIC_IPV4, DEFAULT_METRIC_IPV6, TABLE_MAIN
from static_route_operator.routing.options import metric_words


def is_good(report: Mapping[str, Any]) -> bool:
    """Report whether every object is programmed, standby for another one, or a dry run."""
    return all(row["state"] in GOOD_STATES | {RowState.DRY_RUN} for row in report["objects"])


def table(report: Mapping[str, Any], *, wide: bool = False) -> Iterator[str]:
    """Show a report as tables; the wide form includes options that have the kernel's default."""
    if note := report.get("note"):
        yield f"# {note}"
    elif not report["complete"]:
        yield "# this node has no complete list of StaticRoutes yet, and removes no routes until then"
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
    """Show the reports of several nodes."""
    yield from unanswered(answer["unanswered"])
    for report in answer["nodes"]:
        yield from [paint(f"# node {report.get('node') or '?'}", "cyan"), *table(report, wide=wide), ""]


def _route_lines(routes: Sequence[Mapping[str, Any]], *, wide: bool) -> list[str]:
    """Return a table of routes, with a column for options if a route has one."""
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
    """Return a table of the gateways that are probed."""
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
    """Return the gateway of a route; of several gateways, each with its weight."""
    if several := route.get("gateways"):
        return ", ".join(f"{hop['gateway']} weight {hop['weight']}" for hop in several)
    return str(route.get("type") or route["gateway"] or "?")


def interface(route: Mapping[str, Any]) -> str:
    """Return the output interfaces of a route."""
    hops = route.get("gateways") or [route]
    return ", ".join(dict.fromkeys(hop["interface"] for hop in hops)) or "-"


def options(route: Mapping[str, Any], *, wide: bool) -> str:
    """Return the options of a route in the format of `ip route`; without ``wide`` only those that are set."""
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
