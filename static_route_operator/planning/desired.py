"""What a node should have, told from one process to another: packed, since 100,000 routes are no rarity."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from static_route_operator.api.noderoutestate import Row
from static_route_operator.planning.plan import Plan
from static_route_operator.routing.keyset import KeySet
from static_route_operator.routing.nexthops import NextHop, NextHops
from static_route_operator.routing.routes import Routes
from static_route_operator.routing.rules import Rule


@dataclass(frozen=True, slots=True)
class Owner:
    """A StaticRoute, as one who compares has to know it.

    Attributes:
        name: its name.
        keys: of the routes that it has to itself on the node, or leaves as they are.
        message: what the node says of it.
    """

    name: str
    keys: KeySet
    message: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a node should have.

    Attributes:
        routes: all of them.
        retained: those that stay as they are if they are there.
        owners: the StaticRoutes they belong to.
        rules: the policy rules that should be installed, with the names of the StaticRoutes that each is for.
    """

    routes: Routes
    retained: list[KeySet]
    owners: list[Owner]
    rules: Mapping[Rule, tuple[str, ...]]

    def owner(self, key: bytes) -> Owner | None:
        """The StaticRoute that a route belongs to."""
        return next((each for each in self.owners if key in each.keys), None)


def describe_wanted(plan: Plan, rows: Mapping[str, Row]) -> dict[str, Any]:
    """What a plan wants, as a JSON object that `parse_wanted` reads."""
    return {
        "routes": [{"path": _describe_path(path), **_describe_keys(keys)} for path, keys in plan.desired],
        "held": [_describe_keys(keys) for keys in plan.retained],
        "owners": [
            {
                "name": each.route.name,
                "message": rows[each.route.name].message if each.route.name in rows else "",
                **_describe_keys(each.keys or each.retained),
            }
            for each in plan.objects
        ],
        "rules": [{"rule": rule.to_json(), "objects": names} for rule, names in plan.rules.items()],
    }


def parse_wanted(told: Mapping[str, Any]) -> Wanted:
    """Read what `describe_wanted` told."""
    return Wanted(
        Routes({_parse_path(each["path"]): _parse_keys(each) for each in told["routes"]}),
        [_parse_keys(each) for each in told["held"]],
        [Owner(each["name"], _parse_keys(each), each["message"]) for each in told["owners"]],
        {Rule.from_json(each["rule"]): tuple(each["objects"]) for each in told["rules"]},
    )


def _describe_keys(keys: KeySet) -> dict[str, Any]:
    return {"size": keys.size, "keys": base64.b64encode(keys.packed).decode()}


def _parse_keys(told: Mapping[str, Any]) -> KeySet:
    return KeySet(told["size"], base64.b64decode(told["keys"]))


def _describe_path(path: NextHops) -> dict[str, Any]:
    return {
        "hops": [[hop.gateway.hex(), hop.interface, hop.weight, hop.on_link] for hop in path.hops],
        "source": path.source.hex(),
        "metrics": path.metrics,
        "blackhole": path.blackhole,
    }


def _parse_path(told: Mapping[str, Any]) -> NextHops:
    hops = tuple(
        NextHop(bytes.fromhex(gateway), interface, weight, on_link)
        for gateway, interface, weight, on_link in told["hops"]
    )
    metrics = tuple((number, value) for number, value in told["metrics"])
    return NextHops(hops, bytes.fromhex(told["source"]), metrics, told["blackhole"])
