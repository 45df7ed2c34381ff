"""The one loop that writes to the kernel: plan, diff, apply, whenever anything has changed.

It is level-based: every run starts from what is known now, so a thousand wake-ups during one run become one more run.
What is in the kernel is known from a full read, then from the outcomes of our own changes and the notifications about
everybody else's; whatever casts doubt on that knowledge makes the next run read again.
"""

import asyncio
import errno
import logging
import random
import time
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from static_route_operator.api.noderoutestate import Reason, Row, RowState
from static_route_operator.api.staticroute import StaticRoute
from static_route_operator.errors import KernelError
from static_route_operator.inventory import Inventory
from static_route_operator.kernel.fib import Fib
from static_route_operator.kernel.messages import PROTOCOL, DecodedRoute
from static_route_operator.kernel.monitor import Monitor
from static_route_operator.observability.metrics import Metrics
from static_route_operator.planning.diff import diff
from static_route_operator.planning.facts import Facts
from static_route_operator.planning.guards import Problem
from static_route_operator.planning.plan import ObjectPlan, Plan, make_plan
from static_route_operator.planning.routes import Action, Failure, Operation, Path, describe_route, in_order, prefix_of
from static_route_operator.planning.selection import selects
from static_route_operator.prefixes import unpack_address, unpack_prefix

logger = logging.getLogger(__name__)

# A burst of events (a `kubectl apply` of many objects) becomes one run. Seconds.
COALESCE = 0.005
# While runs take long, as much time again is left to everything else, up to this. Seconds.
MOST_PAUSE = 0.1
# A foreign route may change what a gateway or a protected address resolves to; no hurry. Seconds.
FOREIGN_PAUSE = 0.2
# What the kernel refused is tried again after 1, 2, 4, … seconds, for ever.
FIRST_RETRY = 1.0
LAST_RETRY = 60.0

# Conflicts for which the kernel is asked who holds the place; the rest need no more than their number.
MOST_HOLDERS = 8


