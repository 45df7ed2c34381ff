"""Confirmation of changes: one that cuts this node off from what it reached before does not stay.

After a change this node probes again every endpoint that answered before. If one no longer answers, the change is
reverted, and the endpoint is probed once more: only if it answers again without the change did the change cut it off.
None of this needs the API server, and a journal tells the next process which changes were unconfirmed when this one was
killed.
"""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from static_route_operator.api.noderoutestate import Row
from static_route_operator.api.nodeselector import selects
from static_route_operator.api.resolution import ResolvedRoute
from static_route_operator.node.inventory import Inventory
from static_route_operator.node.rollback.endpoints import Endpoint
from static_route_operator.node.rollback.reachability import Reachability
from static_route_operator.node.rollback.requirements import RequiredEndpoints
from static_route_operator.node.rollback.unconfirmed import RolledBack, UnconfirmedChange, UnconfirmedChanges, touches
from static_route_operator.node.state.directory import StateDirectory
from static_route_operator.node.state.snapshot import Snapshot
from static_route_operator.observability.metrics import Metrics
from static_route_operator.planning.plan import Plan
from static_route_operator.routing.nexthops import NextHops
from static_route_operator.routing.routes import Operation, Routes
from static_route_operator.settings import Settings
from static_route_operator.supervision import Signal

logger = logging.getLogger(__name__)

# Shares of the time within which a change is rolled back: the first for the endpoints to answer again with the change,
# the second without the suspected objects; then another such share without any unconfirmed change.
FIRST_PART = 0.5
SECOND_PART = 0.25

# Seconds to wait until a reverted change is out of the kernel, which takes milliseconds.
REVERTING = 1.0

# Seconds that the first change after the start waits until it is known which endpoints answer.
FIRST_LOOK = 0.5


@dataclass(frozen=True, slots=True)
class _Watched:
    """An unconfirmed change, and the endpoints that answered before it."""

    change: UnconfirmedChange
    answered: Mapping[str, Endpoint]


