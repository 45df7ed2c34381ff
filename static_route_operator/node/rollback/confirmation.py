"""Changes are applied provisionally: one that cuts this node off from what it reached before does not stay.

After a change this node asks again what answered before it. If something does not answer any more, the change is
undone, and that is asked once more: only what answers again without the change was cut off by it. None of this needs
the API server, and a file tells the next process what was on trial when this one was killed.
"""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from static_route_operator.api.noderoutestate import Row
from static_route_operator.api.nodeselector import selects
from static_route_operator.api.staticroute import StaticRoute
from static_route_operator.node.inventory import Inventory
from static_route_operator.node.rollback.endpoints import Endpoint
from static_route_operator.node.rollback.reachability import Reachability
from static_route_operator.node.rollback.requirements import RequiredEndpoints
from static_route_operator.node.rollback.unconfirmed import UnconfirmedChange, UnconfirmedChanges, Undone, touches
from static_route_operator.node.state.directory import StateDirectory
from static_route_operator.node.state.snapshot import Snapshot
from static_route_operator.observability.metrics import Metrics
from static_route_operator.planning.plan import Plan
from static_route_operator.routing.routes import Operation, Routes
from static_route_operator.settings import Settings
from static_route_operator.supervision import Signal

logger = logging.getLogger(__name__)

# Of the time until a change is undone: the first part is for what answered before to answer again, the second for it to
# do so without the objects that are suspected; another such part without any that is on trial.
FIRST_PART = 0.5
SECOND_PART = 0.25

# What is undone is so in the kernel within milliseconds; an answer to that is waited for no longer than this. Seconds.
UNDOING = 1.0

# The first change after the start waits no longer than this until it is known what answers. Seconds.
FIRST_LOOK = 0.5


@dataclass(frozen=True, slots=True)
class _Begun:
    """A trial, and what had answered before it."""

    trial: UnconfirmedChange
    counted: Mapping[str, Endpoint]