class Reconciler:
    """Keeps the kernel's routes what the inventory wants.

    Args:
        inventory: the objects and this node; call `wake` when it has changed.
        metrics: where to count.
        protected: asked in each run for the packed addresses that must stay reachable, with what each is.
        on_rows: called when the rows have changed.
        resync: seconds between full reads of the kernel's routes that nothing asked for.

    Attributes:
        rows: what became of each object that selects this node, by name.
        synced: the last run with a complete inventory left nothing undone but what the kernel refused.
    """

    def __init__(
        self,
        inventory: Inventory,
        metrics: Metrics,
        *,
        protected: Callable[[], Mapping[bytes, str]],
        on_rows: Callable[[], None] = lambda: None,
        resync: float = 300.0,
    ) -> None:
        self._inventory = inventory
        self._metrics = metrics
        self._protected = protected
        self._on_rows = on_rows
        self._resync = resync
        self._fib = Fib()
        self._monitor = Monitor(
            lambda: self._fib.port, self._route_changed, self._node_changed, self._lost_notifications
        )
        self._wake = asyncio.Event()
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._present: dict[bytes, Path] = {}
        self._stale = True
        self._failures: dict[bytes, Failure] = {}
        self._retry = True
        self._retry_delay = FIRST_RETRY
        self._planned_for: tuple[int, Facts] | None = None
        self._plan = Plan()
        self._busy = asyncio.Lock()
        self.rows: tuple[Row, ...] = ()
        self.synced = False

    def wake(self) -> None:
        """Something may have changed: run soon."""
        self._wake.set()

    async def run(self) -> None:
        """Watch and reconcile until cancelled. The routes stay."""
        self._monitor.start()
        self._read_again()
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                started = time.monotonic()
                async with self._busy:
                    await self._run_once()
                await asyncio.sleep(min(max(COALESCE, time.monotonic() - started), MOST_PAUSE))
        finally:
            self._monitor.stop()
            for timer in self._timers.values():
                timer.cancel()
            self._fib.close()

    async def run_to_end(self) -> None:
        """Reconcile once with what is known, for a program that then ends."""
        try:
            await self._reconcile()
            if self._stale:
                await self._reconcile()
        finally:
            self._fib.close()

    async def remove_all(self) -> int:
        """Remove every route of ours from the kernel, and write no more; how many there were."""
        # Never released: no run may follow.
        await self._busy.acquire()
        present = await self._fib.read()
        failures = await self._fib.apply(diff({}, present))
        for key, failure in failures.items():
            logger.error("Route %s can't be removed: %s", unpack_prefix(prefix_of(key)), failure.text)
        return len(present) - len(failures)

    def report(self) -> dict[str, Any]:
        """What this node holds and why, as a JSON object: the rows, and every route of ours with its object."""
        node = self._inventory.node
        names = self._planned_for[1].interfaces if self._planned_for else {}
        return {
            "node": node.name if node else None,
            "complete": self._inventory.complete,
            "objects": [asdict(row) for row in self.rows],
            "routes": [
                describe_route(key, path, names) | {"object": self._owner(key)} for key, path in in_order(self._present)
            ],
        }

    def _owner(self, key: bytes) -> str | None:
        """The object a route in the kernel belongs to."""
        for plan in self._plan.objects:
            if _holds(plan.keys, key) or (key in self._plan.held and _is_of(plan.route, key)):
                return plan.route.name
        return None

    # Notifications.

    def _route_changed(self, route: DecodedRoute, gone: bool) -> None:
        if route.protocol == PROTOCOL:
            self._metrics.drift.inc()
            if self._busy.locked():
                # A read or a change is under way: whether it came before or after this can't be told.
                self._stale = True
            elif gone:
                self._present.pop(route.key, None)
            else:
                self._present[route.key] = route.path
            self.wake()
        elif not gone and route.key in self._present:
            # It replaced ours, or stands beside it: only a read can tell.
            self._metrics.drift.inc()
            self._stale = True
            self.wake()
        elif gone and route.key in self._failures:
            self._retry_now()
        else:
            self._after("foreign", FOREIGN_PAUSE, self.wake)

    def _node_changed(self, lossy: bool) -> None:
        self._stale = self._stale or lossy
        self.wake()

    def _lost_notifications(self) -> None:
        self._metrics.monitor_overflows.inc()
        logger.warning("Notifications of the kernel were lost; reading its routes again")
        self._stale = True
        self.wake()

    def _read_again(self) -> None:
        self._stale = True
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
        self._stale = True
        self._after("error", FIRST_RETRY, self.wake)

    async def _reconcile(self) -> None:
        inventory = self._inventory
        complete, version = inventory.complete, inventory.version
        selected, undecided = self._select()
        facts = await self._fib.look({route.gateway for route in selected}, self._protected())
        fresh = self._stale
        if self._stale:
            self._stale = False
            try:
                self._present = await self._fib.read()
            except BaseException:
                self._stale = True
                raise
        if self._planned_for != (version, facts):
            self._plan = make_plan(selected, facts)
            self._planned_for = (version, facts)
            self._retry = True
        if self._retry:
            self._retry = False
            self._failures = {}
        operations = diff(self._plan.wanted, self._present, held=self._plan.held, skip=self._failures)
        if not complete:
            operations = [each for each in operations if each.action is not Action.DELETE]
        await self._apply(operations, fresh=fresh)
        if self._stale:
            # What is in the kernel is not known now; the next run follows at once.
            return
        self._report(undecided)
        if complete:
            self.synced = True
            self._metrics.synced.set(1)
            self._metrics.last_success.set_to_current_time()

    def _select(self) -> tuple[list[StaticRoute], list[StaticRoute]]:
        """The objects for this node, and those of which that is not known yet."""
        node = self._inventory.node
        routes = self._inventory.routes.values()
        if node is None:
            return (
                [route for route in routes if route.node_selector is None],
                [route for route in routes if route.node_selector is not None],
            )
        return [route for route in routes if selects(route.node_selector, node)], []

    async def _apply(self, operations: Sequence[Operation], *, fresh: bool) -> None:
        failures = await self._fib.apply(operations)
        for action, path, keys in operations:
            self._metrics.operations.labels(action.value).inc(len(keys))
            if action is Action.DELETE:
                for key in keys:
                    self._present.pop(key, None)
            else:
                self._present.update(dict.fromkeys(keys, path))
        if not failures:
            return
        self._metrics.operation_failures.inc(len(failures))
        for key, failure in failures.items():
            self._present.pop(key, None)
            if key not in self._plan.wanted:
                logger.error("Route %s can't be removed: %s", unpack_prefix(prefix_of(key)), failure.text)
        if any(failure.errno in {errno.EEXIST, errno.ENOENT} for failure in failures.values()) and not fresh:
            # Not what was known: the next run reads first, and then knows whose route stands there.
            self._stale = True
            return
        self._stale = self._stale or any(
            key in failures for action, _, keys in operations if action is not Action.ADD for key in keys
        )
        self._failures |= failures
        self._after("retry", self._retry_delay * random.uniform(0.8, 1.2), self._retry_now)  # noqa: S311
        self._retry_delay = min(self._retry_delay * 2, LAST_RETRY)

    def _report(self, undecided: Sequence[StaticRoute]) -> None:
        if not self._failures:
            self._retry_delay = FIRST_RETRY
        rows = {plan.route.name: self._row(plan) for plan in self._plan.objects}
        for route in undecided:
            message = "the labels of this node are not known yet"
            rows[route.name] = _row(route, Problem(RowState.PENDING, Reason.PENDING, message), 0)
        for invalid in self._inventory.invalid.values():
            known = rows.get(invalid.name)
            rows[invalid.name] = Row(
                name=invalid.name,
                generation=invalid.generation,
                gateway=known.gateway if known else "",
                state=RowState.REFUSED,
                reason=Reason.INVALID_SPEC,
                message=f"{invalid.error.field}: {invalid.error.problem}"
                + ("; its last good version stays in force" if known else ""),
                destinations=known.destinations if known else 0,
                programmed=known.programmed if known else 0,
            )
        self._metrics.objects.set(len(self._inventory.routes))
        self._metrics.wanted_routes.set(len(self._plan.wanted))
        self._metrics.present_routes.set(len(self._present))
        self._metrics.failed_routes.set(len(self._failures))
        after = tuple(rows[name] for name in sorted(rows))
        if after != self.rows:
            before = {row.name: row for row in self.rows}
            self.rows = after
            for row in after:
                if (known := before.pop(row.name, None)) != row:
                    _log_transition(known, row)
            for name in before:
                logger.info("StaticRoute %s: gone from this node", name)
            self._on_rows()

    def _row(self, plan: ObjectPlan) -> Row:
        problems = list(plan.problems)
        failed = [key for key in self._failures if _holds(plan.keys, key)]
        if failed:
            problems += self._kernel_problems(failed)
        programmed = len(plan.keys) - len(failed)
        if not plan.keys and any(each.reason is Reason.GATEWAY_UNREACHABLE for each in problems):
            kept = sum(key in self._present for key in self._plan.held if _is_of(plan.route, key))
            if kept:
                problems[0] = Problem(
                    problems[0].state,
                    problems[0].reason,
                    f"{problems[0].message}; {kept} of its routes left as they were",
                )
        return _row(plan.route, max(problems, key=_severity) if problems else None, programmed, problems)

    def _kernel_problems(self, failed: Sequence[bytes]) -> Iterator[Problem]:
        conflicts = [key for key in failed if self._failures[key].errno == errno.EEXIST]
        if conflicts:
            texts = []
            for key in conflicts[:MOST_HOLDERS]:
                holder = self._fib.holder(key)
                texts.append(unpack_prefix(prefix_of(key)) + (f" ({holder})" if holder else ""))
            more = f" and {len(conflicts) - MOST_HOLDERS} more" if len(conflicts) > MOST_HOLDERS else ""
            yield Problem(
                RowState.CONFLICT,
                Reason.FOREIGN_ROUTE,
                f"another program's route holds {', '.join(texts)}{more}; it is left alone: remove one of the two",
            )
        others: dict[str, list[bytes]] = {}
        for key in failed:
            if self._failures[key].errno != errno.EEXIST:
                others.setdefault(self._failures[key].text, []).append(key)
        for text, keys in others.items():
            more = f" and {len(keys) - 1} more" if len(keys) > 1 else ""
            yield Problem(
                RowState.FAILED,
                Reason.KERNEL_REFUSED,
                f"the kernel refused {unpack_prefix(prefix_of(keys[0]))}{more}: {text}; it is tried again",
            )


