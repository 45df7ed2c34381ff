"""Writes statuses of StaticRoutes, seldom: each write goes to every node's watch, with all destinations along.

The first write when a change begins to roll out and the first when it has settled are due at once; any other is due
when the last one is `PAUSE` old, or older by `SHARE`, and says what is so by then. What is due goes out one after the
other, the most urgent first, and no faster than `FAN_OUT`.
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

# Seconds between writes to one object that nobody waits for.
PAUSE = 30.0
# Bytes per second that all watches of all nodes together are sent because of statuses: a gigabit link's worth. One
# change costs a moment of it; 200 statuses that are due at once would hold up everybody else's watches, and memory of
# the API server for each watch that falls behind.
FAN_OUT = 100_000_000.0
# What nobody waits for may take this part of it, for each object: where an object with thousands of destinations takes
# minutes to roll out to thousands of nodes, that is one write or two meanwhile, not one every `PAUSE`.
SHARE = 0.01
# Of an event on one watch, in bytes: all but the destinations, and a destination.
EVENT_SIZE, DESTINATION_SIZE = 2_000, 20

AT_ONCE = float("-inf")

Status = Mapping[str, Any]


class Urgency(enum.IntEnum):
    """What goes first of what is due."""

    WORSE = 0  # more nodes fail than the object says
    SETTLED = 1  # what somebody waits for
    # After what has settled: a roll-out that settles before its turn needs one write, not two.
    BEGUN = 2
    OTHER = 3


class StatusWriter:
    """Writes how each object fares when that is due, and tries for ever.

    Args:
        api: the API server.
        overview: knows the status that each object has, and is told the new one.
        metrics: where to count.
        on_written: called with the object, the status it had, and what it has now.
    """

    def __init__(
        self,
        api: Client,
        overview: ClusterState,
        metrics: ControllerMetrics,
        on_written: Callable[[RouteSummary, Status, Status], None],
    ) -> None:
        self._api = api
        self._overview = overview
        self._metrics = metrics
        self._on_written = on_written
        self._desks: dict[str, PendingWrites] = {}
        # Those of the desks that have something to write, in the order in which they came.
        self._waiting: dict[str, PendingWrites] = {}
        self._news = asyncio.Event()

    def offer(self, subject: RouteSummary, rollup: Rollup) -> None:
        """Take in how an object fares now; it is written when it is due, unless the object says so already."""
        desk = self._desks.setdefault(subject.uid, PendingWrites(subject, rollup))
        desk.subject, desk.rollup = subject, rollup
        self._line_up(desk)

    def retain(self, uids: Container[str]) -> None:
        """Forget all objects but these."""
        for uid in [uid for uid in self._desks if uid not in uids]:
            del self._desks[uid]
            self._waiting.pop(uid, None)

    async def run(self) -> None:
        """Write until cancelled."""
        loop = asyncio.get_running_loop()
        free_at = loop.time()
        while True:
            self._news.clear()
            now = loop.time()
            desk = self._next(now)
            if desk is None or max(desk.due, free_at) > now:
                pause = None if desk is None else max(desk.due, free_at) - now
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._news.wait(), pause)
                continue
            del self._waiting[desk.subject.uid]
            free_at = now + self._fan_out(desk.subject) / FAN_OUT
            await self._write(desk)
            if desk.subject.uid in self._desks:
                # What was offered meanwhile, or what could not be written.
                self._line_up(desk)

    def _next(self, now: float) -> "PendingWrites | None":
        """What is due, the most urgent first, else what will be due first."""
        return min(self._waiting.values(), key=lambda each: (max(each.due, now), each.urgency), default=None)

    def _line_up(self, desk: "PendingWrites") -> None:
        pause = max(PAUSE, self._fan_out(desk.subject) / FAN_OUT / SHARE)
        if desk.compare(self._overview.stored(desk.subject), pause):
            self._waiting[desk.subject.uid] = desk
            self._news.set()
        else:
            self._waiting.pop(desk.subject.uid, None)

    def _fan_out(self, subject: RouteSummary) -> int:
        """Bytes that one write of a status makes the API server send."""
        return len(self._overview.members.items) * (EVENT_SIZE + subject.routes * DESTINATION_SIZE)

    async def _write(self, desk: "PendingWrites") -> None:
        subject = desk.subject
        before = self._overview.stored(subject)
        after = make_status(subject, desk.rollup, before, _now())
        path = f"{STATICROUTES}/{subject.name}/status"
        try:
            await self._api.patch(path, {"status": after}, content_type=MERGE_PATCH)
        except ApiError as error:
            self._metrics.status_writes.labels(str(error.status or "no answer")).inc()
            logger.warning(
                "The status of StaticRoute %s can't be written: %s", subject.name, error, extra={"object": subject.name}
            )
            desk.failed()
            return
        self._metrics.status_writes.labels("ok").inc()
        desk.written()
        self._overview.know_status(subject, after)
        self._on_written(subject, before, after)


@dataclass(eq=False, slots=True)
class PendingWrites:
    """The newest of one object, and when to write it.

    Attributes:
        subject: the object.
        rollup: how it fares.
        due: when to write it, by the clock of the event loop.
        urgency: among what is due.
    """

    subject: RouteSummary
    rollup: Rollup
    due: float = AT_ONCE
    urgency: Urgency = Urgency.OTHER
    _settled_generation: int | None = None
    _written_at: float = AT_ONCE
    _again_at: float = AT_ONCE
    _backoff: Backoff = field(default_factory=lambda: Backoff(FIRST_BACKOFF, LAST_BACKOFF))

    def compare(self, stored: Status, pause: float) -> bool:
        """Whether there is something to write; when, and how urgently, is kept.

        Args:
            stored: the status that the object has.
            pause: seconds from the last write to one that nobody waits for.
        """
        if _settled(stored):
            self._settled_generation = stored["observedGeneration"]
        status = make_status(self.subject, self.rollup, stored, _now())
        # What else stands in it was written by the retired operator.
        if all(stored.get(key) == value for key, value in status.items()):
            return False
        generation = self.subject.generation
        begins = stored.get("observedGeneration") != generation
        settles = _settled(status) and self._settled_generation != generation
        # Nodes wait for it.
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
        """Take in that it was written just now."""
        self._written_at = asyncio.get_running_loop().time()
        self._again_at = AT_ONCE
        self._backoff.reset()

    def failed(self) -> None:
        """Take in that it could not be written."""
        self._again_at = asyncio.get_running_loop().time() + next(self._backoff)


def _settled(status: Status) -> bool:
    """Whether every node has answered for the generation, or can't be expected to."""
    nodes = status.get("nodes")
    return "observedGeneration" in status and isinstance(nodes, Mapping) and nodes.get("pending") == 0


def _failed(status: Status) -> int:
    """Number of nodes that it says fail."""
    nodes = status.get("nodes")
    failed = nodes.get("failed") if isinstance(nodes, Mapping) else None
    return failed if isinstance(failed, int) else 0


def _now() -> str:
    return dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
