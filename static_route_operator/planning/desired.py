"""JSON form of a node's desired routes and rules, packed because 100,000 routes are common."""

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
    """A StaticRoute and the routes that belong to it.

    Attributes:
        keys: the routes that the StaticRoute has to itself on the node, or leaves as they are.
        message: the message of the StaticRoute's row in the node's report.
    """

    name: str
    keys: KeySet
    message: str


@dataclass(frozen=True, slots=True)
class DesiredState:
    """The routes and rules that should be installed on a node.

    Attributes:
        routes: the desired routes.
        retained: routes that stay as they are if they are installed.
        owners: the StaticRoutes to which the routes belong.
        rules: the policy rules that should be installed, with the names of the StaticRoutes that each is for.
    """

    routes: Routes
    retained: list[KeySet]
    owners: list[Owner]
    rules: Mapping[Rule, tuple[str, ...]]

    def owner(self, key: bytes) -> Owner | None:
        """Return the StaticRoute to which a route belongs; None for a route of none."""
        return next((each for each in self.owners if key in each.keys), None)


def describe_desired(plan: Plan, rows: Mapping[str, Row]) -> dict[str, Any]:
    """Return the desired state of a plan as a JSON object that `parse_desired` reads."""
    return {
        "routes": [
            {"nextHops": _describe_next_hops(next_hops), **_describe_keys(keys)} for next_hops, keys in plan.desired
        ],
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


def parse_desired(data: Mapping[str, Any]) -> DesiredState:
    """Return the desired state that `describe_desired` described."""
    return DesiredState(
        Routes({_parse_next_hops(each["nextHops"]): _parse_keys(each) for each in data["routes"]}),
        [_parse_keys(each) for each in data["held"]],
        [Owner(each["name"], _parse_keys(each), each["message"]) for each in data["owners"]],
        {Rule.from_json(each["rule"]): tuple(each["objects"]) for each in data["rules"]},
    )


def _describe_keys(keys: KeySet) -> dict[str, Any]:
    return {"size": keys.size, "keys": base64.b64encode(keys.packed).decode()}


def _parse_keys(data: Mapping[str, Any]) -> KeySet:
    return KeySet(data["size"], base64.b64decode(data["keys"]))


def _describe_next_hops(next_hops: NextHops) -> dict[str, Any]:
    return {
        "hops": [[hop.gateway.hex(), hop.interface, hop.weight, hop.on_link] for hop in next_hops.hops],
        "source": next_hops.source.hex(),
        "metrics": next_hops.metrics,
        "kind": next_hops.kind,
    }


def _parse_next_hops(data: Mapping[str, Any]) -> NextHops:
    hops = tuple(
        NextHop(bytes.fromhex(gateway), interface, weight, on_link)
        for gateway, interface, weight, on_link in data["hops"]
    )
    metrics = tuple((number, value) for number, value in data["metrics"])
    return NextHops(hops, bytes.fromhex(data["source"]), metrics, data["kind"])
