"""The one loop that writes to the kernel: plan, diff, apply, whenever anything has changed.

It is level-based: every run starts from what is known now, so a thousand wake-ups during one run become one more run.
What is in the kernel is known from a full read, then from the outcomes of our own changes and the notifications about
everybody else's; whatever casts doubt on that knowledge makes the next run read again.
"""

import asyncio
import contextlib
import dataclasses
import errno
import logging
import os
import random
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from static_route_operator.api.noderoutestate import SEVERITY, GatewayRow, Reason, Row, RowState
from static_route_operator.api.nodeselector import selects
from static_route_operator.api.resolution import ResolvedRoute, Version
from static_route_operator.errors import KernelError
from static_route_operator.health.gateways import Gateways
from static_route_operator.kernel.dryrun import DryRunFib
from static_route_operator.kernel.fib import Fib
from static_route_operator.kernel.foreigncache import ForeignRouteCache
from static_route_operator.kernel.messages import DecodedRoute
from static_route_operator.kernel.monitor import Monitor
from static_route_operator.kernel.multipath import mark_shared, part
from static_route_operator.kernel.processes import process_name
from static_route_operator.kernel.rulebook import RuleBook
from static_route_operator.node.drift.damping import Actor, FlapDamping
from static_route_operator.node.drift.holddown import HoldDown
from static_route_operator.node.drift.repairs import PendingRepairs
from static_route_operator.node.inventory import Inventory
from static_route_operator.node.rollback.confirmation import Confirmation
from static_route_operator.node.rows import Outcome, make_rows, with_dry_runs
from static_route_operator.observability.metrics import Metrics
from static_route_operator.planning.diff import diff
from static_route_operator.planning.plan import Plan, make_plan
from static_route_operator.planning.targets import Target
from static_route_operator.routing.facts import Facts
from static_route_operator.routing.foreign import ForeignRib
from static_route_operator.routing.keys import IPV4_KEY_SIZE, TABLE_MAIN, prefix_of
from static_route_operator.routing.keyset import KeySet, by_family
from static_route_operator.routing.nexthops import PROTOCOL, NextHops
from static_route_operator.routing.prefixes import unpack_prefix
from static_route_operator.routing.protection import Protection
from static_route_operator.routing.routes import Action, Failure, Operation, Routes

logger = logging.getLogger(__name__)

# Of what is only rehearsed nothing is logged.
_silence = logging.getLogger(f"{__name__}.rehearsal")
_silence.disabled = True

# A burst of events (a `kubectl apply` of many objects) becomes one run. Seconds.
COALESCE = 0.005
# While runs take long, as much time again is left to everything else, up to this. Seconds.
MOST_PAUSE = 0.1
# A foreign route may change what a gateway or a protected address resolves to; no hurry. Seconds.
FOREIGN_PAUSE = 0.2
# What the kernel refused is tried again after 1, 2, 4, … seconds, for ever.
FIRST_RETRY = 1.0
LAST_RETRY = 60.0

# Conflicts for which the kernel is asked who holds the place; of the rest the number is told.
MOST_HOLDERS = 8


