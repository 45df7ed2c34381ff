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

# Seconds between two plans of dry runs at least, and at most: kernel and gateways change without notice here.
PAUSE = 2.0
AGAIN = 30.0


class DryRuns:
    """The plans of the objects with ``spec.dryRun``, kept up to date.

    Args:
        inventory: the objects.
        reconciler: reports the rows.
        planner: plans for the same reconciler.
    """

    def __init__(self, inventory: Inventory, reconciler: Reconciler, planner: Planner) -> None:
        self._inventory = inventory
        self._reconciler = reconciler
        self._planner = planner
        self._changed = asyncio.Event()

    def wake(self) -> None:
        """Plan soon: the objects may have changed."""
        self._changed.set()

    async def run(self) -> None:
        """Plan until cancelled; without dry runs nothing is planned."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(AGAIN if self._inventory.dry_runs else None):
                    await self._changed.wait()
            self._changed.clear()
            try:
                await self.plan()
            except (KernelError, OSError) as error:
                logger.warning("Dry runs failed and are tried again: %s", error)
            await asyncio.sleep(PAUSE)

    async def plan(self) -> None:
        """Report the changes that the dry runs would make now.

        Raises:
            KernelError: the kernel can't be asked.
        """
        routes = self._inventory.dry_runs if self._inventory.complete else []
        rows: dict[Version, Row] = {}
        if routes:
            forecast = await self._planner.forecast(
                [dataclasses.replace(route.spec, dry_run=False) for route in routes]
            )
            rows = {route.version: row for route in routes if (row := dry_run_row(route, forecast)) is not None}
        self._reconciler.show_dry_runs(rows)
