"""JSON form of routes, and their text in the words of `ip route`."""

from collections.abc import Mapping
from typing import Any

from static_route_operator.routing.kernelroute import LOCAL_KINDS, UNICAST, KernelNextHop, KernelRoute
from static_route_operator.routing.keys import TABLE_LOCAL, prefix_of, unpack_table_metric
from static_route_operator.routing.nexthops import NextHop, NextHops, protocol_name
from static_route_operator.routing.options import describe_metrics, metric_words
from static_route_operator.routing.prefixes import IPV4_PREFIX_SIZE, unpack_address, unpack_prefix
from static_route_operator.routing.rules import table_name

# Words of `ip route` for router preferences.
_PREFERENCES = {1: "high", -1: "low"}

# Names of interfaces by index. An interface that has gone has no name and is shown by its number.
Interfaces = Mapping[int, str]


def describe_place(key: bytes) -> dict[str, Any]:
    """Return the key of a route as a JSON object."""
    table, metric = unpack_table_metric(key)
    return {"destination": unpack_prefix(prefix_of(key)), "table": table, "metric": metric}


def describe_route(key: bytes, next_hops: NextHops, interfaces: Interfaces) -> dict[str, Any]:
    """Return a route of this program as a JSON object, for people and programs."""
    table, metric = unpack_table_metric(key)
    first, *others = next_hops.hops
    described: dict[str, Any] = {
        "destination": unpack_prefix(prefix_of(key)),
        "gateway": _gateway(first) if next_hops.forwards else None,
        "interface": "" if next_hops.kind != UNICAST else _interface(first, interfaces),
        "table": table,
        "metric": metric,
        "source": unpack_address(next_hops.source) if next_hops.source else None,
        **describe_metrics(next_hops.metrics),
        "onLink": first.on_link,
    }
    if next_hops.kind != UNICAST:
        described["type"] = next_hops.kind
    if others:
        described["gateways"] = [describe_hop(hop, interfaces) for hop in next_hops.hops]
    return described


def describe_kernel_route(route: KernelRoute, interfaces: Interfaces) -> dict[str, Any]:
    """Return a route of any program as a JSON object: fields as in `describe_route`, with every next hop listed."""
    return {
        "destination": route.destination,
        "type": route.kind,
        "table": route.table,
        "metric": route.metric,
        "protocol": route.protocol,
        "source": unpack_address(route.source) if route.source else None,
        **describe_metrics(route.metrics),
        "gateways": [{**describe_hop(hop, interfaces), "dead": hop.dead} for hop in route.hops],
        "text": route_words(route, interfaces),
    }


def describe_hop(hop: NextHop | KernelNextHop, interfaces: Interfaces) -> dict[str, Any]:
    """Return a next hop as a JSON object; without a gateway, packets go to neighbours on the interface."""
    return {
        "gateway": _gateway(hop),
        "interface": _interface(hop, interfaces),
        "weight": hop.weight,
        "onLink": hop.on_link,
    }


def _gateway(hop: NextHop | KernelNextHop) -> str | None:
    return unpack_address(hop.gateway) if any(hop.gateway) else None


def _interface(hop: NextHop | KernelNextHop, interfaces: Interfaces) -> str:
    return interfaces.get(hop.interface, str(hop.interface))


def route_words(route: KernelRoute, interfaces: Interfaces) -> str:
    """Return a route in the words of `ip route`."""
    words = [*_kind_words(route), route.destination]
    words += [f"tos {route.tos:#x}"] if route.tos else []
    if len(route.hops) > 1:
        words += [f"nexthop {hop_words(hop, interfaces)} weight {hop.weight}" for hop in route.hops]
    else:
        words += [hop_words(hop, interfaces) for hop in route.hops]
    words += [f"table {table_name(route.table)}", f"proto {protocol_name(route.protocol)}"]
    words += [f"metric {route.metric}"] if route.metric else []
    words += metric_words(describe_metrics(route.metrics))
    words += [f"pref {_PREFERENCES[route.preference]}"] if route.preference else []
    return " ".join(words)


def holder_words(route: KernelRoute, interfaces: Interfaces) -> str:
    """Return the words of `ip route` that identify the owner of a route: type, gateways and protocol.

    The setting that keeps the route away follows if its owner is the kernel, which would add the route again.
    """
    words = _kind_words(route)
    words += [f"nhid {route.next_hop_id}"] if route.next_hop_id else []
    words += [f"via {unpack_address(hop.gateway)}" for hop in route.hops if hop.gateway]
    words.append(f"proto {protocol_name(route.protocol)}")
    words += [f"pref {_PREFERENCES[route.preference]}"] if route.preference else []
    setting = _setting(route, interfaces)
    return " ".join(words) + (f"; with {setting} this node ignores it" if setting else "")


def shadow_words(key: bytes, route: KernelRoute, interfaces: Interfaces) -> str:
    """Return a text about a route of another program that packets take in place of one of ours, with the remedy.

    Args:
        key: of our route.
        route: the other route.
        interfaces: names of the interfaces by index.
    """
    prefix, (table, metric) = prefix_of(key), unpack_table_metric(key)
    packets = f"packets to {unpack_prefix(prefix)}" + (f" with tos {route.tos:#x}" if route.tos else "")
    text = f"{packets} take another program's route, {route_words(route, interfaces)}"
    if route.table not in {table, TABLE_LOCAL} and route.kind not in LOCAL_KINDS:
        explain = f"static-route-operator explain {unpack_address(prefix[:-1])}"
        return f"{text}: a policy rule leads to its table first (`{explain}` names the rule)"
    if setting := _setting(route, interfaces):
        ignored = f"with `sysctl -w {setting}` this node ignores that, and the route goes when it expires"
        return f"{text}: a router advertises it; {ignored}"
    if not route.tos and 1 < route.metric < metric:
        return f"{text}: have its owner give it up, or set spec.metric below {route.metric}"
    return f"{text}: have its owner give it up, or take this destination out"


def _setting(route: KernelRoute, interfaces: Interfaces) -> str:
    """Return the setting that keeps the kernel from adding a route of router advertisements; empty for other routes."""
    if len(route.prefix) == IPV4_PREFIX_SIZE or not route.hops:
        return ""
    (hop, *_), protocol = route.hops, protocol_name(route.protocol)
    if protocol == "ra":
        name = "accept_ra_rt_info_max_plen" if route.prefix[-1] else "accept_ra_defrtr"
    elif protocol == "kernel" and route.kind == UNICAST and not hop.gateway:
        name = "accept_ra_pinfo"
    else:
        return ""
    return f"net.ipv6.conf.{_interface(hop, interfaces)}.{name}=0"


def hop_words(hop: KernelNextHop, interfaces: Interfaces) -> str:
    """Return a next hop in the words of `ip route`."""
    words = [f"via {unpack_address(hop.gateway)}"] if hop.gateway else []
    return " ".join([*words, f"dev {_interface(hop, interfaces)}", *(["dead"] if hop.dead else [])])


def _kind_words(route: KernelRoute) -> list[str]:
    return [route.kind] if route.kind != UNICAST else []