class Reconciler:
    """Keeps the kernel's routes what the inventory wants.

    Args:
        inventory: the objects and this node; call `wake` when it has changed.
        metrics: where to count.
        protected: asked in each run for what must stay reachable as it is.
        on_rows: called when the rows have changed.
        confirmation: decides which version of each object is in force; each newest one unless given.
        resync: seconds between full reads of the kernel's routes that nothing asked for.
        fib: the kernel's tables, or what stands in for them.
        log: what became of each object.

    Attributes:
        told_failures: by key, what the kernel refused; of the first conflicts with the words for who holds the place.
        rows: what became of each object that selects this node, by name.
        gateways: the health of each gateway that is probed.
        synced: the last run with a complete inventory left nothing undone but what the kernel refused.
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
        log: logging.Logger = logger,
    ) -> None:
        self._inventory = inventory
        self._metrics = metrics
        self._protected = protected
        self._on_rows = on_rows
        self._confirmation = confirmation or Confirmation(inventory, metrics)
        self._confirmation.on_change = self._verdict
        self._resync = resync
        self._log = log
        self._fib = fib or Fib()
        self._foreign = ForeignRouteCache(self._fib)
        self._rules = RuleBook(self._fib)
        self._monitor = Monitor(
            lambda: self._fib.port, self._route_changed, self._node_changed, self._lost_notifications
        )
        self._wake = asyncio.Event()
        self._urgent = asyncio.Event()
        self._gateways = Gateways(metrics, self._health_changed)
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._installed = Routes()
        self._seen: dict[bytes, NextHops | None] = {}
        self._repairs = PendingRepairs()
        self._actor = Actor(0)
        self._damping = FlapDamping()
        self._hold_down = HoldDown()
        self._stale = True
        self._unsure = True
        self._failures: dict[bytes, Failure] = {}
        self._shadowed: set[bytes] = set()
        self._conflicting: dict[bytes, Failure] = {}
        self._stale_routes: list[KeySet] = []
        self._survey = True
        self._retry = True
        self._retry_delay = FIRST_RETRY
        self._planned_for: tuple[tuple[int, int], Facts, frozenset[Target]] | None = None
        self._plan = Plan()
        self._busy = asyncio.Lock()
        self._dry_run_rows: Mapping[Version, Row] = {}
        self.rows: tuple[Row, ...] = ()
        self.gateways: tuple[GatewayRow, ...] = ()
        self.told_failures: Mapping[bytes, Failure] = {}
        self.synced = False

    def wake(self) -> None:
        """Something may have changed: run soon."""
        self._unsure = True
        self._wake.set()

    async def run(self) -> None:
        """Watch, probe and reconcile until cancelled. The routes stay."""
        self._monitor.start()
        self._gateways.start()
        self._read_again()
        try:
            while True:
                await self._wake.wait()
                while not self._urgent.is_set() and (pause := self._hold_down.pause(time.monotonic())):  # noqa: ASYNC110  what is waited for is that nothing comes
                    await asyncio.sleep(pause)
                self._wake.clear()
                started = time.monotonic()
                async with self._busy:
                    await self._run_once()
                await self._pause(min(max(COALESCE, time.monotonic() - started), MOST_PAUSE))
        finally:
            self._monitor.stop()
            self._gateways.stop()
            self.close()

    async def _pause(self, seconds: float) -> None:
        """Leave others the time, unless traffic is being lost."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._urgent.wait()
        self._urgent.clear()

    async def run_to_end(self) -> None:
        """Reconcile once with what is known, for a program that then ends."""
        try:
            await self._reconcile()
            if self._stale:
                await self._reconcile()
        finally:
            self.close()

    def close(self) -> None:
        """End what is under way; the routes stay."""
        for timer in self._timers.values():
            timer.cancel()
        self._fib.close()

    def shadow_copy(self, inventory: Inventory, rehearsal: DryRunFib) -> "Reconciler":
        """A reconciler that knows of this node what this one knows, but has another inventory and only rehearses."""
        metrics = Metrics()
        other = Reconciler(
            inventory,
            metrics,
            protected=self._protected,
            confirmation=self._confirmation.shadow_copy(inventory, metrics),
            fib=rehearsal,
            log=_silence,
        )
        other._plan, other._installed = self._plan, self._installed.copy()
        other._gateways.down = self._gateways.down
        return other

    async def remove_all(self) -> int:
        """Remove every route of ours from the kernel, and write no more; how many there were."""
        # Never released: no run may follow.
        await self._busy.acquire()
        await self._rules.retain(())
        installed = await self._fib.read()
        failures = await self._fib.apply(diff(Routes(), installed))
        for key, failure in failures.items():
            logger.error("Route %s can't be removed: %s", unpack_prefix(prefix_of(key)), failure.text)
        return len(installed) - len(failures)

    def show_dry_runs(self, rows: Mapping[Version, Row]) -> None:
        """Tell of objects that are only rehearsed what would become of them."""
        if rows != self._dry_run_rows:
            self._dry_run_rows = rows
            self._wake.set()

    @property
    def plan(self) -> Plan:
        """What should be in the kernel."""
        return self._plan

    @property
    def installed(self) -> Routes:
        """What is in the kernel of ours, as far as is known."""
        return self._installed

    @property
    def interfaces(self) -> Mapping[int, str]:
        """Names of the node's interfaces by index."""
        return self._planned_for[1].interfaces if self._planned_for else {}

    def gateway_report(self) -> list[dict[str, Any]]:
        """What the probes of each gateway have measured, as JSON objects."""
        return self._gateways.report()

    # Notifications.

    def _route_changed(self, route: DecodedRoute, gone: bool, port: int) -> None:
        if route.protocol != PROTOCOL:
            self._foreign.changed()
        if route.protocol == PROTOCOL:
            self._metrics.drift.inc()
            if gone or route.key not in self._plan.desired.through(route.path):
                self._hold_down.lost(time.monotonic())
                self._note_loss(route, gone, port)
            if self._busy.locked() or self._is_part(route, gone):
                # A read or a change is under way: whether it came before or after this can't be told. Or there are
                # several next hops: whose they are a read has to find out.
                self._stale = True
            else:
                self._seen[route.key] = None if gone else route.path
                self._retry = self._retry or (not gone and route.key in self._failures)
            # It says nothing about the node, so what is known of that stands: the route is back the sooner.
            self._wake.set()
        elif not gone and route.key in self._installed:
            # It replaced ours, or stands beside it: only a read can tell.
            self._metrics.drift.inc()
            self._note_loss(route, gone, port)
            if len(route.key) == IPV4_KEY_SIZE:
                self._shadowed.add(route.key)
            self._stale = True
            self.wake()
        elif gone and (route.key in self._failures or route.key in self._shadowed):
            self._stale = True
            self._retry_now()
        else:
            self._after("foreign", FOREIGN_PAUSE, self.wake)

    def _is_part(self, route: DecodedRoute, gone: bool) -> bool:
        """Whether the kernel tells of one of several IPv6 routes that it has made one."""
        if len(route.key) == IPV4_KEY_SIZE:
            return False
        return len(route.path.hops) > 1 or (gone and route.key not in self._installed.through(route.path))

    def _note_loss(self, route: DecodedRoute, gone: bool, port: int) -> None:
        """Remember who may have taken a route away, until it has been put back."""
        # What the kernel takes away goes with a link or an address: that is nobody's doing.
        if port:
            protocol = None if gone else route.protocol
            if (port, protocol) != (self._actor.port, self._actor.protocol):
                self._actor = Actor(port, process_name(port), protocol)
            self._repairs.note(route.key, self._actor)

    def _node_changed(self, lossy: bool) -> None:
        self._rules.changed()
        self._foreign.changed()
        self._stale = self._stale or lossy
        self.wake()

    def _lost_notifications(self) -> None:
        self._metrics.monitor_overflows.inc()
        logger.warning("Notifications of the kernel were lost; reading its routes again")
        self._rules.forget()
        self._foreign.changed()
        self._stale = self._survey = True
        self.wake()

    def _read_again(self) -> None:
        self._foreign.changed()
        self._stale = self._survey = True
        self.wake()
        self._after("resync", self._resync * random.uniform(0.8, 1.2), self._read_again)  # noqa: S311  jitter, no secret

    def _retry_now(self) -> None:
        self._retry = True
        self.wake()

    def _after(self, name: str, delay: float, action: Callable[[], None]) -> None:
        """Call an action later, unless it is due already."""
        timer = self._timers.get(name)
        if timer is None or timer.when() <= asyncio.get_running_loop().time():
            self._timers[name] = asyncio.get_running_loop().call_later(delay, action)

    def _health_changed(self, turned: bool) -> None:
        if turned:
            self._urgent.set()
        # It says nothing about this node, so what is known of that stands: the routes are moved the sooner.
        self._wake.set()

    def _verdict(self) -> None:
        # As above.
        self._urgent.set()
        self._wake.set()

    # One run.

    async def _run_once(self) -> None:
        try:
            with self._metrics.reconcile_duration.time():
                await self._reconcile()
        except (KernelError, OSError) as error:
            self._metrics.reconcile_errors.inc()
            logger.error("Reconciling failed and is tried again: %s", error)  # noqa: TRY400  its text says it all
            self._start_over()
        except Exception:
            # A defect must not end the care for the routes: it is told in full, and the next run may be luckier.
            self._metrics.reconcile_errors.inc()
            logger.exception("Reconciling failed and is tried again")
            self._start_over()
        else:
            if self._stale:
                self.wake()

    def _start_over(self) -> None:
        self._fib.reopen()
        self._monitor.own_port_changed()
        self._stale = self._unsure = True
        self._after("error", FIRST_RETRY, self.wake)

    async def _reconcile(self) -> None:
        inventory = self._inventory
        complete, version = inventory.complete, (inventory.version, self._confirmation.version)
        selected, undecided = self._select()
        known = self._planned_for[1] if self._planned_for else None
        facts = await self._look(selected, version)
        down = self._gateways.down
        if self._planned_for != (version, facts, down):
            # Rules that are there, also of an agent before this one, lead on for as long as the routes are to stay.
            before = dataclasses.replace(self._plan, rules=await self._rules.read())
            self._plan = make_plan(selected, facts, before, node=inventory.node, down=down)
            if self._plan.desired != before.desired:
                self._damping.release()
            self._planned_for = (version, facts, down)
            self._gateways.want(self._plan.targets, facts.interfaces)
            self._retry = True
        looked, read = facts is not known, self._stale
        if self._stale:
            await self._read()
        else:
            self._take_seen()
        if self._retry:
            self._retry = False
            self._failures = {key: self._conflicting[key] for key in self._conflicting if key in self._plan.desired}
        waiting = self._damping.waiting(time.monotonic())
        if not (inventory.unsynced and self.synced):
            self._stale_routes = []
        retained = [*self._plan.retained, *self._stale_routes]
        operations = diff(
            self._plan.desired, self._installed, retained=retained, skip=[*by_family(self._failures), *waiting]
        )
        sure = complete and (self.synced or not inventory.unsynced)
        if not sure:
            # What is found at the start may be of a version that is not known; what is in force from then on is.
            self._stale_routes = [keys for action, _, keys in operations if action is Action.DELETE]
        operations = self._confirmation.permitted(operations, complete=sure)
        await self._confirmation.begin(self._plan, operations)
        if sure and not inventory.unsynced:
            await self._rules.retain(self._plan.rules)
        await self._apply(operations, looked=looked, read=read)
        if self._stale:
            # What is in the kernel is not known now; the next run follows at once.
            return
        await self._install_rules()
        self._settle(waiting)
        self._confirmation.settle(self._plan, self._installed, complete=complete)
        self.told_failures = await self._told_failures()
        self._report(undecided)
        if complete:
            self.synced = True
            self._metrics.synced.set(1)
            self._metrics.last_success.set_to_current_time()

    async def _install_rules(self) -> None:
        """Add the rules that lead to our default routes, unless a pin is missing: then nothing leads there."""
        if any(keys - self._installed.through(path) for path, keys in self._plan.bypass):
            await self._rules.retain(())
        elif failure := await self._rules.add(self._plan.rules):
            await self._rules.retain(())
            defaults = [each.keys for each in self._plan.objects if each.route.spec.takes_default]
            self._failures |= {key: failure for keys in defaults for key in keys}
            self._after("retry", self._retry_delay, self._retry_now)
            self._retry_delay = min(self._retry_delay * 2, LAST_RETRY)

    async def _read(self) -> None:
        """Read the kernel's routes: ours and, now and then, the foreign ones that share a key with them.

        Such a twin, when it stands before ours, is what traffic takes and what a REPLACE would hit. So ours counts as
        in conflict, and is left as it is, until the twin goes. The same holds for a route that shares its place with
        next hops of another program, which a REPLACE would take away.
        """
        self._stale = False
        # Whatever is seen from now on makes it stale again, and is read then.
        self._seen.clear()
        try:
            await self._read_ours()
            if self._survey:
                self._shadowed = set(await self._fib.shadowed(self._installed))
            self._shadowed = {key for key in self._shadowed if key in self._installed}
            conflicting = await self._fib.foreign_first(self._shadowed) | self._shared()
        except BaseException:
            self._stale = True
            raise
        self._survey = False
        if conflicting != self._conflicting.keys():
            self._conflicting = dict.fromkeys(conflicting, Failure(errno.EEXIST, os.strerror(errno.EEXIST)))
            self._retry = True

    async def _read_ours(self) -> None:
        known = self._installed
        self._installed = await self._fib.read(known)
        mark_shared(self._installed, known, self._plan.desired)
        if parting := part(self._installed, self._plan.desired):
            await self._fib.apply(parting)
            self._installed = await self._fib.read(known)
            mark_shared(self._installed, known, self._plan.desired)

    def _shared(self) -> set[bytes]:
        """The routes into which the kernel merged next hops of another program."""
        return {key for path, keys in self._installed if path.shared for key in keys}

    async def _look(self, selected: Sequence[ResolvedRoute], version: tuple[int, int]) -> Facts:
        """What this node knows of itself, as far as these objects ask for it; looked at only if it may have changed."""
        protected = self._protected()
        if self._planned_for and not self._unsure:
            planned_version, facts, _ = self._planned_for
            if (planned_version, facts.protected) == (version, protected):
                return facts
        self._unsure = False
        asked = {each.address for route in selected for each in route.gateways}
        asked |= {source for route in selected if (source := route.spec.options.source)}
        rules = any(route.spec.options.table != TABLE_MAIN for route in selected)
        facts = await self._fib.look(asked, rules=rules)
        foreign = await self._look_at_foreign(selected, protected)
        # Behind a route of ours is what was there before.
        lookups = {
            each: (foreign.look_up(each) if lookup.ours else None) or lookup for each, lookup in facts.lookups.items()
        }
        return dataclasses.replace(facts, protected=protected, foreign=foreign, lookups=lookups)

    async def _look_at_foreign(self, selected: Sequence[ResolvedRoute], protected: Protection) -> ForeignRib:
        """The routes of others, if any destination has to do with what is protected: else they don't matter."""
        if not any(route.spec.takes_default or protected.meet(route.keys) for route in selected):
            return ForeignRib()
        foreign, later = await self._foreign.read()
        if later:
            self._after("surroundings", later, self.wake)
        return foreign

    def _take_seen(self) -> None:
        """Take in what others did to routes of ours, all at once."""
        paths: dict[NextHops | None, list[bytes]] = {}
        for key, path in self._seen.items():
            paths.setdefault(path, []).append(key)
        self._seen.clear()
        for path, keys in paths.items():
            for each in by_family(keys):
                if path is None:
                    self._installed.drop(each)
                else:
                    self._installed.put(path, each)

    def _select(self) -> tuple[list[ResolvedRoute], list[ResolvedRoute]]:
        """The objects for this node, and those of which that is not known yet."""
        node = self._inventory.node
        routes = list(self._confirmation.in_force(self._inventory.routes.values()))
        if node is None:
            return (
                [route for route in routes if not route.spec.selective],
                [route for route in routes if route.spec.selective],
            )
        return [route for route in routes if selects(route.spec.node_selector, node)], []

    async def _apply(self, operations: Sequence[Operation], *, looked: bool, read: bool) -> None:
        failures = await self._change(operations)
        for action, path, keys in operations:
            self._metrics.operations.labels(action.value).inc(len(keys))
            if action is Action.DELETE:
                self._installed.drop(keys)
            else:
                self._installed.put(path, keys)
        for keys, rival in self._repairs.restored(operations, failures):
            self._metrics.drift_repairs.inc(len(keys))
            self._damping.repaired(keys, rival, time.monotonic(), time.time())
        if not failures:
            return
        self._metrics.operation_failures.inc(len(failures))
        for each in by_family(failures):
            self._installed.drop(each)
        for key, failure in failures.items():
            if key not in self._plan.desired:
                self._log.error("Route %s can't be removed: %s", unpack_prefix(prefix_of(key)), failure.text)
        surprising = any(failure.errno in {errno.EEXIST, errno.ENOENT} for failure in failures.values())
        if not looked or (surprising and not read):
            # Not what was known: the next run looks and reads first, and then knows whether the gateway can still be
            # reached, and whose route stands there.
            self._stale = self._unsure = True
            return
        self._stale = self._stale or any(
            key in keys for action, _, keys in operations if action is not Action.ADD for key in failures
        )
        self._failures |= failures
        self._after("retry", self._retry_delay * random.uniform(0.8, 1.2), self._retry_now)  # noqa: S311
        self._retry_delay = min(self._retry_delay * 2, LAST_RETRY)

    async def _change(self, operations: Sequence[Operation]) -> dict[bytes, Failure]:
        if not operations:
            return {}
        with self._metrics.operations_duration.time():
            return await self._fib.apply(operations)

    def _settle(self, waiting: Sequence[KeySet]) -> None:
        """Come again when something that was taken away is due."""
        self._repairs.retain(waiting, self._failures)
        now = time.monotonic()
        self._damping.forget(now)
        if timer := self._timers.pop("contest", None):
            timer.cancel()
        if (change := self._damping.next_change(now)) is not None:
            self._after("contest", change - now, self.wake)

    def _report(self, undecided: Sequence[ResolvedRoute]) -> None:
        if not self._failures:
            self._retry_delay = FIRST_RETRY
        invalid = [(each.error, each.generation) for each in self._inventory.invalid.values()]
        contests = self._damping.contests
        health = {target: each.state for target, each in self._gateways.health().items()}
        outcome = Outcome(self._installed, self.told_failures, contests, health)
        rows = self._confirmation.rows(make_rows(self._plan, outcome, undecided, invalid))
        rows = with_dry_runs(rows, self._dry_run_rows, self._inventory.dry_runs)
        self._metrics.objects.set(len(self._inventory.routes))
        self._metrics.wanted_routes.set(len(self._plan.desired))
        self._metrics.present_routes.set(len(self._installed))
        self._metrics.failed_routes.set(len(self._failures))
        conflicts = sum(failure.errno == errno.EEXIST for failure in self._failures.values())
        self._metrics.conflicting_routes.set(conflicts)
        self._metrics.count_states([row.state for row in rows])
        self._metrics.contested_routes.set(sum(len(each.keys) for each in contests))
        gateways = self._gateways.rows()
        if gateways != self.gateways:
            self.gateways = gateways
            self._on_rows()
        if rows != self.rows:
            before = {row.name: row for row in self.rows}
            self.rows = rows
            for row in rows:
                if (known := before.pop(row.name, None)) != row and row.reason is not Reason.AWAITING_CONFIRMATION:
                    self._log_transition(known, row)
            for name, row in before.items():
                # A pending one turned out not to be for this node, and never was on it.
                if row.state is not RowState.PENDING:
                    self._log.info("StaticRoute %s: gone from this node", name, extra={"object": name})
            self._on_rows()

    async def _told_failures(self) -> dict[bytes, Failure]:
        """What the kernel refused; conflicts with the words for who holds the place, or none after the first few."""
        conflicts = [key for key, failure in self._failures.items() if failure.errno == errno.EEXIST]
        named = set(sorted(conflicts)[:MOST_HOLDERS])
        holders = await self._fib.holders(named)
        return self._failures | {key: Failure(errno.EEXIST, holders.get(key, "")) for key in conflicts}

    def _log_transition(self, before: Row | None, row: Row) -> None:
        """One line for each change of an object's state on this node, as loud as the state is bad."""
        level = logging.INFO if SEVERITY[row.state] <= SEVERITY[RowState.PENDING] else logging.WARNING
        if before is not None and (before.state, before.message) == (row.state, row.message):
            level = min(level, logging.INFO)
        routes = f": {row.programmed} of {row.destinations} destinations via {row.gateway}" if row.gateway else ""
        tail = f": {row.message}" if row.message else ""
        about = {"object": row.name, "generation": row.generation, "state": row.state.value, "reason": row.reason.value}
        self._log.log(
            level,
            "StaticRoute %s: %s%s (generation %d)%s",
            row.name,
            row.state,
            routes,
            row.generation,
            tail,
            extra=about,
        )
