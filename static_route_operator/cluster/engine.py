"""Kopf as the watch engine: in its own thread, supervised, and without writes to the API server.

The thread is necessary because Kopf cancels every task of its event loop when it ends, and it ends on many answers of
the API server (401, 404, 410). Neither routes nor status may depend on that, so a supervisor restarts it. Kopf writes
nothing: its change handlers, daemons and timers keep their state in the object, which all nodes share, so they would
lose events and fight over finalizers.
"""

import abc
import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple, cast

import kopf

# Resources that Kopf has found. spawn_tasks takes an instance, but the package does not export the class. This is the
# program's only private import from Kopf; tests/unit/cluster/test_kopf.py compares it with the installed version.
from kopf._cogs.structs.references import Insights

from static_route_operator.api import GROUP
from static_route_operator.cluster.api import log_in
from static_route_operator.observability.metrics import ApiMetrics
from static_route_operator.supervision import Backoff, Signal

logger = logging.getLogger(__name__)

# Kopf's types, for packages that do not import Kopf.
Event = kopf.RawEvent
Settings = kopf.OperatorSettings

# Seconds before the first and, at most, before a later retry.
FIRST_BACKOFF = 1.0
LAST_BACKOFF = 30.0
# Seconds after which a watch counts as healthy: its next failure starts from the first backoff again.
HEALTHY = 60.0
# Seconds for an orderly end. Kopf takes up to 6 s, or never ends.
ENDING = 10.0
# Cancellations of a task that does not end, one second apart, before the engine goes on without it.
ASKED = 5


class EndlessBackoffs:
    """Seconds between attempts of a request: growing, with jitter, and endless, as Kopf gives up after the last."""

    def __iter__(self) -> Iterator[float]:
        return Backoff(FIRST_BACKOFF, LAST_BACKOFF)


class _NothingKept(kopf.DiffBaseStorage):
    """Storage that keeps nothing.

    Kopf's own storages copy each object with all its destinations, for change handlers, and this program has none.
    """

    def build(self, **_: Any) -> kopf.BodyEssence:
        """Return the part of an object to compare: none."""
        return cast("kopf.BodyEssence", {})

    def fetch(self, **_: Any) -> None:
        """Return the stored part of an object: none."""

    def store(self, **_: Any) -> None:
        """Store nothing."""


def engine_settings(selectors: Mapping[tuple[str, str], str]) -> kopf.OperatorSettings:
    """Return Kopf's settings for one of many instances that watch the same objects.

    Args:
        selectors: field selectors of the resources that are watched in part, by group (``v1`` for the core) and plural.
    """
    settings = kopf.OperatorSettings()
    # A peering object anywhere in the cluster would pause all instances but one.
    settings.peering.standalone = True
    settings.posting.enabled = False
    # Kopf removes its own finalizer from objects without a handler that needs it. The retired operator left Kopf's
    # default finalizer on its objects: under that name Kopf would try to remove it for ever, as agents may not write.
    settings.persistence.finalizer = f"{GROUP}/never-set"
    settings.persistence.diffbase_storage = _NothingKept()
    # Kopf keeps the last event of each object, with the whole object, for this long.
    settings.queueing.idle_timeout = 0.1
    settings.networking.error_backoffs = EndlessBackoffs()
    settings.networking.request_timeout = 30
    settings.networking.connect_timeout = 5
    settings.watching.connect_timeout = 5
    # The API server sends bookmarks about every minute; Kopf's default of 70 s leaves no slack for a busy server.
    settings.watching.inactivity_timeout = 150
    for resource, selector in selectors.items():
        settings.watching.field_selectors[resource] = selector
    # With a timeout Kopf kills the whole process if the end of its thread takes longer.
    settings.process.ultimate_exiting_timeout = None
    return settings


class Handler(NamedTuple):
    """A handler of the events of one resource.

    Attributes:
        group: API group of the resource; empty for the core group.
        version: API version of the resource.
        plural: plural name of the resource.
        call: the function that Kopf calls.
        types: types of the events to handle, where None is the type of a listed object; empty for all.
    """

    group: str
    version: str
    plural: str
    call: Callable[..., Awaitable[None]]
    types: tuple[str | None, ...] = ()

    def matches(self, event: Event, **_: Any) -> bool:
        """Report whether an event is of a type to handle."""
        return not self.types or event["type"] in self.types


