"""The one loop that writes to the kernel: select, observe, plan, read, diff, permit, apply, report.

The loop is level-based: every run starts from what is known now, so a thousand wake-ups during one run become one more
run. Each part of a run has a module of its own; this one decides their order, and when a run is due.
"""

import asyncio
import errno
import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from static_route_operator.api.noderoutestate import GatewayRow, Row
from static_route_operator.api.nodeselector import selects
from static_route_operator.api.resolution import ResolvedRoute, Version
from static_route_operator.health.gateways import Gateways
from static_route_operator.kernel import unreadable
from static_route_operator.kernel.dryrun import DryRunFib
from static_route_operator.kernel.fib import Fib
from static_route_operator.kernel.messages import DecodedRoute
from static_route_operator.kernel.monitor import Monitor
from static_route_operator.kernel.network import Change, NetworkState
from static_route_operator.kernel.processes import process_name
from static_route_operator.kernel.ruleset import RuleSet
from static_route_operator.node.drift.drift import Drift
from static_route_operator.node.installed import InstalledRoutes
from static_route_operator.node.installedrules import InstalledRules
from static_route_operator.node.inventory import Inventory
from static_route_operator.node.observation import Observation
from static_route_operator.node.reporting import Report
from static_route_operator.node.retries import Retries
from static_route_operator.node.rollback.confirmation import Confirmation
from static_route_operator.node.rows import Outcome, make_rows
from static_route_operator.node.runfailures import RunFailures
from static_route_operator.node.schedule import Schedule
from static_route_operator.observability.metrics import Metrics
from static_route_operator.planning.diff import diff
from static_route_operator.planning.plan import Plan, make_plan
from static_route_operator.planning.targets import Target
from static_route_operator.routing.facts import Facts
from static_route_operator.routing.keys import prefix_of
from static_route_operator.routing.keyset import KeySet, by_family
from static_route_operator.routing.nexthops import PROTOCOL, NextHops
from static_route_operator.routing.prefixes import unpack_prefix
from static_route_operator.routing.protection import Protection
from static_route_operator.routing.routes import Action, Failure, Operation, Routes
from static_route_operator.supervision import AROUND, Backoff

logger = logging.getLogger(__name__)

# Dry runs are not logged.
_silence = logging.getLogger(f"{__name__}.dryrun")
_silence.disabled = True

# Seconds until a foreign route is looked at, which may change the way to a gateway or to a protected address.
FOREIGN_PAUSE = 0.2
# Seconds until a change of a link, an address or a rule is looked at that concerns no gateway and no route of ours.
# Some nodes have a hundred of them per second.
CHANGE_PAUSE = 0.5
# Seconds until a run that failed as a whole is tried again.
ERROR_PAUSE = 1.0
# Seconds until routes that were read incompletely are read again: the first pause, which doubles up to the last.
FIRST_REREAD = 0.5
LAST_REREAD = 30.0


