"""JSON form of routes, for people and programs."""

from collections.abc import Mapping
from typing import Any

from static_route_operator.routing.keys import prefix_of, unpack_table_metric
from static_route_operator.routing.nexthops import NextHops
from static_route_operator.routing.options import describe_metrics
from static_route_operator.routing.prefixes import unpack_address, unpack_prefix


def describe_place(key: bytes) -> dict[str, Any]:
    """What the kernel holds one route for, as a JSON object."""
    table, metric = unpack_table_metric(key)
    return {"destination": unpack_prefix(prefix_of(key)), "table": table, "metric": metric}


def describe_route(key: bytes, path: NextHops, interfaces: Mapping[int, str]) -> dict[str, Any]:
    """A route as a JSON object, for people and programs.

    Args:
        key: of the route.
        path: of the route.
        interfaces: names of interfaces by index; one that is not there is shown by its number.
    """
    table, metric = unpack_table_metric(key)
    first, *others = path.hops
    described: dict[str, Any] = {
        "destination": unpack_prefix(prefix_of(key)),
        "gateway": unpack_address(first.gateway) if path.forwards and any(first.gateway) else None,
        "interface": "" if path.blackhole else interfaces.get(first.interface, str(first.interface)),
        "table": table,
        "metric": metric,
        "source": unpack_address(path.source) if path.source else None,
        **describe_metrics(path.metrics),
        "onLink": first.on_link,
    }
    if path.blackhole:
        described["type"] = "blackhole"
    if others:
        described["gateways"] = [
            {
                "gateway": unpack_address(hop.gateway),
                "interface": interfaces.get(hop.interface, str(hop.interface)),
                "weight": hop.weight,
                "onLink": hop.on_link,
            }
            for hop in path.hops
        ]
    return described