class Engine(abc.ABC):
    """Supervisor of Kopf, which watches for ever; events go to the event loop in which the engine was created.

    Args:
        identity: name of this instance.
        plurals: resources of the operator's own group that have handlers.
        settings: factory of Kopf's settings, called for each start.
        metrics: counters of restarts and events.

    Attributes:
        on_relist: emitted at a restart, after which Kopf lists again: no event reports a deletion in between.
    """

    def __init__(
        self, identity: str, plurals: frozenset[str], settings: Callable[[], kopf.OperatorSettings], metrics: ApiMetrics
    ) -> None:
        self.on_relist: Signal[[]] = Signal()
        self._identity = identity
        self._plurals = plurals
        self._settings = settings
        self._metrics = metrics
        self._main = asyncio.get_running_loop()
        self._stopping = threading.Event()
        self._operator_stop = threading.Event()
        self._thread = threading.Thread(target=self._run_thread, name="watch", daemon=True)

    @abc.abstractmethod
    def handlers(self) -> Iterable[Handler]:
        """Return the handlers for a watch that starts from a full list."""

    def register(self, registry: kopf.OperatorRegistry) -> None:
        """Add the handlers to a registry, as event handlers."""
        for handler in self.handlers():
            resource = (handler.group, handler.version, handler.plural)
            kopf.on.event(*resource, when=handler.matches, registry=registry)(cast("Any", handler.call))

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def restart(self) -> None:
        """End all open watches and start again with a full list."""
        self._operator_stop.set()

    async def stop(self) -> None:
        """End the thread; the objects received so far stay known."""
        self._stopping.set()
        self._operator_stop.set()
        if self._thread.is_alive():
            await asyncio.to_thread(self._thread.join, 5)

    def deliver(self, call: Callable[..., object], *arguments: Any) -> None:
        """Call a function in the main event loop with the data of an event; for handlers, which run in the thread."""
        self._metrics.watch_last_event.set_to_current_time()
        self._main.call_soon_threadsafe(call, *arguments)

    # In the thread.

    def _run_thread(self) -> None:
        asyncio.run(self._supervise())

    async def _supervise(self) -> None:
        backoff = Backoff(FIRST_BACKOFF, LAST_BACKOFF)
        loop = asyncio.get_running_loop()
        while True:
            started = loop.time()
            self._operator_stop = threading.Event()
            # After the new flag exists: stop() sets `_stopping` first, so it is seen here or the new flag is set.
            if self._stopping.is_set():
                return
            try:
                self._metrics.watch_running.set(1)
                await self._watch(patience=backoff.seconds)
            except Exception as error:  # noqa: BLE001  logged; the watch is restarted after any error
                logger.warning("The watch of the API server ended and will be restarted: %s", error)
            self._metrics.watch_running.set(0)
            self._metrics.watch_restarts.inc()
            self._main.call_soon_threadsafe(self.on_relist.emit)
            if loop.time() - started > HEALTHY:
                backoff.reset()
            await asyncio.sleep(next(backoff))

    async def _watch(self, patience: float) -> None:
        """Run Kopf until it ends, or until a resource is missing for too long.

        Args:
            patience: seconds that a resource may be missing.

        Raises:
            Exception: the error that ended Kopf.
        """
        insights = Insights()
        missing = asyncio.create_task(self._end_if_missing(insights, patience, self._operator_stop))
        ours = asyncio.all_tasks()
        roots = await kopf.spawn_tasks(
            registry=self._registry(),
            settings=self._settings(),
            insights=insights,
            clusterwide=True,
            standalone=True,
            # Without an identity Kopf looks up the user's name, which a container may not have.
            identity=cast("Any", self._identity),  # its type is private to Kopf
            stop_flag=self._operator_stop,
        )
        operator = asyncio.create_task(kopf.run_tasks(roots, ignored=ours))
        await asyncio.wait(roots, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.wait({operator}, timeout=ENDING)
        # A request in Kopf's retry loop can swallow a cancellation as the end of one attempt.
        for _ in range(ASKED):
            if not (lasting := asyncio.all_tasks() - ours):
                break
            for task in lasting:
                task.cancel()
            await asyncio.wait(lasting, timeout=1)
        missing.cancel()
        if operator.done() and not operator.cancelled():
            operator.result()
        else:
            logger.warning("The watch of the API server did not end properly; unfinished tasks were cancelled")

    async def _end_if_missing(self, insights: Insights, patience: float, stop: threading.Event) -> None:
        """End the watch if a resource is missing for longer than `patience`.

        Kopf looks for resources once after each change of a CustomResourceDefinition. The API server may serve a
        resource only a moment later, and then nothing makes Kopf look again.
        """

        def complete() -> bool:
            return self._plurals <= {each.plural for each in insights.watched_resources if each.group == GROUP}

        await insights.ready_resources.wait()
        async with insights.revised:
            while True:
                await insights.revised.wait_for(lambda: not complete())
                try:
                    async with asyncio.timeout(patience):
                        await insights.revised.wait()
                except TimeoutError:
                    break
                # A CustomResourceDefinition has changed: the API server serves the rest in a moment.
                patience = FIRST_BACKOFF
        stop.set()

    def _registry(self) -> kopf.OperatorRegistry:
        registry = kopf.OperatorRegistry()
        kopf.on.login(registry=registry)(_log_in)
        self.register(registry)
        return registry


async def _log_in(settings: kopf.OperatorSettings, **_: Any) -> kopf.ConnectionInfo:
    return log_in(settings)
