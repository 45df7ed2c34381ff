"""Writes statuses of StaticRoutes, seldom: each write goes to every node's watch, with all destinations along.

The first write when a change begins to roll out and the first when it has settled go out at once; any other waits until
the last one is `PAUSE` old, and says what is so by then.
"""

import asyncio
import contextlib
import datetime as dt
import logging
import random
from collections.abc import Callable, Container, Mapping
from typing import Any

from static_route_operator.api import GROUP, VERSION
from static_route_operator.api.staticroute import PLURAL
from static_route_operator.cluster.api import Api
from static_route_operator.cluster.engine import FIRST_BACKOFF, LAST_BACKOFF
from static_route_operator.cluster.overview import Overview
from static_route_operator.errors import ApiError
from static_route_operator.observability.metrics import ControllerMetrics
from static_route_operator.planning.rollup import Rollup, Subject, make_status

logger = logging.getLogger(__name__)

# Seconds between writes to one object that nobody waits for.
PAUSE = 30.0
# Requests at a time.
CONCURRENCY = 4

MERGE_PATCH = "application/merge-patch+json"
AT_ONCE = float("-inf")

Status = Mapping[str, Any]


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
        api: Api,
        overview: Overview,
        metrics: ControllerMetrics,
        on_written: Callable[[Subject, Status, Status], None],
    ) -> None:
        self._api = api
        self._overview = overview
        self._metrics = metrics
        self._on_written = on_written
        self._slots = asyncio.Semaphore(CONCURRENCY)
        self._desks: dict[str, _Desk] = {}

    def offer(self, subject: Subject, rollup: Rollup) -> None:
        """Take in how an object fares now; it is written when it is due, unless the object says so already."""
        desk = self._desks.get(subject.uid)
        if desk is None:
            desk = self._desks[subject.uid] = _Desk(self)
        desk.take(subject, rollup)

    def retain(self, uids: Container[str]) -> None:
        """Forget all objects but these."""
        for uid in [uid for uid in self._desks if uid not in uids]:
            self._desks.pop(uid).close()

    async def stop(self) -> None:
        """Write no more."""
        tasks = [task for desk in self._desks.values() if (task := desk.close())]
        await asyncio.gather(*tasks, return_exceptions=True)

    def stored(self, subject: Subject) -> Status:
        """The status that an object has."""
        return self._overview.stored(subject)

    async def write(self, subject: Subject, before: Status, after: Status) -> None:
        """Write a status.

        Raises:
            ApiError: the API server said no, or nothing.
        """
        path = f"/apis/{GROUP}/{VERSION}/{PLURAL}/{subject.name}/status"
        async with self._slots:
            try:
                await self._api.patch(path, {"status": after}, content_type=MERGE_PATCH)
            except ApiError as error:
                self._metrics.status_writes.labels(str(error.status or "no answer")).inc()
                raise
        self._metrics.status_writes.labels("ok").inc()
        self._overview.know_status(subject, after)
        self._on_written(subject, before, after)


class _Desk:
    """The newest of one object, and when to write it."""

    def __init__(self, writer: StatusWriter) -> None:
        self._writer = writer
        self._newest: tuple[Subject, Rollup] | None = None
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._written_at = AT_ONCE
        self._settled_generation: int | None = None

    def take(self, subject: Subject, rollup: Rollup) -> None:
        """Replace the newest."""
        stored = self._writer.stored(subject)
        if _settled(stored):
            self._settled_generation = stored["observedGeneration"]
        self._newest = (subject, rollup)
        self._news.set()
        if self._task is None:
            self._task = asyncio.create_task(self._run())

    def close(self) -> asyncio.Task[None] | None:
        """Write no more; the task that ends."""
        if self._task is not None:
            self._task.cancel()
        return self._task

    async def _run(self) -> None:
        backoff = FIRST_BACKOFF
        while self._newest is not None:
            self._news.clear()
            subject, rollup = self._newest
            before = self._writer.stored(subject)
            after = make_status(subject, rollup, before, _now())
            if all(before.get(key) == value for key, value in after.items()):
                # What else stands in it was written by the retired operator.
                break
            if (pause := self._due(before, after) - asyncio.get_running_loop().time()) > 0:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._news.wait(), pause)
                continue
            try:
                await self._writer.write(subject, before, after)
            except ApiError as error:
                logger.warning("The status of StaticRoute %s can't be written: %s", subject.name, error)
                await asyncio.sleep(backoff * random.uniform(0.5, 1.0))  # noqa: S311  jitter, no secret
                backoff = min(backoff * 2, LAST_BACKOFF)
                continue
            backoff = FIRST_BACKOFF
            self._written_at = asyncio.get_running_loop().time()
            if _settled(after):
                self._settled_generation = after["observedGeneration"]
        self._task = None

    def _due(self, before: Status, after: Status) -> float:
        """When the next write is due, by the clock of the event loop."""
        generation = after["observedGeneration"]
        begins = before.get("observedGeneration") != generation
        settles = _settled(after) and self._settled_generation != generation
        return AT_ONCE if begins or settles else self._written_at + PAUSE


def _settled(status: Status) -> bool:
    """Whether every node has answered for the generation, or can't be expected to."""
    nodes = status.get("nodes")
    return "observedGeneration" in status and isinstance(nodes, Mapping) and nodes.get("pending") == 0


def _now() -> str:
    return dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
