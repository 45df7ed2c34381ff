"""The report of a node for people: asked of the running process, or of the kernel when none runs."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import aiohttp
import yaml

from static_route_operator.api.noderoutestate import GOOD_STATES
from static_route_operator.kernel.fib import Fib
from static_route_operator.keys import DEFAULT_METRIC_IPV4, DEFAULT_METRIC_IPV6, TABLE_MAIN
from static_route_operator.planning.routes import describe_route

# Seconds to wait for the process on this host.
TIMEOUT = 5


async def fetch_report(address: str, port: int) -> dict[str, Any]:
    """What the process on this host reports; without one, the kernel's routes alone, with a note that says so."""
    try:
        timeout = aiohttp.ClientTimeout(total=TIMEOUT)
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.get(f"http://{address}:{port}/routes") as answer,
        ):
            answer.raise_for_status()
            report: dict[str, Any] = await answer.json()
            return report
    except (aiohttp.ClientError, TimeoutError) as error:
        why = str(error) or "timed out"
        note = f"no agent answers on {address}:{port} ({why}); these are the kernel's own words, without objects"
        return {"note": note, "objects": [], "routes": await _kernel_routes()}


async def _kernel_routes() -> list[dict[str, Any]]:
    fib = Fib()
    try:
        present = await fib.read()
        names = (await fib.look((), {})).interfaces
    finally:
        fib.close()
    return [describe_route(key, path, names) | {"object": None} for key, path in present.in_order()]


def is_good(report: dict[str, Any]) -> bool:
    """Whether every object of a report is programmed, or stands by for another one."""
    return all(row["state"] in GOOD_STATES for row in report["objects"])


def format_report(report: dict[str, Any], output: str = "table") -> str:
    """A report as a table, JSON or YAML."""
    if output == "json":
        return json.dumps(report, indent=2) + "\n"
    if output == "yaml":
        return str(yaml.safe_dump(report, sort_keys=False))
    lines = []
    if note := report.get("note"):
        lines.append(f"# {note}")
    elif not report["complete"]:
        lines.append("# no complete list of StaticRoutes yet: nothing is removed until there is one")
    lines += _route_lines(report["routes"]) or ["No routes."]
    if gateways := report.get("gateways"):
        lines += ["", *_gateway_lines(gateways)]
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
        lines += ["", *_columns(("STATICROUTE", "GATEWAY", "ROUTES", "STATE", "MESSAGE"), objects)]
    return "\n".join(lines) + "\n"


def _route_lines(routes: Sequence[Mapping[str, Any]]) -> list[str]:
    """A table of routes; with their options if any has one."""
    columns = {
        "DESTINATION": [each["destination"] for each in routes],
        "GATEWAY": [_gateway(each) for each in routes],
        "INTERFACE": [_interface(each) for each in routes],
        "OPTIONS": [_options(each) for each in routes],
        "STATICROUTE": [each["object"] or "-" for each in routes],
    }
    if not any(columns["OPTIONS"]):
        del columns["OPTIONS"]
    return _columns(tuple(columns), list(zip(*columns.values(), strict=True))) if routes else []


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
    return _columns(("GATEWAY", "INTERFACE", "CHECK", "STATE", "RTT", "LOST", "MESSAGE"), rows)


def _gateway(route: Mapping[str, Any]) -> str:
    """Where it leads; of several gateways each with its weight."""
    if several := route.get("gateways"):
        return ", ".join(f"{hop['gateway']} weight {hop['weight']}" for hop in several)
    return str(route.get("type") or route["gateway"] or "?")


def _interface(route: Mapping[str, Any]) -> str:
    hops = route.get("gateways") or [route]
    return ", ".join(dict.fromkeys(hop["interface"] for hop in hops)) or "-"


def _options(route: Mapping[str, Any]) -> str:
    """What differs from a plain route, in the words of `ip route`."""
    ipv6 = ":" in route["destination"]
    words = []
    if route["table"] != TABLE_MAIN:
        words.append(f"table {route['table']}")
    if route["metric"] != (DEFAULT_METRIC_IPV6 if ipv6 else DEFAULT_METRIC_IPV4):
        words.append(f"metric {route['metric']}")
    if route["source"]:
        words.append(f"src {route['source']}")
    if route["mtu"]:
        words.append(f"mtu {route['mtu']}")
    if route["onLink"]:
        words.append("onlink")
    return " ".join(words)


def _columns(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header) - 1)]
    return [
        "   ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]])
        for row in (header, *rows)
    ]