_SEVERITY = {state: severity for severity, state in enumerate(RowState)}


def _severity(problem: Problem) -> int:
    return _SEVERITY[problem.state]


def _holds(keys: Sequence[bytes], key: bytes) -> bool:
    """Whether sorted keys hold a key."""
    index = bisect_left(keys, key)
    return index < len(keys) and keys[index] == key


def _is_of(route: StaticRoute, key: bytes) -> bool:
    return _holds(route.destinations, prefix_of(key))


def _row(route: StaticRoute, worst: Problem | None, programmed: int, problems: Sequence[Problem] = ()) -> Row:
    return Row(
        name=route.name,
        generation=route.generation,
        gateway=unpack_address(route.gateway),
        state=worst.state if worst else RowState.PROGRAMMED,
        reason=worst.reason if worst else Reason.PROGRAMMED,
        message="; ".join(
            each.message for each in sorted(problems or (worst,) if worst else (), key=_severity, reverse=True)
        ),
        destinations=len(route.destinations) + len(route.refused),
        programmed=programmed,
    )


def _log_transition(before: Row | None, row: Row) -> None:
    """One line for each change of an object's state on this node, as loud as the state is bad."""
    level = logging.INFO if row.state in {RowState.PROGRAMMED, RowState.STANDBY, RowState.PENDING} else logging.WARNING
    if before is not None and (before.state, before.message) == (row.state, row.message):
        level = min(level, logging.INFO)
    text = "StaticRoute %s: %s: %d of %d destinations via %s (generation %d)%s"
    tail = f": {row.message}" if row.message else ""
    logger.log(level, text, row.name, row.state, row.programmed, row.destinations, row.gateway, row.generation, tail)
