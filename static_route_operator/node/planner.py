"""Plans of changes: the reconciler's own code on the kernel's tables, with every write captured."""

import asyncio
import logging
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from static_route_operator.api.manifest import parse_routable
from static_route_operator.api.staticroute import StaticRoute
from static_route_operator.errors import InvalidSpecError
from static_route_operator.kernel.dryrun import DryRunFib
from static_route_operator.node.inventory import Inventory
from static_route_operator.node.reconciler import Reconciler
from static_route_operator.planning.changes import Forecast, State, make_forecast

logger = logging.getLogger(__name__)


class Planner:
    """Dry runs of changes to the objects of a reconciler.

    Args:
        inventory: the objects of the reconciler.
        reconciler: at work, or not started.
    """

    def __init__(self, inventory: Inventory, reconciler: Reconciler) -> None:
        self._inventory = inventory
        self._reconciler = reconciler
        # One at a time: each holds all routes of this node.
        self._busy = asyncio.Lock()

    async def answer(self, question: Mapping[str, Any]) -> dict[str, Any]:
        """Return the changes that manifests would make, as a JSON object.

        Args:
            question: ``manifests`` are StaticRoutes as JSON objects; if ``prune`` is true they are all that there are,
                and every other route of this program would be deleted.

        Raises:
            InvalidSpecError: one of the manifests can't be used.
            ValueError: the question has another form.
            KernelError: the kernel can't be asked.
        """
        manifests, prune = question.get("manifests"), bool(question.get("prune"))
        if not isinstance(manifests, list) or not all(isinstance(each, Mapping) for each in manifests):
            raise ValueError("manifests is not a list of objects")
        routes = [parse_routable(each) for each in manifests]
        if duplicates := [name for name, number in Counter(each.name for each in routes).items() if number > 1]:
            raise InvalidSpecError(duplicates[0], "metadata.name", "is given to two objects")
        forecast = await self.forecast(routes, prune=prune)
        node = self._inventory.node
        selected = {row.name for row in forecast.rows}
        return {
            "node": node.name if node else None,
            "complete": prune or self._inventory.complete,
            **forecast.to_json(),
            "notSelected": sorted(route.name for route in routes if route.name not in selected),
        }

    async def forecast(self, routes: Iterable[StaticRoute], *, prune: bool = False) -> Forecast:
        """Return the changes that objects would make: new ones, or other versions of known ones.

        Raises:
            KernelError: the kernel can't be asked.
        """
        routes = list(routes)
        async with self._busy:
            fib = DryRunFib()
            other = self._reconciler.shadow_copy(self._inventory.with_changes(routes, alone=prune), fib)
            known = other.plan
            await other.run_to_end()
        return make_forecast(
            State(known, fib.before, fib.rules.before),
            State(other.plan, fib.after, fib.rules.after),
            other.reported_failures,
            other.rows,
            names={route.name for route in routes},
            interfaces=other.interfaces,
        )
