"""Restarts of Kopf: when it ends, when it does not end, when it misses a resource."""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import kopf
import pytest
from kopf._cogs.structs.references import Insights, Resource

from static_route_operator.api import GROUP, VERSION
from static_route_operator.cluster import engine
from static_route_operator.cluster.engine import Engine, Handler, engine_settings
from static_route_operator.observability.metrics import ApiMetrics

# Seconds: long for what is awaited, and for what must not come.
LONG = 20.0
A_WHILE = 0.5


class Plain(Engine):
    """An engine for one resource."""

    def handlers(self) -> tuple[Handler, ...]:
        """Handle nothing."""
        return ()


class FakeKopf:
    """A stand-in for Kopf's operator that behaves as set.

    Attributes:
        starts: operators begun.
        root: what each does until it ends.
        found: whether the resource is there.
        insights: of the latest operator.
    """

    def __init__(self) -> None:
        self.starts = 0
        self.found = True
        self.insights = Insights()
        self.root: Callable[[threading.Event], Awaitable[None]] = self.until_stopped

    async def spawn_tasks(self, *, insights: Insights, stop_flag: threading.Event, **_: Any) -> list[Any]:
        """Start an operator."""
        self.starts += 1
        self.insights = insights
        if self.found:
            insights.watched_resources.add(Resource(GROUP, VERSION, "things"))
        insights.ready_resources.set()
        return [asyncio.create_task(self.root(stop_flag))]  # type: ignore[arg-type]

    async def until_stopped(self, stop: threading.Event) -> None:
        """End when the stop flag is set."""
        while not stop.is_set():  # noqa: ASYNC110  set by another thread
            await asyncio.sleep(0.01)

    async def reaches(self, starts: int) -> None:
        """Wait for a number of starts."""
        async with asyncio.timeout(LONG):
            while self.starts < starts:  # noqa: ASYNC110  counted in another thread
                await asyncio.sleep(0.01)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeKopf:
    """Replace Kopf, and make all delays short."""
    fake = FakeKopf()
    monkeypatch.setattr(kopf, "spawn_tasks", fake.spawn_tasks)
    for pause in ("FIRST_BACKOFF", "LAST_BACKOFF", "ENDING"):
        monkeypatch.setattr(engine, pause, 0.05)
    return fake


@pytest.fixture
async def plain(fake: FakeKopf) -> AsyncIterator[Engine]:
    """Return a running engine."""
    plain = Plain("test", frozenset({"things"}), lambda: engine_settings({}), ApiMetrics())
    plain.start()
    await fake.reaches(1)
    yield plain
    await plain.stop()


async def test_a_watch_that_has_what_it_needs_goes_on(fake: FakeKopf, plain: Engine) -> None:
    """Nothing restarts without a reason."""
    await asyncio.sleep(A_WHILE)

    assert fake.starts == 1


async def test_a_restart_on_demand_starts_the_watch_again(fake: FakeKopf, plain: Engine) -> None:
    """A restart is reported, since no watch sees a deletion in between."""
    relisted = asyncio.Event()
    plain.on_relist.connect(relisted.set)

    plain.restart()

    await asyncio.wait_for(relisted.wait(), LONG)
    await fake.reaches(2)


async def test_a_missing_resource_is_looked_for_again(fake: FakeKopf, plain: Engine) -> None:
    """The API server may serve a resource later than it announces the CRD, and Kopf looks once."""
    fake.found = False
    plain.restart()

    await fake.reaches(4)
    fake.found = True
    await asyncio.sleep(A_WHILE)
    starts = fake.starts
    await asyncio.sleep(A_WHILE)

    assert fake.starts == starts


async def test_an_operator_that_does_not_end_is_ended(fake: FakeKopf, plain: Engine) -> None:
    """Tasks of Kopf that swallow a cancellation do not stop the watch for good."""

    async def stubborn(_stop: threading.Event) -> None:
        asked = 0
        while asked < 3:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                asked += 1

    async def ending(stop: threading.Event) -> None:
        asyncio.create_task(stubborn(stop), name="stubborn")  # noqa: RUF006
        await asyncio.sleep(0.01)
        msg = "out of credentials"
        raise RuntimeError(msg)

    fake.root = ending
    plain.restart()

    await fake.reaches(2)
    fake.root = fake.until_stopped
    await fake.reaches(3)
