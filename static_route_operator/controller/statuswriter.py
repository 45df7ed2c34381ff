"""The writer of statuses of StaticRoutes.

Statuses are written seldom, because each write goes to the watch of every node, with all destinations.

Two writes per change are due at once: when the change begins to roll out, and when all nodes have reported. Any other
write is due `PAUSE` after the last one, or later by `SHARE`, with the state of that moment. Due writes go out one after
the other, the most urgent first, at most at the rate of `FAN_OUT`.
"""

import asyncio
import contextlib
import datetime as dt
import enum
import logging
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field
from typing import Any

from static_route_operator.cluster.engine import FIRST_BACKOFF, LAST_BACKOFF
from static_route_operator.controller.client import MERGE_PATCH, STATICROUTES, Client
from static_route_operator.controller.clusterstate import ClusterState
from static_route_operator.controller.rollup import Rollup
from static_route_operator.controller.status import make_status
from static_route_operator.controller.summaries import RouteSummary
from static_route_operator.errors import ApiError
from static_route_operator.observability.metrics import ControllerMetrics
from static_route_operator.supervision import Backoff

logger = logging.getLogger(__name__)

# Seconds between writes to one object that no user and no node waits for.
PAUSE = 30.0
# Bytes per second to the watches of all nodes together, about a gigabit link. Without a limit, 200 statuses due at once
# would delay all watches, and the API server would buffer for each watch that falls behind.
FAN_OUT = 100_000_000.0
# Part of that rate for the writes to one object that nobody waits for. While an object with thousands of destinations
# rolls out to thousands of nodes, which takes minutes, there are one or two writes, not one every `PAUSE`.
SHARE = 0.01
# Bytes of an event on one watch without the destinations, and of each destination.
EVENT_SIZE, DESTINATION_SIZE = 2_000, 20

AT_ONCE = float("-inf")

Status = Mapping[str, Any]


class Urgency(enum.IntEnum):
    """The order of due writes."""

    WORSE = 0  # more nodes fail than the object says
    SETTLED = 1  # a user or a node waits for the result
    # After SETTLED: a roll-out that settles before its turn needs one write, not two.
    BEGUN = 2
    OTHER = 3


class StatusWriter:
    """Writer of statuses; failed writes are repeated without end.

    Args:
        client: the API server.
        state: holder of the stored status of each object.
        metrics: counters of writes.
        on_written: callback with the object, its previous status and its new status.
    """

    def __init__(
        self,
        client: Client,
        state: ClusterState,
        metrics: ControllerMetrics,
        on_written: Callable[[RouteSummary, Status, Status], None],
    ) -> None:
        self._client = client
        self._state = state
        self._metrics = metrics
        self._on_written = on_written
        self._pending: dict[str, PendingWrite] = {}
        # The pending writes that differ from the stored status, in order of arrival.
        self._waiting: dict[str, PendingWrite] = {}
        self._changed = asyncio.Event()

    def offer(self, summary: RouteSummary, rollup: Rollup) -> None:
        """Schedule the write of an object's status, unless the stored status is the same."""
        pending = self._pending.setdefault(summary.uid, PendingWrite(summary, rollup))
        pending.summary, pending.rollup = summary, rollup
        self._schedule(pending)

    def retain(self, uids: Container[str]) -> None:
        """Forget all other objects."""
        for uid in [uid for uid in self._pending if uid not in uids]:
            del self._pending[uid]
            self._waiting.pop(uid, None)

    async def run(self) -> None:
        """Write until cancelled."""
        loop = asyncio.get_running_loop()
        free_at = loop.time()
        while True:
            self._changed.clear()
            now = loop.time()
            pending = self._next(now)
            if pending is None or max(pending.due, free_at) > now:
                pause = None if pending is None else max(pending.due, free_at) - now
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._changed.wait(), pause)
                continue
            del self._waiting[pending.summary.uid]
            free_at = now + self._fan_out(pending.summary) / FAN_OUT
            await self._write(pending)
            if pending.summary.uid in self._pending:
                # The write may have failed, or a newer roll-up may have arrived meanwhile.
                self._schedule(pending)

    def _next(self, now: float) -> "PendingWrite | None":
        """Return the most urgent due write, else the one that is due first."""
        return min(self._waiting.values(), key=lambda each: (max(each.due, now), each.urgency), default=None)

    def _schedule(self, pending: "PendingWrite") -> None:
        pause = max(PAUSE, self._fan_out(pending.summary) / FAN_OUT / SHARE)
        if pending.compare(self._state.stored(pending.summary), pause):
            self._waiting[pending.summary.uid] = pending
            self._changed.set()
        else:
            self._waiting.pop(pending.summary.uid, None)

    def _fan_out(self, summary: RouteSummary) -> int:
        """Return the bytes that the API server sends for one write of a status."""
        return len(self._state.nodes.items) * (EVENT_SIZE + summary.routes * DESTINATION_SIZE)

    async def _write(self, pending: "PendingWrite") -> None:
        summary = pending.summary
        before = self._state.stored(summary)
        after = make_status(summary, pending.rollup, before, _now())
        path = f"{STATICROUTES}/{summary.name}/status"
        try:
            await self._client.patch(path, {"status": after}, content_type=MERGE_PATCH)
        except ApiError as error:
            self._metrics.status_writes.labels(str(error.status or "no answer")).inc()
            logger.warning(
                "Can't write the status of StaticRoute %s: %s", summary.name, error, extra={"object": summary.name}
            )
            pending.failed()
            return
        self._metrics.status_writes.labels("ok").inc()
        pending.written()
        self._state.record_status(summary, after)
        self._on_written(summary, before, after)


