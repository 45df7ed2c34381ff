"""The Grafana dashboard: problems first, then routes, gateways, and the processes themselves."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

P = "static_route_operator"
_NODE = '{node=~"$node"}'
_GATEWAY = '{node=~"$node",gateway=~"$gateway"}'
_WIDTH = 24  # of Grafana's grid
_HEIGHT = {"row": 1, "stat": 4, "timeseries": 8, "table": 8}
_BAD_ABOVE_ZERO = [{"color": "green", "value": None}, {"color": "red", "value": 1}]
_DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}


class Panel(NamedTuple):
    """One panel.

    Attributes:
        kind: type of the panel in Grafana.
        queries: PromQL by legend.
        unit: unit in Grafana.
        text: the meaning of unusual values, and the remedy.
        width: in columns of 24.
        alarming: show every value above zero in red.
    """

    kind: str
    title: str
    queries: Mapping[str, str]
    unit: str = "short"
    text: str = ""
    width: int = 8
    alarming: bool = False


def _row(title: str) -> Panel:
    return Panel("row", title, {}, width=_WIDTH)


def _stat(title: str, query: str, text: str, *, alarming: bool = True) -> Panel:
    return Panel("stat", title, {"": query}, text=text, width=4, alarming=alarming)


def _rate(name: str, by: str = "", selector: str = _NODE) -> str:
    return f"sum{f' by ({by})' if by else ''} (rate({P}_{name}_total{selector}[$__rate_interval]))"


def _quantile(quantile: float, name: str) -> str:
    buckets = f"rate({P}_{name}_duration_seconds_bucket{_NODE}[$__rate_interval])"
    return f"histogram_quantile({quantile}, sum by (le) ({buckets}))"


PANELS = (
    _row("Is anything wrong?"),
    _stat("Agents", f"count({P}_synced{_NODE})", "Nodes whose agent answers.", alarming=False),
    _stat(
        "Nodes not converged",
        f"count((sum by (node) (abs({P}_desired_routes{_NODE} - {P}_installed_routes{_NODE})) > 0) or"
        f' (sum by (node) ({P}_static_routes{{node=~"$node",state=~"Pending|Conflict|Failed"}}) > 0)) or vector(0)',
        "Nodes whose installed routes differ from the desired routes. The table below names them.",
    ),
    _stat(
        "Gateways down",
        f"count(count by (gateway) ({P}_gateway_up{_GATEWAY} == 0)) or vector(0)",
        "Gateways that are down on at least one node.",
    ),
    _stat(
        "Refused",
        f'sum({P}_static_routes{{node=~"$node",state="Refused"}})',
        "StaticRoutes with destinations that a node refuses to route, summed over nodes.",
    ),
    _stat(
        "Flapping routes",
        f"sum({P}_flapping_routes{_NODE})",
        "Routes that another program keeps removing or replacing.",
    ),
    _stat(
        "Agents without success",
        f"count(time() - {P}_last_success_timestamp_seconds{_NODE} > 900) or vector(0)",
        "Agents whose last successful run is more than 15 minutes ago.",
    ),
    Panel(
        "table",
        "StaticRoutes with problems, by node and state",
        {"": f'{P}_static_routes{{node=~"$node",state=~"Pending|Conflict|Refused|Failed"}} > 0'},
        text="`kubectl describe nrs NODE` names the StaticRoutes, with reason and message.",
        width=12,
    ),
    Panel("timeseries", "StaticRoutes by state", {"{{state}}": f"sum by (state) ({P}_static_routes{_NODE})"}, width=12),
    _row("Routes"),
    Panel(
        "timeseries",
        "Desired and installed routes, all nodes",
        {"desired": f"sum({P}_desired_routes{_NODE})", "installed": f"sum({P}_installed_routes{_NODE})"},
    ),
    Panel(
        "timeseries",
        "Routes that the kernel refused",
        {
            "refused": f"sum({P}_failed_routes{_NODE})",
            "in conflict": f"sum({P}_conflicting_routes{_NODE})",
            "flapping": f"sum({P}_flapping_routes{_NODE})",
        },
        text="Refused includes routes in conflict, whose place a route of another program holds.",
    ),
    Panel(
        "timeseries",
        "Changes of routes",
        {
            "{{action}}": _rate("operations", "action"),
            "refused": _rate("operation_failures"),
        },
        unit="ops",
    ),
    Panel(
        "timeseries",
        "Drift, by node",
        {"{{node}}": _rate("drift", "node")},
        unit="ops",
        text="Our routes that other programs changed or removed.",
    ),
    Panel(
        "timeseries",
        "Drift and its repair",
        {"changed or removed": _rate("drift"), "restored": _rate("drift_repairs")},
        unit="ops",
    ),
    Panel(
        "timeseries",
        "Duration of runs and of their changes",
        {
            "run, 99th percentile": _quantile(0.99, "reconcile"),
            "run, median": _quantile(0.5, "reconcile"),
            "changes, 99th percentile": _quantile(0.99, "operations"),
            "changes, median": _quantile(0.5, "operations"),
        },
        unit="s",
    ),
    _row("Gateways"),
    Panel(
        "timeseries",
        "Nodes on which a gateway is down",
        {"{{gateway}}": f"sum by (gateway) (1 - {P}_gateway_up{_GATEWAY})"},
        width=6,
    ),
    Panel(
        "timeseries",
        "Round-trip time on the slowest node",
        {"{{gateway}}": f"max by (gateway) ({P}_gateway_rtt_seconds{_GATEWAY})"},
        unit="s",
        width=6,
    ),
    Panel(
        "timeseries",
        "Share of probes lost",
        {
            "{{gateway}}": f"{_rate('gateway_probe_losses', 'gateway', _GATEWAY)}"
            f" / {_rate('gateway_probes', 'gateway', _GATEWAY)}"
        },
        unit="percentunit",
        width=6,
    ),
    Panel(
        "timeseries",
        "Gateways going down",
        {"{{gateway}}": f"sum by (gateway) (increase({P}_gateway_flaps_total{_GATEWAY}[$__rate_interval]))"},
        width=6,
    ),
    _row("Agents, controller and API server"),
    Panel(
        "timeseries",
        "Time since the last successful run",
        {"{{node}}": f"time() - {P}_last_success_timestamp_seconds{_NODE}"},
        unit="s",
        text="At rest it grows to the resync interval, 300 s.",
    ),
    Panel(
        "timeseries",
        "Time since the last watch event and the last list",
        {
            "watch, {{job}}": f"max by (job) (time() - {P}_watch_last_event_timestamp_seconds)",
            "list, {{job}}": f"max by (job) (time() - {P}_last_list_timestamp_seconds)",
        },
        unit="s",
        text="Longest time of any agent. A kubelet updates its Node every 5 minutes, and an agent lists every 10.",
    ),
    Panel(
        "timeseries",
        "Errors and rollbacks",
        {
            "restarted watches": f"sum(increase({P}_watch_restarts_total[$__rate_interval]))",
            "failed lists": f'sum(increase({P}_lists_total{{result!="ok"}}[$__rate_interval])) or vector(0)',
            "lost notifications": f"sum(increase({P}_monitor_overflows_total[$__rate_interval]))",
            "failed runs": f"sum(increase({P}_reconcile_errors_total[$__rate_interval]))",
            "changes rolled back": f"sum(increase({P}_rollbacks_total[$__rate_interval]))",
        },
    ),
    Panel(
        "timeseries",
        "Writes to the API server",
        {
            "state of a node, {{result}}": _rate("state_writes", "result", ""),
            "status of a StaticRoute, {{result}}": _rate("status_writes", "result", ""),
            "Event, {{result}}": _rate("events", "result", ""),
        },
        unit="ops",
        text="None at rest.",
    ),
    Panel(
        "timeseries",
        "StaticRoutes and nodes that the controller knows",
        {"StaticRoutes": f"max({P}_controller_objects)", "nodes": f"max({P}_controller_nodes)"},
    ),
    Panel("timeseries", "Versions", {"{{job}} {{version}}": f"count by (job, version) ({P}_build_info)"}),
)


def dashboard() -> dict[str, Any]:
    """Return the dashboard in the JSON that Grafana imports."""
    return {
        "uid": "static-route-operator",
        "title": "Static routes",
        "description": "Static routes on every node: desired and installed routes, gateways, and the operator itself.",
        "tags": ["kubernetes", "network"],
        "schemaVersion": 39,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "templating": {"list": list(_variables())},
        "panels": list(_laid_out()),
    }


def _variables() -> Iterator[dict[str, Any]]:
    yield {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus"}
    for label, metric in {"node": "synced", "gateway": "gateway_up"}.items():
        yield {
            "name": label,
            "label": label.capitalize(),
            "type": "query",
            "datasource": _DATASOURCE,
            "query": {"query": f"label_values({P}_{metric}, {label})", "refId": label},
            "refresh": 2,
            "includeAll": True,
            # Matches metrics without this label, too.
            "allValue": ".*",
            "multi": True,
            "current": {"text": "All", "value": "$__all"},
        }


def _laid_out() -> Iterator[dict[str, Any]]:
    """Lay out the panels from left to right and from top to bottom."""
    x = y = height = 0
    for number, panel in enumerate(PANELS, 1):
        if x + panel.width > _WIDTH:
            x, y = 0, y + height
        height = _HEIGHT[panel.kind]
        yield _panel(panel, number, {"x": x, "y": y, "w": panel.width, "h": height})
        x += panel.width


def _panel(panel: Panel, number: int, place: dict[str, int]) -> dict[str, Any]:
    shown: dict[str, Any] = {"id": number, "type": panel.kind, "title": panel.title, "gridPos": place}
    if panel.kind == "row":
        return shown | {"collapsed": False, "panels": []}
    targets = [
        {
            "refId": chr(ord("A") + index),
            "datasource": _DATASOURCE,
            "expr": query,
            "legendFormat": legend,
            **({"instant": True, "format": "table"} if panel.kind == "table" else {}),
        }
        for index, (legend, query) in enumerate(panel.queries.items())
    ]
    defaults: dict[str, Any] = {"unit": panel.unit, "min": 0}
    if panel.alarming:
        defaults["thresholds"] = {"mode": "absolute", "steps": _BAD_ABOVE_ZERO}
    shown |= {
        "description": panel.text,
        "datasource": _DATASOURCE,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "targets": targets,
    }
    if panel.kind == "table":
        hidden = dict.fromkeys(
            ("Time", "__name__", "instance", "job", "namespace", "pod", "container", "endpoint"), True
        )
        shown["transformations"] = [{"id": "organize", "options": {"excludeByName": hidden}}]
    return shown
