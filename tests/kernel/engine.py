"""The reconciler on a machine, fed by hand: an agent without the cluster."""

import asyncio
import contextlib
from collections.abc import Callable

from static_route_operator.api.noderoutestate import Row
from static_route_operator.api.nodeselector import Node
from static_route_operator.api.staticroute import StaticRoute
from static_route_operator.node.introspection import Introspection
from static_route_operator.node.inventory import Inventory
from static_route_operator.node.reconciler import Reconciler
from static_route_operator.node.rollback.confirmation import Confirmation
from static_route_operator.observability.metrics import PREFIX, Metrics
from static_route_operator.routing.protection import Protection
from tests.kernel.machine import PATIENCE, Machine


class Engine:
    """A reconciler that runs, with its inventory.

    Args:
        machine: what it works on; this process must be on it.
        node: the node as the inventory knows it.
        confirmation: makes the confirmation; without roll-back unless given.
        resync: seconds between full reads.

    Attributes:
        protected: addresses that must stay reachable; asked in each run.
    """

    def __init__(
        self,
        machine: Machine,
        node: Node | None,
        confirmation: Callable[[Inventory, Metrics], Confirmation] = Confirmation,
        resync: float = 3600.0,
    ) -> None:
        self.machine = machine
        self.inventory = Inventory()
        self.metrics = Metrics()
        self.protected: Callable[[], Protection] = Protection
        self.confirmation = confirmation(self.inventory, self.metrics)
        self.reconciler = Reconciler(
            self.inventory,
            self.metrics,
            confirmation=self.confirmation,
            protected=lambda: self.protected(),  # noqa: PLW0108  a test may set another
            resync=resync,
        )
        self.questions = Introspection(self.inventory, self.reconciler)
        self.inventory.on_change.connect(self.reconciler.wake)
        self._version = 0
        self._tasks: list[asyncio.Task[None]] = []
        if node is not None:
            self.inventory.set_node(node)

    def start(self) -> None:
        """Run the reconciler in the background."""
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self.reconciler.run()), loop.create_task(self.confirmation.run())]

    async def stop(self) -> None:
        """End the reconciler, if it runs; the routes stay."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        await self.confirmation.stop()

    def put(self, *routes: StaticRoute) -> None:
        """Set the state of these objects."""
        for route in routes:
            self._version += 1
            self.inventory.put(route, self._version)

    def remove(self, name: str) -> None:
        """Remove the object."""
        self.inventory.remove(f"uid-{name}")

    def complete(self) -> None:
        """Apply a complete list: there are no other objects than those that were put."""
        listed = dict.fromkeys([*self.inventory.routes, *self.inventory.invalid], self._version)
        self.inventory.replace(listed, self._version)

    async def settle(self, *routes: StaticRoute) -> None:
        """Set the state of these objects, without any others, and wait until all are programmed."""
        self.put(*routes)
        self.complete()
        for route in routes:
            await self.state_is(route.name, "Programmed", route.generation)

    def operations(self) -> dict[str, float]:
        """Return the number of routes written so far, by operation."""
        return {action: self.count("operations_total", action=action) for action in ("add", "replace", "delete")}

    async def until(self, condition: Callable[[], object], what: str) -> None:
        """Let the reconciler work until a condition holds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                while not condition():  # noqa: ASYNC110  what the kernel does, no event tells
                    await asyncio.sleep(0.01)
                # Once is enough: a program that removes routes may be back already.
                return
        assert condition(), f"waited in vain until {what}; routes {self.machine.routes()}, rows {self.reconciler.rows}"

    async def routes_are(self, expected: dict[str, str]) -> None:
        """Let the reconciler work until the kernel has exactly these routes of ours (see `Machine.routes`)."""
        await self.until(lambda: self.machine.routes() == expected, f"routes are {expected}")

    async def state_is(self, name: str, state: str, generation: int | None = None) -> Row:
        """Let the reconciler work until an object's row has this state and generation; return the row."""

        def reached() -> bool:
            row = self.row(name)
            return row is not None and row.state == state and generation in {None, row.generation}

        await self.until(reached, f"{name} is {state}")
        row = self.row(name)
        assert row is not None
        return row

    def row(self, name: str) -> Row | None:
        """Return the row of an object; None without one."""
        return next((row for row in self.reconciler.rows if row.name == name), None)

    async def rest(self) -> None:
        """Let the reconciler work until it has been idle for a while."""
        runs, idle = -1.0, 0
        while idle < 8:
            await asyncio.sleep(0.05)
            before, runs = runs, self.count("reconcile_duration_seconds_count")
            idle = idle + 1 if runs == before else 0

    def count(self, name: str, **labels: str) -> float:
        """Return the value of a metric; 0 if there is none yet."""
        return self.metrics.registry.get_sample_value(f"{PREFIX}_{name}", labels) or 0.0