@dataclass(eq=False, slots=True)
class PendingWrite:
    """The pending write of one StaticRoute's status.

    Attributes:
        summary: the object.
        rollup: the newest roll-up.
        due: time of the write, by the clock of the event loop.
        urgency: rank among due writes.
    """

    summary: RouteSummary
    rollup: Rollup
    due: float = AT_ONCE
    urgency: Urgency = Urgency.OTHER
    _settled_generation: int | None = None
    _written_at: float = AT_ONCE
    _again_at: float = AT_ONCE
    _backoff: Backoff = field(default_factory=lambda: Backoff(FIRST_BACKOFF, LAST_BACKOFF))

    def compare(self, stored: Status, pause: float) -> bool:
        """Report whether the status must be written, and set due time and urgency.

        Args:
            stored: the stored status of the object.
            pause: seconds from the last write to one that nobody waits for.
        """
        if _settled(stored):
            self._settled_generation = stored["observedGeneration"]
        status = make_status(self.summary, self.rollup, stored, _now())
        # The retired operator wrote the other fields.
        if all(stored.get(key) == value for key, value in status.items()):
            return False
        generation = self.summary.generation
        begins = stored.get("observedGeneration") != generation
        settles = _settled(status) and self._settled_generation != generation
        # Nodes wait for the next stage.
        staged = stored.get("rollout") != status.get("rollout", stored.get("rollout"))
        if self.rollup.failed > _failed(stored):
            self.urgency = Urgency.WORSE
        elif settles or staged:
            self.urgency = Urgency.SETTLED
        else:
            self.urgency = Urgency.BEGUN if begins else Urgency.OTHER
        self.due = max(self._again_at, AT_ONCE if begins or settles or staged else self._written_at + pause)
        return True

    def written(self) -> None:
        """Note a successful write."""
        self._written_at = asyncio.get_running_loop().time()
        self._again_at = AT_ONCE
        self._backoff.reset()

    def failed(self) -> None:
        """Note a failed write."""
        self._again_at = asyncio.get_running_loop().time() + next(self._backoff)


def _settled(status: Status) -> bool:
    """Report whether no node is pending for the generation of a status."""
    nodes = status.get("nodes")
    return "observedGeneration" in status and isinstance(nodes, Mapping) and nodes.get("pending") == 0


def _failed(status: Status) -> int:
    """Return the number of failed nodes in a status."""
    nodes = status.get("nodes")
    failed = nodes.get("failed") if isinstance(nodes, Mapping) else None
    return failed if isinstance(failed, int) else 0


def _now() -> str:
    return dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