class Reconciler:
    """The loop that keeps the kernel's routes as the inventory desires them.

    Args:
        inventory: the objects and this node; call `wake` when it has changed.
        metrics: of the agent.
        protected: returns the addresses that must stay reachable as they are.
        on_rows: called when the rows have changed.
        confirmation: decides which version of each object is in force; by default the newest.
        resync: seconds between full reads of the kernel's routes.
        fib: the kernel's tables, or a stand-in for them.
        rules: the kernel's policy rules, or a stand-in for them.
        log: receives a line for each transition of a StaticRoute.

    Attributes:
        synced: whether a run with a complete inventory has applied everything but what the kernel refused.
    """

    def __init__(  # noqa: PLR0913  one of each, and none goes with another
        self,
        inventory: Inventory,
        metrics: Metrics,
        *,
        protected: Callable[[], Protection],
        on_rows: Callable[[], None] = lambda: None,
        confirmation: Confirmation | None = None,
        resync: float = 300.0,
        fib: Fib | None = None,
        rules: RuleSet | None = None,
        log: logging.Logger = logger,
    ) -> None:
        self._inventory = inventory
        self._metrics = metrics
        metrics.watch_unreadable(lambda: unreadable.counts)
        self._protected = protected
        self._confirmation = confirmation or Confirmation(inventory, metrics)
        self._confirmation.on_change.connect(self._version_changed)
        self._resync = resync
        self._log = log
        self._fib = fib or Fib()
        self._network = NetworkState(self._network_differs)
        self._observation = Observation(self._fib, self._network, protected)
        self._installed = InstalledRoutes(self._fib)
        self._rules = InstalledRules(rules or RuleSet(self._fib))
        self._drift = Drift(process_name)
        self._retries = Retries(self._fib)
        self._report = Report(inventory, metrics, on_rows, log)
        self._monitor = Monitor(
            lambda: self._fib.port, self._network, self._route_changed, self._node_changed, self._lost_notifications
        )
        self._gateways = Gateways(metrics, self._health_changed)
        self._schedule = Schedule()
        self._rereads = Backoff(FIRST_REREAD, LAST_REREAD, AROUND)
        self._failures = RunFailures(metrics)
        self._busy = asyncio.Lock()
        self._plan = Plan()
        self._planned_for: tuple[tuple[int, int], Facts, frozenset[Target]] | None = None
        self.synced = False

    def wake(self) -> None:
        """Run soon: the objects or this node may have changed."""
        self._observation.outdated = True
        self._schedule.wake()

    async def run(self) -> None:
        """Watch, probe and reconcile until cancelled. The routes stay."""
        self._monitor.start()
        self._gateways.start()
        self._read_again()
        try:
            while True:
                await self._schedule.wait(lambda: self._drift.pause(time.monotonic()))
                self._monitor.drain()
                started = time.monotonic()
                async with self._busy:
                    await self._run_once()
                await self._schedule.rest(time.monotonic() - started)
        finally:
            self._monitor.stop()
            self._gateways.stop()
            self.close()

    async def run_to_end(self) -> None:
        """Reconcile once with what is known, for a program that then ends."""
        try:
            await self._reconcile()
            if self._installed.outdated:
                await self._reconcile()
        finally:
            self.close()

    def close(self) -> None:
        """Cancel the timers and close the sockets; the routes stay."""
        self._schedule.cancel_all()
        self._network.close()
        self._fib.close()

    def shadow_copy(self, inventory: Inventory, fib: DryRunFib) -> "Reconciler":
        """Return a reconciler that knows of this node what this one knows, for a dry run with another inventory."""
        metrics = Metrics()
        other = Reconciler(
            inventory,
            metrics,
            protected=self._protected,
            confirmation=self._confirmation.shadow_copy(inventory, metrics),
            fib=fib,
            rules=fib.rules,
            log=_silence,
        )
        other._plan, other._installed.routes = self._plan, self._installed.routes.copy()
        other._gateways.down = self._gateways.down
        return other

    async def remove_all(self) -> int:
        """Remove every route and rule of this program, and write no more; return the number of routes."""
        # Never released: no run may follow.
        await self._busy.acquire()
        if self._fib.closed:
            # The last run failed.
            self._fib.reopen()
        await self._rules.withdraw(())
        installed = await self._fib.read(self._installed.routes)
        failures = await self._fib.apply(diff(Routes(), installed))
        for key, failure in failures.items():
            logger.error("Route %s can't be removed: %s", unpack_prefix(prefix_of(key)), failure.text)
        return len(installed) - len(failures)

    def show_dry_runs(self, rows: Mapping[Version, Row]) -> None:
        """Report these rows of StaticRoutes with dryRun from the next run on."""
        if self._report.show_dry_runs(rows):
            self._schedule.wake()

    @property
    def plan(self) -> Plan:
        """The desired state of the kernel."""
        return self._plan

    @property
    def installed(self) -> Routes:
        """The installed routes of this program, as far as they are known."""
        return self._installed.routes

    @property
    def reported_failures(self) -> Mapping[bytes, Failure]:
        """The kernel's refusals by key; the first conflicts name the route that holds the place."""
        return self._retries.reported

    @property
    def rows(self) -> tuple[Row, ...]:
        """The row of each object that selects this node, by name."""
        return self._report.rows

    @property
    def gateways(self) -> tuple[GatewayRow, ...]:
        """The health of each gateway that is probed."""
        return self._report.gateways

    @property
    def interfaces(self) -> Mapping[int, str]:
        """The names of the node's interfaces by index."""
        return self.facts.interfaces

    @property
    def facts(self) -> Facts:
        """The facts of this node at the last look; without any before the first."""
        return self._observation.facts or Facts()

    def gateway_report(self) -> list[dict[str, Any]]:
        """Return the measurements of each gateway's probes, as JSON objects."""
        return self._gateways.report()

    # Notifications.

    def _route_changed(self, route: DecodedRoute, gone: bool, port: int) -> None:
        if route.protocol != PROTOCOL:
            self._foreign_route_changed(route, gone, port)
            return
        self._metrics.drift.inc()
        if gone or route.key not in self._plan.desired.through(route.next_hops):
            self._drift.noticed(route.key, None if gone else route.protocol, port, time.monotonic())
        self._installed.note(route, gone=gone, busy=self._busy.locked())
        if not gone and route.key in self._retries.failures:
            self._retries.due = True
        # A route change does not invalidate the node facts; not reading them again saves time.
        self._schedule.wake()

    def _foreign_route_changed(self, route: DecodedRoute, gone: bool, port: int) -> None:
        self._observation.foreign.changed()
        self._retries.forget_holder(route.key)
        beside = self._installed.beside(route)
        if not gone and beside:
            # The foreign route has replaced ours, or stands beside it: only a read shows which.
            if route.key in beside:
                self._metrics.drift.inc()
                self._drift.suspect(route.key, route.protocol, port)
            self._installed.endanger(beside, route)
            self.wake()
        elif gone and (self._installed.relieve(beside) or route.key in self._retries.failures):
            self._installed.doubt()
            self._retry()
        elif self._observation.leads(prefix_of(route.key)):
            self.wake()
        elif self._observation.is_touched_by(prefix_of(route.key)):
            self._schedule.after("foreign", FOREIGN_PAUSE, self.wake)

    def _node_changed(self, change: Change) -> None:
        self._observation.foreign.changed()
        self._installed.check()
        if change.rule is not None and change.rule.ours:
            self._rules.changed()
        if self._observation.drops(change):
            self._installed.doubt()
        if self._observation.concerns(change):
            self._retries.forget_holders()
            self.wake()
        else:
            self._schedule.after("change", CHANGE_PAUSE, self._look_again)

    def _look_again(self) -> None:
        if self._installed.conflicting or self._retries.conflicts():
            # The foreign routes in the way may have gone without a notification.
            self._installed.doubt()
            self._retries.forget_holders()
        self.wake()

    def _network_differs(self) -> None:
        # A notification was lost, and with it what it says of the routes.
        self._installed.doubt()
        self._retries.forget_holders()
        self.wake()

    def _lost_notifications(self) -> None:
        self._metrics.monitor_overflows.inc()
        logger.warning("Notifications of the kernel were lost; reading its routes again")
        self._network.read_again()
        self._doubt_everything()

    def _read_again(self) -> None:
        self._network.read_again()
        self._doubt_everything()
        self._schedule.after("resync", AROUND.of(self._resync), self._read_again)

    def _doubt_everything(self) -> None:
        self._rules.doubt()
        self._observation.foreign.changed()
        self._retries.forget_holders()
        self._installed.doubt(survey=True)
        self.wake()

    def _check(self) -> None:
        self._installed.check()
        self._schedule.wake()

    def _retry(self) -> None:
        self._retries.due = True
        self.wake()

    def _health_changed(self, turned: bool) -> None:
        # The health of a gateway does not invalidate the node facts; not reading them again saves time.
        if turned:
            self._schedule.hurry()
        else:
            self._schedule.wake()

    def _version_changed(self) -> None:
        self._schedule.hurry()

    # One run.

    async def _run_once(self) -> None:
        try:
            with self._metrics.reconcile_duration.time():
                if self._fib.closed:
                    self._fib.reopen()
                    self._monitor.own_port_changed()
                await self._reconcile()
        except Exception as error:  # noqa: BLE001  a defect must not end the care for the routes: the next run may succeed
            self._failures.add(error)
            self._start_over()
        else:
            self._failures.end()
            if self._installed.outdated:
                self.wake()
            elif self._installed.incomplete:
                self._schedule.after("incomplete", next(self._rereads), self._read_routes_again)
            else:
                self._rereads.reset()

    def _start_over(self) -> None:
        # A late answer on the old socket could pass for that of another request.
        self._fib.close()
        self._installed.doubt()
        self._observation.outdated = True
        self._schedule.after("error", ERROR_PAUSE, self.wake)
        if text := self._failures.text:
            selected, undecided = self._select()
            self._report.fail([*selected, *undecided], text)

    def _read_routes_again(self) -> None:
        self._installed.doubt()
        self._schedule.wake()

    async def _reconcile(self) -> None:
        # Taken before anything is awaited: what comes in meanwhile belongs to the next run.
        complete, version = self._inventory.complete, (self._inventory.version, self._confirmation.version)
        selected, undecided = self._select()
        known = self._observation.facts
        facts = await self._observe(selected, version)
        await self._make_plan(selected, facts, version)
        read = self._installed.outdated
        if await self._installed.refresh(self._plan.desired):
            self._retries.due = True
        self._retries.begin(self._installed.conflicting, self._plan.desired)
        waiting = self._drift.waiting(time.monotonic())
        dead_ends = facts.dead_ends(self._installed.routes)
        operations, sure = self._diff(waiting, dead_ends, complete=complete)
        operations = self._confirmation.permitted(operations, dead_ends, complete=sure)
        await self._confirmation.begin(self._plan, operations)
        if sure and not self._inventory.unsynced and await self._rules.withdraw(self._plan.rules):
            # One of them may have led the packets to a gateway elsewhere.
            self.wake()
        await self._apply(operations, looked=facts is not known, read=read)
        if self._observation.affects(operations):
            self.wake()
        if self._installed.outdated:
            # The outcome is not known; the next run follows at once.
            return
        if refused := await self._rules.install(self._plan, self._installed.routes):
            self._retry_later(refused)
        self._settle(waiting)
        self._observation.follow(self._installed.routes)
        self._confirmation.settle(self._plan, self._installed.routes, complete=complete)
        await self._retries.describe(facts.interfaces)
        self._tell(undecided)
        if complete:
            self.synced = True
            self._metrics.synced.set(1)
            self._metrics.last_success.set_to_current_time()

    def _select(self) -> tuple[list[ResolvedRoute], list[ResolvedRoute]]:
        """Return the objects for this node, and those that may be for it: its labels are not known yet."""
        node = self._inventory.node
        routes = list(self._confirmation.in_force(self._inventory.routes.values()))
        if node is None:
            return (
                [route for route in routes if not route.spec.selective],
                [route for route in routes if route.spec.selective],
            )
        return [route for route in routes if selects(route.spec.node_selector, node)], []

    async def _observe(self, selected: Sequence[ResolvedRoute], version: tuple[int, int]) -> Facts:
        facts = await self._observation.look(selected, version)
        if self._observation.look_again:
            self._schedule.after("foreign routes", self._observation.look_again, self.wake)
        return facts

    async def _make_plan(self, selected: Sequence[ResolvedRoute], facts: Facts, version: tuple[int, int]) -> None:
        """Plan again if the objects, the facts or the health of a gateway have changed."""
        inputs = (version, facts, self._gateways.down)
        if self._planned_for == inputs:
            return
        before, rules = self._plan, await self._rules.read()
        installed = self._installed.routes
        claims = facts.protected.claims
        if self._planned_for is None and claims is not None and any(claims.meet(route.keys) for route in selected):
            # New claims do not count against the routes that an earlier process has installed.
            installed = await self._fib.read()
        self._plan = make_plan(
            selected,
            facts,
            before,
            node=self._inventory.node,
            down=self._gateways.down,
            rules=rules,
            installed=installed,
        )
        if self._plan.desired != before.desired:
            self._drift.release()
        self._planned_for = inputs
        self._gateways.want(self._plan.targets, facts.links)
        self._retries.due = True

    def _diff(
        self, waiting: Sequence[KeySet], dead_ends: Collection[NextHops], *, complete: bool
    ) -> tuple[list[Operation], bool]:
        """Return the operations that are missing, and whether enough is known to delete routes."""
        installed, unsynced = self._installed, self._inventory.unsynced
        if not (unsynced and self.synced):
            installed.stale = ()
        operations = diff(
            self._plan.desired,
            installed.routes,
            retained=[*self._plan.retained, *installed.stale],
            skip=[*by_family(self._retries.failures), *waiting],
            dead_ends=dead_ends,
        )
        sure = complete and (self.synced or not unsynced)
        if not sure:
            # Routes found at the start may belong to a version not seen yet; retain them until the list is complete.
            installed.stale = [
                keys for action, next_hops, keys in operations if action is Action.DELETE and next_hops not in dead_ends
            ]
        return operations, sure

    async def _apply(self, operations: Sequence[Operation], *, looked: bool, read: bool) -> None:
        """Carry out operations, and decide what is known after them.

        Args:
            operations: in order.
            looked: whether this run has looked at the node.
            read: whether this run has read the installed routes.
        """
        failures = await self._change(operations)
        for action, _, keys in operations:
            self._metrics.operations.labels(action.value).inc(len(keys))
        for keys in self._drift.restored(operations, failures, time.monotonic(), time.time()):
            self._metrics.drift_repairs.inc(len(keys))
        if not failures:
            return
        self._metrics.operation_failures.inc(len(failures))
        for key, failure in failures.items():
            if key not in self._plan.desired:
                self._log.error("Route %s can't be removed: %s", unpack_prefix(prefix_of(key)), failure.text)
        surprising = any(failure.errno in {errno.EEXIST, errno.ENOENT} for failure in failures.values())
        if not looked or (surprising and not read):
            # The kernel differs from what was known: the next run looks and reads first, and then knows whether the
            # gateway can be reached, and whose route stands there.
            self._installed.doubt()
            self._observation.outdated = True
            return
        if any(key in keys for action, _, keys in operations if action is not Action.ADD for key in failures):
            self._installed.doubt()
        self._retry_later(failures)

    async def _change(self, operations: Sequence[Operation]) -> dict[bytes, Failure]:
        if not operations:
            return {}
        with self._metrics.operations_duration.time():
            return await self._installed.apply(operations)

    def _retry_later(self, failures: Mapping[bytes, Failure]) -> None:
        self._schedule.after("retry", self._retries.add(failures), self._retry)

    def _settle(self, waiting: Sequence[KeySet]) -> None:
        """Run again when a pause of flap damping ends."""
        now = time.monotonic()
        change = self._drift.settle(waiting, self._retries.failures, now)
        self._schedule.cancel("damping")
        if change is not None:
            self._schedule.after("damping", change - now, self.wake)
        self._retries.settle()
        if self._installed.check_after:
            self._schedule.after("check", self._installed.check_after, self._check)

    def _tell(self, undecided: Sequence[ResolvedRoute]) -> None:
        """Report the outcome of the run."""
        flapping = self._drift.flapping
        self._metrics.desired_routes.set(len(self._plan.desired))
        self._metrics.installed_routes.set(len(self._installed.routes))
        self._metrics.failed_routes.set(len(self._retries.failures))
        self._metrics.newly_protected_routes.set(sum(each.tolerated for each in self._plan.objects))
        self._metrics.conflicting_routes.set(len({*self._retries.conflicts(), *self._installed.shadowing}))
        self._metrics.flapping_routes.set(sum(len(each.keys) for each in flapping))
        health = {target: each.state for target, each in self._gateways.health().items()}
        outcome = Outcome(
            self._installed.routes,
            self._retries.reported,
            flapping,
            health,
            self._gateways.hints(),
            shadowing=self._installed.shadowing,
            interfaces=self.interfaces,
        )
        invalid = [(each.error, each.generation) for each in self._inventory.invalid.values()]
        rows = make_rows(self._plan, outcome, undecided, invalid)
        self._report.update(self._confirmation.rows(rows), self._gateways.rows())
