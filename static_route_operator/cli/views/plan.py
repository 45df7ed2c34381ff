"""View of a plan: a line for each change of a route, up to a maximum of each kind."""

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from static_route_operator.cli.views.forms import unanswered
from static_route_operator.planning.changes import CHANGES, DENIED, Kind
from static_route_operator.routing.keys import TABLE_MAIN
from static_route_operator.routing.options import metric_words

# Routes of one StaticRoute and one kind that are listed; the others are counted.
MAX_LISTED = 5

_MARKS = {Kind.ADD: "+", Kind.CHANGE: "~", Kind.DELETE: "-", Kind.STANDBY: "."}
_WORDS = {
    Kind.ADD: "to add",
    Kind.CHANGE: "to change",
    Kind.DELETE: "to delete",
    Kind.CONFLICT: "in conflict",
    Kind.REFUSED: "refused",
    Kind.FAILED: "failed",
    Kind.STANDBY: "standby",
    Kind.UNCHANGED: "unchanged",
}


def is_good(forecast: Mapping[str, Any]) -> bool:
    """Report whether nothing would change, and every desired route can be installed."""
    return not forecast["rules"] and not any(forecast["summary"][kind] for kind in CHANGES | DENIED)


def table(answer: Mapping[str, Any], *, wide: bool = False) -> Iterator[str]:
    """Show the plan of each node by StaticRoute; the wide form lists every route."""
    for number, forecast in enumerate(answer["nodes"]):
        if number:
            yield ""
        yield from _forecast_lines(forecast, None if wide else MAX_LISTED)
    yield from unanswered(answer["unanswered"])


def _forecast_lines(forecast: Mapping[str, Any], most: int | None) -> Iterator[str]:
    yield from (f"# {note}" for note in _notes(forecast))
    messages = {row["name"]: row["message"] for row in forecast["objects"]}
    lines: dict[str, list[str]] = {}
    for name, routes in itertools.groupby(forecast["routes"], key=lambda route: route["object"] or ""):
        lines[name] = list(_route_lines(list(routes), most))
    for rule in forecast["rules"]:
        # A rule that serves several StaticRoutes is shown with the first, and names the others.
        first, *others = rule["objects"] or [""]
        also = f" (also for {', '.join(others)})" if others else ""
        text = f"  {_MARKS[rule['action']]} {rule['family']} rule {rule['rule']}{also}"
        lines.setdefault(first, []).append(text)
    for name, some in sorted(lines.items()):
        yield f"StaticRoute {name}" if name else "No known StaticRoute"
        yield from some
        messages.pop(name, None)
    for name, message in messages.items():
        yield f"StaticRoute {name}: nothing to do{f' ({message})' if message else ''}"
    for name in forecast["notSelected"]:
        yield f"StaticRoute {name}: not for this node"
    yield from ["", _summary(forecast)]


def _notes(forecast: Mapping[str, Any]) -> Iterator[str]:
    if note := forecast.get("note"):
        yield str(note)
    elif not forecast["complete"]:
        yield "this node has no complete list of StaticRoutes yet, and removes no routes until then"


def _route_lines(routes: Sequence[Mapping[str, Any]], most: int | None) -> Iterator[str]:
    for kind, group in itertools.groupby(routes, key=lambda route: route["action"]):
        alike = list(group)
        for route in alike[:most]:
            yield f"  {_MARKS.get(kind, '!')} {_text(kind, route)}"
        if rest := len(alike[most:]) if most is not None else 0:
            yield f"    and {rest:,} more {_WORDS[kind]}"


def _text(kind: Kind, route: Mapping[str, Any]) -> str:
    where = route["destination"] + (f" table {route['table']}" if route["table"] != TABLE_MAIN else "")
    why = f": {route['reason']}" if route.get("reason") else ""
    if kind not in CHANGES:
        return f"{where} {_WORDS[kind]}{why}"
    now = f" (now {_path(route['before'])})" if "before" in route else ""
    return f"{where} {_path(route)}{now}{why}"


def _path(route: Mapping[str, Any]) -> str:
    """Return the next hops and options of a route in the format of `ip route`."""
    if kind := route.get("type"):
        return str(kind)
    hops = route.get("gateways")
    if hops:
        words = [
            " ".join(f"nexthop via {hop['gateway']} dev {hop['interface']} weight {hop['weight']}" for hop in hops)
        ]
    else:
        words = [f"via {route['gateway'] or '?'} dev {route['interface'] or '?'}"]
    words += [f"src {route['source']}"] if route["source"] else []
    words += metric_words(route)
    words += ["onlink"] if route["onLink"] else []
    return " ".join(words)


def _summary(forecast: Mapping[str, Any]) -> str:
    summary = forecast["summary"]
    changes = [f"{summary[kind]:,} {_WORDS[kind]}" for kind in Kind if kind in CHANGES]
    others = [f"{summary[kind]:,} {_WORDS[kind]}" for kind in Kind if kind not in CHANGES and summary[kind]]
    where = f" for {forecast['node']}" if forecast["node"] else ""
    return f"Plan{where}: {', '.join([*changes, *others])}{_rules_summary(forecast)}. Nothing was written."


def _rules_summary(forecast: Mapping[str, Any]) -> str:
    if not forecast["rules"]:
        return ""
    counts = Counter(rule["action"] for rule in forecast["rules"])
    return f"; policy rules: {', '.join(f'{counts[kind]} {_WORDS[kind]}' for kind in (Kind.ADD, Kind.DELETE))}"
