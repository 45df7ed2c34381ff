"""Rows of StaticRoutes with dryRun, planned without writing."""

import asyncio
import contextlib
import dataclasses

from static_route_operator.api.noderoutestate import Row
from static_route_operator.api.resolution import Version
from static_route_operator.errors import KernelError
from static_route_operator.node.inventory import Inventory
from static_route_operator.node.planner import Planner, logger
from static_route_operator.node.reconciler import Reconciler
from static_route_operator.planning.changes import dry_run_row

# From one rehearsal of dry runs to the next, at the least, and without any sign of a change. Seconds.
PAUSE = 2.0
AGAIN = 30.0


class DryRuns:
    """Keeps told what the objects with ``spec.dryRun`` would do here.

    Args:
        inventory: the objects.
        reconciler: tells it in its rows.
        planner: of the same.
    """

    def __init__(self, inventory: Inventory, reconciler: Reconciler, planner: Planner) -> None:
        self._inventory = inventory
        self._reconciler = reconciler
        self._planner = planner
        self._changed = asyncio.Event()

    def wake(self) -> None:
        """The objects may have changed."""
        self._changed.set()

    async def run(self) -> None:
        """Rehearse until cancelled; of no dry run it costs nothing."""
        while True:
            with contextlib.suppress(TimeoutError):
                # Of the kernel and of gateways nothing is told here.
                async with asyncio.timeout(AGAIN if self._inventory.dry_runs else None):
                    await self._changed.wait()
            self._changed.clear()
            try:
                await self.rehearse()
            except (KernelError, OSError) as error:
                logger.warning("Dry runs can't be told, and are tried again: %s", error)
            await asyncio.sleep(PAUSE)

    async def rehearse(self) -> None:
        """Tell what they would do now."""
        routes = self._inventory.dry_runs if self._inventory.complete else []
        rows: dict[Version, Row] = {}
        if routes:
            forecast = await self._planner.forecast(
                [dataclasses.replace(route.spec, dry_run=False) for route in routes]
            )
            rows = {route.version: row for route in routes if (row := dry_run_row(route, forecast)) is not None}
        self._reconciler.show_dry_runs(rows)
