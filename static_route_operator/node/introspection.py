"""The introspection API of one node: the state of its objects, gateways and routes."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from static_route_operator.node.inventory import Inventory
from static_route_operator.node.reconciler import Reconciler
from static_route_operator.planning.candidates import candidates, describe_candidate, protection_of
from static_route_operator.planning.desired import describe_desired
from static_route_operator.planning.plan import owner_of
from static_route_operator.routing.description import describe_route
from static_route_operator.routing.prefixes import pack_address


class Introspection:
    """The handlers of the introspection API. They return JSON objects.

    Args:
        inventory: the objects and this node.
        reconciler: the plan, the installed routes and the state of the objects.
    """

    def __init__(self, inventory: Inventory, reconciler: Reconciler) -> None:
        self._inventory = inventory
        self._reconciler = reconciler

    @property
    def handlers(self) -> dict[str, Callable[..., dict[str, Any]]]:
        """Handlers by path (see `HttpServer`)."""
        return {
            "/summary": self.summary,
            "/routes": self.routes,
            "/claims/{address}": self.claims,
            "/wanted": self.desired,
        }

    def summary(self) -> dict[str, Any]:
        """Return the state of the objects and gateways."""
        return self._origin() | {
            "waiting": [
                {"name": route.name, "generation": route.generation}
                for route in self._inventory.gated.values()
                if not route.spec.dry_run
            ],
            "objects": [asdict(row) for row in self._reconciler.rows],
            "gateways": self._reconciler.gateway_report(),
        }

    def routes(self) -> dict[str, Any]:
        """Return the summary and every installed route, with its object."""
        plan, interfaces = self._reconciler.plan, self._reconciler.interfaces
        return self.summary() | {
            "routes": [
                describe_route(key, path, interfaces) | {"object": owner_of(key, plan)}
                for key, path in self._reconciler.installed.in_order()
            ],
        }

    def claims(self, address: str) -> dict[str, Any]:
        """Return the StaticRoutes with a destination that contains an address, and the role of a protected address.

        Raises:
            InvalidPrefixError: the text is not an address.
        """
        rows = {row.name: row for row in self._reconciler.rows}
        packed = pack_address(address)
        found = candidates(self._reconciler.plan, packed)
        return self._origin() | {
            "protected": protection_of(packed, self._reconciler.facts),
            "claims": [describe_candidate(each, rows, self._reconciler.interfaces) for each in found],
        }

    def desired(self) -> dict[str, Any]:
        """Return every desired route, packed; see `describe_desired`."""
        rows = {row.name: row for row in self._reconciler.rows}
        return self._origin() | describe_desired(self._reconciler.plan, rows)

    def _origin(self) -> dict[str, Any]:
        """Return the name of the node, and whether its list of objects is complete."""
        node = self._inventory.node
        return {"node": node.name if node else None, "complete": self._inventory.complete}