class Confirmation:
    """Decides which version of each object is in force.

    Args:
        inventory: the objects as they are wanted, and this node.
        metrics: where to count.
        reach: what this node must reach; None tries nothing.
        state: where is kept what outlives this process; None keeps nothing.
        protected: asked for what no route may capture, by who tells it, to be kept too.
        seconds: within which a change that cuts this node off is undone.

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
    ) -> None:
        self.on_change: Signal[[]] = Signal()
        self._inventory = inventory
        self._metrics = metrics
        self._reach = reach
        self._state = state
        self._protected = protected
        self._seconds = seconds
        self._trials = UnconfirmedChanges()
        self._begun: list[_Begun] = []
        self._applied: dict[str, _Begun] = {}
        self._judging: asyncio.Task[None] | None = None
        self._settled = asyncio.Event()
        self._plan = Plan()
        self._unsettled = True
        self._kept: tuple[object, ...] | None = None
        self._retained = -1
        self._interrupted = False

    @classmethod
    def of(
        cls,
        settings: Settings,
        inventory: Inventory,
        metrics: Metrics,
        *,
        server: Callable[[], Endpoint | None] = lambda: None,
        protected: Callable[[], Mapping[str, Mapping[bytes, str]]] = dict,
    ) -> "Confirmation":
        """As the settings want it, in the running event loop.

        Args:
            settings: of the process.
            inventory: see `Confirmation`.
            metrics: see `Confirmation`.
            server: asked for the API server; None where there is none.
            protected: see `Confirmation`.

        Raises:
            SettingsError: one of them can't be used.
        """
        necessities = RequiredEndpoints(settings.probes, server)
        node = settings.node_name or socket.gethostname()
        return cls(
            inventory,
            metrics,
            reach=Reachability(necessities.endpoints) if settings.rollback_seconds else None,
            state=StateDirectory(Path(settings.state_dir), node) if settings.state_dir else None,
            protected=protected,
            seconds=settings.rollback_seconds,
        )

    def shadow_copy(self, inventory: Inventory, metrics: Metrics) -> "Confirmation":
        """One with other objects that knows what was undone here, but tries nothing and keeps nothing."""
        other = Confirmation(inventory, metrics)
        other._trials.good = dict(self._trials.good)
        other._trials.undone = dict(self._trials.undone)
        return other

    async def run(self) -> None:
        """Keep what this node reaches known, until cancelled."""
        if self._interrupted:
            await self._save()
            await self._hold()
        if self._reach is not None:
            await self._reach.run()
        await asyncio.Event().wait()

    def look_again(self) -> None:
        """The API server may answer that did not."""
        if self._reach is not None:
            self._reach.look_again()

    @property
    def version(self) -> int:
        """Moves when other versions come into force."""
        return self._trials.version

    @property
    def open(self) -> bool:
        """Whether anything is on trial, or undone and the cause not known yet."""
        return bool(self._trials.open)

    def recall(self) -> Snapshot:
        """Take in what was kept when this program last ran, and give back the last known good state."""
        if self._state is None:
            return Snapshot()
        snapshot, interrupted = self._state.load()
        routes = {route.uid: (route, version) for route, version in snapshot.routes}
        for trial in interrupted:
            route, before = trial.route, trial.before
            logger.warning(
                "StaticRoute %s: generation %d was on trial when this program ended, and is undone",
                route.name,
                route.generation,
            )
            _, version = routes.pop(route.uid, (route, 0))
            if before is not None:
                routes[route.uid] = before, version
        self._trials.take_as_good(route for route, _ in routes.values())
        self._trials.undone = {each.uid: each for each in snapshot.undone}
        why = "undone since the agent ended before it was known whether this node lives with it"
        self._trials.undo(interrupted, why)
        self._trials.convict(interrupted, why)
        self._interrupted = bool(interrupted)
        return replace(snapshot, routes=tuple(routes.values()))

    def in_force(self, routes: Iterable[StaticRoute]) -> Iterator[StaticRoute]:
        """Of each object the version that counts, if there is one."""
        return self._trials.in_force(routes)

    def permitted(self, operations: Sequence[Operation], *, complete: bool) -> list[Operation]:
        """What may be done, whether or not all objects are known."""
        if complete:
            self._trials.forget_released()
            return list(operations)
        return list(self._trials.released(operations))

    async def begin(self, plan: Plan, operations: Sequence[Operation]) -> None:
        """These operations are about to be carried out."""
        untried = self._trials.untried(plan, operations, self._inventory.routes)
        if not untried:
            return
        self._unsettled = True
        counted = await self._answering()
        self._begun += [_Begun(trial, counted) for trial in untried]
        if counted:
            self._trials.begin(untried)
            await self._hold()

    async def _answering(self) -> Mapping[str, Endpoint]:
        """What this node reaches."""
        if self._reach is None:
            return {}
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FIRST_LOOK):
                await self._reach.looked.wait()
        return dict(self._reach.answering)

    def settle(self, plan: Plan, installed: Routes, *, complete: bool) -> None:
        """A plan was carried out, as far as the kernel let it."""
        trials = self._trials
        news = False
        for begun in self._begun:
            if begun.counted:
                self._applied[begun.trial.route.uid] = begun
            else:
                news |= trials.take_as_good([begun.trial.route])
        self._begun.clear()
        if plan is not self._plan or self._unsettled:
            self._plan = plan
            self._unsettled, lived_with = trials.lived_with(plan, installed)
            news |= trials.take_as_good(lived_with)
        if complete and self._retained != self._inventory.version:
            self._retained = self._inventory.version
            news |= trials.retain(self._inventory.routes)
        self._settled.set()
        if self._applied and (self._judging is None or self._judging.done()):
            self._judging = asyncio.get_running_loop().create_task(self._judge())
        kept = (self._inventory.node, self._protected())
        if complete and (news or kept != self._kept):
            self._kept = kept
            self._keep()

    def rows(self, rows: Sequence[Row]) -> tuple[Row, ...]:
        """The rows of all objects, with what trials have to say of them."""
        return self._trials.rows(rows, self._concerns_this_node)

    async def conclude(self) -> None:
        """Wait until nothing is on trial: the next process would undo it."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._seconds):
                while self.open and self._judging is not None:
                    await asyncio.wait({self._judging})

    async def stop(self) -> None:
        """Judge no more. What is on trial stays so for the next process."""
        if self._judging is not None:
            self._judging.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._judging
        if self._state is not None:
            await self._state.close()

    async def forget(self) -> None:
        """Leave nothing behind that could come back."""
        if self._state is not None:
            await self._state.clear()

    # Verdicts.

    async def _judge(self) -> None:
        """Find out about what is on trial until nothing is."""
        try:
            await self._find_out()
        except Exception:
            # A defect must not keep this node from telling how it fares, for ever.
            logger.exception("What is on trial can't be judged, and counts as good")
            self._trials.acquit(self._trials.open)
            self.on_change.emit()

    async def _find_out(self) -> None:
        while self._applied:
            batch, self._applied = self._applied, {}
            counted = {name: each for begun in batch.values() for name, each in begun.counted.items()}
            failing = await self._failing(counted, FIRST_PART)
            running = self._trials.running
            trials = [begun.trial for uid, begun in batch.items() if running.get(uid) is begun.trial]
            if failing and trials:
                await self._find_cause({name: counted[name] for name in failing}, failing)
                # What is still in force has to answer for itself.
                again = {**batch, **self._applied}
                self._applied = {uid: begun for uid, begun in again.items() if running.get(uid) is begun.trial}
            else:
                self._trials.take_as_good(trial.route for trial in trials)
                self._keep()
            await self._hold()
            self.on_change.emit()

    async def _find_cause(self, endpoints: Mapping[str, Endpoint], reasons: Mapping[str, str]) -> None:
        """Something does not answer any more: find out whether it does without what is on trial."""
        what = ", ".join(f"{name} ({reason})" for name, reason in reasons.items())
        running = list(self._trials.running.values())
        addresses = {address for each in endpoints.values() for address in each.addresses}
        suspects = [each for each in running if any(touches(each, address) for address in addresses)]
        await self._undo(suspects or running, what)
        if not await self._failing(endpoints, SECOND_PART):
            await self._convict(suspects or running, endpoints, what)
            return
        if others := list(self._trials.running.values()):
            await self._undo(others, what)
            if not await self._failing(endpoints, SECOND_PART):
                self._trials.retry(suspects or running)
                await self._convict(others, endpoints, what)
                return
        undone = list(self._trials.suspended.values())
        logger.warning("%s: not reached without it either, so applied again: %s", _names(undone), what)
        self._trials.acquit(undone)
        self._reach_no_more(endpoints)
        self._keep()

    async def _undo(self, trials: Sequence[UnconfirmedChange], what: str) -> None:
        """Undo these in the kernel too."""
        logger.error("%s: this node does not reach %s any more: undone", _names(trials), what)
        self._trials.undo(trials, f"undone since this node does not reach {what} any more")
        self._settled.clear()
        self.on_change.emit()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(UNDOING):
                await self._settled.wait()

    async def _convict(self, trials: Sequence[UnconfirmedChange], endpoints: Mapping[str, Endpoint], what: str) -> None:
        """Without these all is well."""
        logger.error("%s: this node reaches %s again: rolled back", _names(trials), ", ".join(endpoints))
        self._metrics.rollbacks.inc(len(trials))
        self._trials.convict(trials, f"undone since this node did not reach {what} any more, and did again without it")
        if self._reach is not None:
            self._reach.answering.update(endpoints)
        # Before what was on trial is forgotten.
        await self._save()

    async def _failing(self, endpoints: Mapping[str, Endpoint], part: float) -> Mapping[str, str]:
        """Which of these do not answer within a part of the time, and why."""
        if self._reach is None:
            return {}
        return await self._reach.failing(endpoints.values(), self._seconds * part)

    def _reach_no_more(self, endpoints: Iterable[str]) -> None:
        if self._reach is not None:
            for name in endpoints:
                self._reach.answering.pop(name, None)

    async def _hold(self) -> None:
        """Write down what has no verdict yet."""
        if self._state is not None:
            await self._state.hold(self._trials.open)

    def _keep(self) -> None:
        if self._state is not None:
            self._state.keep(self._snapshot)

    async def _save(self) -> None:
        self._keep()
        if self._state is not None:
            await self._state.save()

    def _snapshot(self) -> Snapshot:
        trials, inventory = self._trials, self._inventory
        # What is not in the plan is not for this node, as soon as that can be told.
        selected = [each.route.uid for each in self._plan.objects] if inventory.complete else trials.good
        uids = dict.fromkeys([*selected, *trials.undone])
        good = [route for uid in uids if (route := trials.good.get(uid)) is not None]
        return Snapshot(
            inventory.node,
            tuple((route, inventory.resource_version(route.uid)) for route in good),
            self._protected(),
            tuple(trials.undone[uid] for uid in trials.undone.keys() - trials.suspended.keys()),
        )

    def _concerns_this_node(self, undone: Undone) -> bool:
        """Whether the version that was undone is still what is wanted here."""
        route, node = self._inventory.routes.get(undone.uid), self._inventory.node
        if route is None or not undone.matches(route):
            return False
        return selects(route.node_selector, node) if node else not route.selective


def _names(trials: Iterable[UnconfirmedChange]) -> str:
    """The objects on trial, for people."""
    return ", ".join(f"StaticRoute {each.route.name} (generation {each.route.generation})" for each in trials)
