"""Objects and facts for tests, with defaults that work: a test states only what it is about."""

from collections.abc import Iterable, Mapping
from typing import Any

from static_route_operator.api.resolution import ResolvedRoute, resolve
from static_route_operator.api.staticroute import StaticRoute
from static_route_operator.routing.facts import Address, Facts, Link, Network
from static_route_operator.routing.foreign import ForeignRib, Lookup
from static_route_operator.routing.keys import IPV4_KEY_SIZE, TABLE_MAIN, default_metric, pack_table_metric
from static_route_operator.routing.keyset import KeySet
from static_route_operator.routing.nexthops import UNKNOWN_IPV4, UNKNOWN_IPV6, NextHops
from static_route_operator.routing.prefixes import contains, host_prefix, pack_address, pack_prefix
from static_route_operator.routing.protection import Protection
from static_route_operator.routing.routes import Routes
from static_route_operator.routing.rules import Rule

ETH0 = 2


def default_table_metric(gateway: bytes) -> bytes:
    """Return table and metric of a StaticRoute that names neither, for routes through a packed address."""
    return pack_table_metric(TABLE_MAIN, default_metric(gateway))


def manifest(
    name: str = "nat",
    gateway: str | None = "10.0.0.1",
    destinations: Iterable[str] = ("192.0.2.1",),
    *,
    metadata: Mapping[str, Any] | None = None,
    **spec: Any,
) -> dict[str, Any]:
    """Return a StaticRoute as a JSON object; without ``gateway`` if that is None."""
    one = {} if gateway is None else {"gateway": gateway}
    return {
        "apiVersion": "networking.digitalocean.com/v1",
        "kind": "StaticRoute",
        "metadata": {"name": name, **(metadata or {})},
        "spec": {"destinations": list(destinations), **one, **spec},
    }


def route(
    name: str = "nat",
    gateway: str | None = "10.0.0.1",
    destinations: Iterable[str] = ("192.0.2.1",),
    *,
    uid: str = "",
    generation: int = 1,
    created: str = "2024-01-01T00:00:00Z",
    **spec: Any,
) -> StaticRoute:
    """Return a parsed StaticRoute."""
    metadata = {"uid": uid or f"uid-{name}", "generation": generation, "creationTimestamp": created}
    return StaticRoute.parse(manifest(name, gateway, destinations, metadata=metadata, **spec))


def resolved(
    name: str = "nat", gateway: str | None = "10.0.0.1", destinations: Iterable[str] = ("192.0.2.1",), **more: Any
) -> ResolvedRoute:
    """Return a StaticRoute, parsed as in `route`, and resolved."""
    return resolve(route(name, gateway, destinations, **more))


def key(prefix: str) -> bytes:
    """Return the key of a route with default table and metric."""
    packed = pack_prefix(prefix)
    return packed + default_table_metric(packed[:-1])


def make_key(prefix: str | bytes, table: int, metric: int) -> bytes:
    """Return the key of a route."""
    return (pack_prefix(prefix) if isinstance(prefix, str) else prefix) + pack_table_metric(table, metric)


def keys(*prefixes: str) -> KeySet:
    """Return the keys of routes of one family with default table and metric."""
    return pack(map(key, prefixes))


def pack(some: Iterable[bytes]) -> KeySet:
    """Return keys of one family as a set."""
    listed = list(some)
    return KeySet.of(len(listed[0]) if listed else IPV4_KEY_SIZE, listed)


def routes(paths: Mapping[bytes, NextHops]) -> Routes:
    """Return routes, from the next hops of each key."""
    found = Routes()
    for each, path in paths.items():
        found.put(path, pack([each]))
    return found


def paths(some: Routes) -> dict[bytes, NextHops]:
    """Return the next hops of each key."""
    return {key: path for path, keys in some for key in keys}