class Confirmation:
    """The decision which version of each object is in force.

    Args:
        inventory: the newest version of each object, and this node.
        metrics: the counters of this process.
        reach: the endpoints that this node must reach; None confirms every change at once.
        state: the directory for what outlives this process; None keeps nothing.
        protected: called for the protected prefixes by source, to be kept too.
        seconds: time within which a change that cuts this node off is rolled back.
        changes: the versions to begin with.

    Attributes:
        on_change: emitted when other versions come into force.
    """

    def __init__(  # noqa: PLR0913  one of each, and none goes with another
        self,
        inventory: Inventory,
        metrics: Metrics,
        *,
        reach: Reachability | None = None,
        state: StateDirectory | None = None,
        protected: Callable[[], Mapping[str, Mapping[bytes, str]]] = dict,
        seconds: float = 10.0,
        changes: UnconfirmedChanges | None = None,
    ) -> None:
        self.on_change: Signal[[]] = Signal()
        self._inventory = inventory
        self._metrics = metrics
        self._reach = reach
        self._state = state
        self._protected = protected
        self._seconds = seconds
        self._changes = changes or UnconfirmedChanges()
        self._begun: list[_Watched] = []
        self._applied: dict[str, _Watched] = {}
        self._checking: asyncio.Task[None] | None = None
        self._settled = asyncio.Event()
        self._plan = Plan()
        self._unsettled = True
        self._kept: tuple[object, ...] | None = None
        self._retained = -1
        self._interrupted = False

    @classmethod
    def of(  # noqa: PLR0913  likewise
        cls,
        settings: Settings,
        inventory: Inventory,
        metrics: Metrics,
        *,
        server: Callable[[], Endpoint | None] = lambda: None,
        protected: Callable[[], Mapping[str, Mapping[bytes, str]]] = dict,
        state_name: str = "",
        check: bool = True,
    ) -> "Confirmation":
        """Make one from the settings, in the running event loop.

        Args:
            settings: the settings of the process.
            inventory: see `Confirmation`.
            metrics: see `Confirmation`.
            server: called for the API server; returns None where there is none.
            protected: see `Confirmation`.
            state_name: name of the files in the state directory; the node's unless set.
            check: check the changes; else each is confirmed at once.

        Raises:
            SettingsError: a setting can't be used.
        """
        required = RequiredEndpoints(settings.probes, server)
        name = state_name or settings.node_name or socket.gethostname()
        return cls(
            inventory,
            metrics,
            reach=Reachability(required.endpoints, required.close) if settings.rollback_seconds and check else None,
            state=StateDirectory(Path(settings.state_dir), name) if settings.state_dir else None,
            protected=protected,
            seconds=settings.rollback_seconds,
        )

    def shadow_copy(self, inventory: Inventory, metrics: Metrics) -> "Confirmation":
        """Return one for another inventory, with the same versions rolled back, which probes and keeps nothing."""
        changes = UnconfirmedChanges(self._changes.confirmed, self._changes.rolled_back)
        return Confirmation(inventory, metrics, changes=changes)

    async def run(self) -> None:
        """Probe the required endpoints until cancelled."""
        if self._interrupted:
            await self._save()
            await self._journal()
        if self._reach is not None:
            await self._reach.run()
        await asyncio.Event().wait()

    def look_again(self) -> None:
        """Probe soon: the API server may answer that did not."""
        if self._reach is not None:
            self._reach.look_again()

    @property
    def version(self) -> int:
        """Return a number that moves when other versions come into force."""
        return self._changes.version

    @property
    def open(self) -> bool:
        """Report whether any change is unconfirmed, or reverted and its part in the failure not known yet."""
        return bool(self._changes.open)

    def recall(self) -> Snapshot:
        """Restore the versions that the last run of this program left, and return its last known good state."""
        if self._state is None:
            return Snapshot()
        snapshot, interrupted = self._state.load()
        routes = {route.uid: (route, version) for route, version in snapshot.routes}
        for change in interrupted:
            route, before = change.route, change.before
            logger.warning(
                "StaticRoute %s (%s): rolled back: this program ended before this node had confirmed the version",
                route.name,
                route.version,
            )
            _, version = routes.pop(route.uid, (route, 0))
            if before is not None:
                routes[route.uid] = before, version
        rolled_back = {each.version.uid: each for each in snapshot.rolled_back}
        self._changes = UnconfirmedChanges({uid: route for uid, (route, _) in routes.items()}, rolled_back)
        why = "rolled back because the agent ended before this node had confirmed this version"
        self._changes.revert(interrupted, why)
        self._changes.reject(interrupted, why)
        self._interrupted = bool(interrupted)
        return replace(snapshot, routes=tuple(routes.values()), rolled_back=tuple(self._changes.rolled_back.values()))

    def in_force(self, routes: Iterable[ResolvedRoute]) -> Iterator[ResolvedRoute]:
        """Yield the version of each object that is in force, if there is one."""
        return self._changes.in_force(routes)

    def permitted(
        self, operations: Sequence[Operation], dead_ends: Collection[NextHops] = (), *, complete: bool
    ) -> list[Operation]:
        """Return the operations that may be carried out.

        Args:
            operations: in order.
            dead_ends: next hops that lose all packets; their routes are deleted in any case.
            complete: whether all objects are known.
        """
        if complete:
            self._changes.forget_reverted_keys()
            return list(operations)
        return list(self._changes.permitted(operations, dead_ends))

    async def begin(self, plan: Plan, operations: Sequence[Operation]) -> None:
        """Take in that these operations are about to be carried out."""
        introduced = self._changes.introduced(plan, operations, self._inventory.routes)
        if not introduced:
            return
        self._unsettled = True
        answered = await self._answering()
        self._begun += [_Watched(change, answered) for change in introduced]
        if answered:
            self._changes.begin(introduced)
            await self._journal()

    async def _answering(self) -> Mapping[str, Endpoint]:
        """Return the endpoints that answer."""
        if self._reach is None:
            return {}
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FIRST_LOOK):
                await self._reach.looked.wait()
        return dict(self._reach.answering)

    def settle(self, plan: Plan, installed: Routes, *, complete: bool) -> None:
        """Take in that a plan was carried out, as far as the kernel let it."""
        changes = self._changes
        news = False
        for watched in self._begun:
            if watched.answered:
                self._applied[watched.change.route.uid] = watched
            else:
                news |= changes.confirm([watched.change.route])
        self._begun.clear()
        if plan is not self._plan or self._unsettled:
            self._plan = plan
            self._unsettled, already_installed = changes.already_installed(plan, installed)
            news |= changes.confirm(already_installed)
        if complete and self._retained != self._inventory.version:
            self._retained = self._inventory.version
            news |= changes.retain(self._inventory.routes)
        self._settled.set()
        if self._applied and (self._checking is None or self._checking.done()):
            self._checking = asyncio.get_running_loop().create_task(self._check())
        kept = (self._inventory.node, self._protected())
        if complete and (news or kept != self._kept):
            self._kept = kept
            self._keep()

    def rows(self, rows: Sequence[Row]) -> tuple[Row, ...]:
        """Return the rows of all objects, changed where a version is unconfirmed or rolled back."""
        return self._changes.rows(rows, self._concerns_this_node)

    async def conclude(self) -> None:
        """Wait until no change is unconfirmed: the next process would roll it back."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._seconds):
                while self.open and self._checking is not None:
                    await asyncio.wait({self._checking})

    async def stop(self) -> None:
        """Stop checking. Unconfirmed changes stay so for the next process."""
        if self._checking is not None:
            self._checking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._checking
        if self._reach is not None:
            self._reach.close()
        if self._state is not None:
            await self._state.close()

    async def forget(self) -> None:
        """Remove all kept state, so that no route comes back at the next start."""
        if self._state is not None:
            await self._state.clear()

    # Checks of unconfirmed changes.

    async def _check(self) -> None:
        """Confirm or roll back changes until none is unconfirmed."""
        try:
            await self._decide()
        except Exception:
            # A defect must not keep this node from reporting for ever.
            logger.exception("The confirmation of changes failed; all unconfirmed changes count as confirmed")
            self._changes.reinstate(self._changes.open)
            self.on_change.emit()

    async def _decide(self) -> None:
        while self._applied:
            batch, self._applied = self._applied, {}
            answered = {name: each for watched in batch.values() for name, each in watched.answered.items()}
            failing = await self._failing(answered, FIRST_PART)
            awaiting = self._changes.awaiting
            changes = [watched.change for uid, watched in batch.items() if awaiting.get(uid) is watched.change]
            if failing and changes:
                await self._find_cause({name: answered[name] for name in failing}, failing)
                # Check again the changes that are still in force: they were applied together with the cause.
                again = {**batch, **self._applied}
                self._applied = {uid: watched for uid, watched in again.items() if awaiting.get(uid) is watched.change}
            else:
                self._changes.confirm(change.route for change in changes)
                self._keep()
            await self._journal()
            self.on_change.emit()

    async def _find_cause(self, endpoints: Mapping[str, Endpoint], reasons: Mapping[str, str]) -> None:
        """Find out whether endpoints that no longer answer do so without the unconfirmed changes."""
        what = ", ".join(f"{name} ({reason})" for name, reason in reasons.items())
        awaiting = list(self._changes.awaiting.values())
        addresses = {address for each in endpoints.values() for address in each.addresses}
        suspects = [each for each in awaiting if any(touches(each, address) for address in addresses)]
        await self._revert(suspects or awaiting, what)
        if not await self._failing(endpoints, SECOND_PART):
            await self._reject(suspects or awaiting, endpoints, what)
            return
        if others := list(self._changes.awaiting.values()):
            await self._revert(others, what)
            if not await self._failing(endpoints, SECOND_PART):
                self._changes.retry(suspects or awaiting)
                await self._reject(others, endpoints, what)
                return
        reverted = list(self._changes.reverted.values())
        logger.warning("%s: reinstated: without the change this node does not reach %s either", _names(reverted), what)
        self._changes.reinstate(reverted)
        self._reach_no_more(endpoints)
        self._keep()

    async def _revert(self, changes: Sequence[UnconfirmedChange], what: str) -> None:
        """Take changes out of force, and wait until they are out of the kernel."""
        logger.error("%s: reverted: this node no longer reaches %s", _names(changes), what)
        self._changes.revert(changes, f"reverted because this node no longer reaches {what}")
        self._settled.clear()
        self.on_change.emit()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(REVERTING):
                await self._settled.wait()

    async def _reject(self, changes: Sequence[UnconfirmedChange], endpoints: Mapping[str, Endpoint], what: str) -> None:
        """Keep these rolled back: connectivity returned without them."""
        logger.error("%s: rolled back: without the change this node reaches %s", _names(changes), ", ".join(endpoints))
        self._metrics.rollbacks.inc(len(changes))
        why = f"rolled back because this node did not reach {what} with this version, and did without it"
        self._changes.reject(changes, why)
        if self._reach is not None:
            self._reach.answering.update(endpoints)
        # Save before the journal forgets these changes: a process killed in between would try them again.
        await self._save()

    async def _failing(self, endpoints: Mapping[str, Endpoint], part: float) -> Mapping[str, str]:
        """Return the endpoints that do not answer within a part of the time: the reasons by name."""
        if self._reach is None:
            return {}
        return await self._reach.failing(endpoints.values(), self._seconds * part)

    def _reach_no_more(self, endpoints: Iterable[str]) -> None:
        if self._reach is not None:
            for name in endpoints:
                self._reach.answering.pop(name, None)

    async def _journal(self) -> None:
        if self._state is not None:
            await self._state.journal(self._changes.open)

    def _keep(self) -> None:
        if self._state is not None:
            self._state.keep(self._snapshot)

    async def _save(self) -> None:
        self._keep()
        if self._state is not None:
            await self._state.save()

    def _snapshot(self) -> Snapshot:
        changes, inventory = self._changes, self._inventory
        # With all objects known, an object that is not in the plan does not select this node: leave it out.
        selected = [each.route.uid for each in self._plan.objects] if inventory.complete else changes.confirmed
        uids = dict.fromkeys([*selected, *changes.rolled_back])
        confirmed = [route for uid in uids if (route := changes.confirmed.get(uid)) is not None]
        return Snapshot(
            inventory.node,
            tuple((route, inventory.resource_version(route.uid)) for route in confirmed),
            self._protected(),
            tuple(changes.rolled_back[uid] for uid in changes.rolled_back.keys() - changes.reverted.keys()),
        )

    def _concerns_this_node(self, rolled_back: RolledBack) -> bool:
        """Report whether a rolled back version is still the newest of its object, and for this node."""
        route, node = self._inventory.routes.get(rolled_back.version.uid), self._inventory.node
        if route is None or route.version != rolled_back.version:
            return False
        return selects(route.spec.node_selector, node) if node else not route.spec.selective


def _names(changes: Iterable[UnconfirmedChange]) -> str:
    """Name the objects and versions, for people."""
    return ", ".join(f"StaticRoute {each.route.name} ({each.route.version})" for each in changes)