def unknown_path(of: bytes) -> NextHops:
    """Return the next hops of a route with this key if this program can't have written them."""
    return UNKNOWN_IPV4 if len(of) == IPV4_KEY_SIZE else UNKNOWN_IPV6


def protection(what: Mapping[str, str], claims: Mapping[str, str] | None = None) -> Protection:
    """Return the protection of these addresses and CIDRs, and of those that are new claims."""
    new = Protection({pack_prefix(text): each for text, each in claims.items()}) if claims else None
    return Protection({pack_prefix(text): each for text, each in what.items()}, new)


def foreign(others: Mapping[str, str] | Mapping[bytes, str]) -> ForeignRib:
    """Return foreign routes in main: the gateway on eth0 by prefix, or none for a direct route."""
    main: dict[NextHops, list[bytes]] = {}
    for prefix, gateway in others.items():
        each = make_key(prefix, TABLE_MAIN, 0)
        path = NextHops.via(pack_address(gateway), ETH0) if gateway else unknown_path(each)
        main.setdefault(path, []).append(each)
    return ForeignRib({path: pack(some) for path, some in main.items()})


def network(addresses: Mapping[str, str], subnets: Mapping[str, str]) -> Network:
    """Return links and addresses.

    Args:
        addresses: own addresses, with their interface.
        subnets: connected subnets, with their interface; where no own address is in one, its second address is.
    """
    names = dict.fromkeys(["eth0", *addresses.values(), *subnets.values()])
    links = {index: Link(index, name) for index, name in enumerate(names, ETH0)}
    indices = {name: index for index, name in enumerate(names, ETH0)}
    own = {host_prefix(pack_address(address)): name for address, name in addresses.items()}
    found = []
    for text, name in subnets.items():
        prefix = pack_prefix(text)
        inside = [each for each in own if contains(prefix, each)] or [_second(prefix)]
        found += [Address(indices[name], each[:-1], prefix[-1], each[:-1]) for each in inside]
        own = {each: owner for each, owner in own.items() if each not in inside}
    found += [Address(indices[name], each[:-1], each[-1], each[:-1]) for each, name in own.items()]
    return Network(links, tuple(found))


def _second(prefix: bytes) -> bytes:
    return host_prefix((int.from_bytes(prefix[:-1]) + 2).to_bytes(len(prefix) - 1))


def facts(
    *,
    addresses: Mapping[str, str] | None = None,
    subnets: Mapping[str, str] | None = None,
    lookups: Mapping[str, Lookup] | None = None,
    protected: Mapping[str, str] | None = None,
    others: Mapping[str, str] | None = None,
    gateways: Iterable[str] = ("10.0.0.1", "10.0.0.3", "fd00::1"),
    rules: Iterable[Rule] = (),
) -> Facts:
    """Return a node with 10.0.0.2/24 and fd00::2/64 on eth0, which reaches the given gateways in these subnets.

    Args:
        addresses: own addresses, with their interface.
        subnets: connected subnets, with their interface.
        lookups: what the kernel says of an address; added to those of the gateways.
        protected: addresses and CIDRs, with what they are.
        others: the routes of others (see `foreign`); those of the subnets unless they are given.
        gateways: addresses that are looked up.
        rules: policy rules.
    """
    node = network(
        addresses or {"10.0.0.2": "eth0", "fd00::2": "eth0"}, subnets or {"10.0.0.0/24": "eth0", "fd00::/64": "eth0"}
    )
    found = {
        pack_address(address): Lookup(subnet.prefix[-1], ETH0, on_link=True, local=False, ours=False)
        for address in gateways
        for subnet in node.subnets
        if contains(subnet.prefix, host_prefix(pack_address(address)))
    }
    found |= {pack_address(address): lookup for address, lookup in (lookups or {}).items()}
    return Facts(
        node,
        lookups=found,
        protected=protection(protected or {}),
        foreign=foreign(others) if others is not None else foreign({each.prefix: "" for each in node.subnets}),
        rules=tuple(rules),
    )
