"""Kopf as the watch engine: in a thread of its own, supervised, and without one write to the API server.

In a thread, since Kopf cancels every task of its event loop when it ends, and it ends on many answers of the API
server (401, 404, 410). Supervised, since neither routes nor status must depend on that. Without a write: its change
handlers, daemons and timers keep their state in the object, which all nodes share, so they lose events and fight over
finalizers.
"""

import abc
import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple, cast

import kopf

# What Kopf has found of the resources that it is to watch: its operator takes one, but the package doesn't export it.
from kopf._cogs.structs.references import Insights

from static_route_operator.api import GROUP
from static_route_operator.cluster.api import log_in
from static_route_operator.observability.metrics import ApiMetrics
from static_route_operator.supervision import Backoff, Signal

logger = logging.getLogger(__name__)

# The names by which the other packages know Kopf's own.
Event = kopf.RawEvent
Settings = kopf.OperatorSettings

FIRST_BACKOFF = 1.0
LAST_BACKOFF = 30.0
# A watch that ran this long was healthy: the next failure starts from the first backoff again. Seconds.
HEALTHY = 60.0
# Kopf ends in good order within 6 s, or not at all. Seconds.
ENDING = 10.0
# Times that a task is asked to end, one second apart, before it is given up.
ASKED = 5


class EndlessBackoffs:
    """Pauses between tries of a request, in seconds: growing, jittered, without end (Kopf gives up at the end)."""

    def __iter__(self) -> Iterator[float]:
        return Backoff(FIRST_BACKOFF, LAST_BACKOFF)


class _NothingKept(kopf.DiffBaseStorage):
    """Instead of a deep copy of each object, destinations and all, for handlers of changes: there are none."""

    def build(self, **_: Any) -> kopf.BodyEssence:
        """What is compared of an object."""
        return cast("kopf.BodyEssence", {})

    def fetch(self, **_: Any) -> None:
        """What was kept of an object."""

    def store(self, **_: Any) -> None:
        """Keep it."""


def engine_settings(selectors: Mapping[tuple[str, str], str]) -> kopf.OperatorSettings:
    """Kopf's settings for one of many instances on the same objects.

    Args:
        selectors: field selectors by group (with version if it has one) and plural: what is not watched whole.
    """
    settings = kopf.OperatorSettings()
    # A peering object anywhere in the cluster would pause all instances but one.
    settings.peering.standalone = True
    settings.posting.enabled = False
    # Kopf takes its finalizer off an object that no handler asks it for. The retired operator left Kopf's default one
    # on its objects: that must not be taken for ours, since a write is refused, and is tried again for ever.
    settings.persistence.finalizer = f"{GROUP}/never-set"
    settings.persistence.diffbase_storage = _NothingKept()
    # Until then Kopf holds on to the last event of each object, with all that is in it.
    settings.queueing.idle_timeout = 0.1
    settings.networking.error_backoffs = EndlessBackoffs()
    settings.networking.request_timeout = 30
    settings.networking.connect_timeout = 5
    settings.watching.connect_timeout = 5
    # The API server sends bookmarks about every minute; Kopf's default of 70 s leaves a busy one no slack.
    settings.watching.inactivity_timeout = 150
    for resource, selector in selectors.items():
        settings.watching.field_selectors[resource] = selector
    # Else it would kill this thread, and so the process, if its end took long.
    settings.process.ultimate_exiting_timeout = None
    return settings


class Handler(NamedTuple):
    """A handler of the events of one resource.

    Attributes:
        group: of the resource; empty for the core group.
        version: of the resource.
        plural: of the resource.
        call: the handler, as Kopf calls it.
        types: the types of events that it handles (None is the type of an object that was listed); empty for all.
    """

    group: str
    version: str
    plural: str
    call: Callable[..., Awaitable[None]]
    types: tuple[str | None, ...] = ()

    def matches(self, event: Event, **_: Any) -> bool:
        """Report whether the handler handles an event."""
        return not self.types or event["type"] in self.types


class Engine(abc.ABC):
    """Kopf, watching for ever; what it sees is told to the event loop that this was made in.

    Args:
        identity: name of this instance.
        plurals: the resources of the operator's own group that have handlers.
        settings: made anew for each start.
        metrics: where to count.

    Attributes:
        on_relist: called when Kopf has listed anew, or will: a deletion in between is not told by any event.
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
        """Add the handlers to a registry, as handlers of events only."""
        for handler in self.handlers():
            resource = (handler.group, handler.version, handler.plural)
            kopf.on.event(*resource, when=handler.matches, registry=registry)(cast("Any", handler.call))

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def restart(self) -> None:
        """End the watches that are open and begin anew, with a full list."""
        self._operator_stop.set()

    async def stop(self) -> None:
        """End the thread. What it told stays as it is."""
        self._stopping.set()
        self._operator_stop.set()
        if self._thread.is_alive():
            await asyncio.to_thread(self._thread.join, 5)

    def deliver(self, call: Callable[..., object], *arguments: Any) -> None:
        """Call something in the main event loop, from the thread, on an event."""
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
            # After it is made: stop() sets the one, then the other.
            if self._stopping.is_set():
                return
            try:
                self._metrics.watch_running.set(1)
                await self._watch(patience=backoff.seconds)
            except Exception as error:  # noqa: BLE001  whatever ended it, it is said and begun anew
                logger.warning("The watch of the API server ended and is begun anew: %s", error)
            self._metrics.watch_running.set(0)
            self._metrics.watch_restarts.inc()
            self._main.call_soon_threadsafe(self.on_relist.emit)
            if loop.time() - started > HEALTHY:
                backoff.reset()
            await asyncio.sleep(next(backoff))

    async def _watch(self, patience: float) -> None:
        """Have Kopf watch until it ends, or doesn't know what there is to watch.

        Args:
            patience: seconds that a resource may be missing.

        Raises:
            Exception: what ended it, if it was no stop.
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
            # Without one Kopf asks for the user's name, which a container need not have.
            identity=cast("Any", self._identity),  # a type that Kopf keeps to itself
            stop_flag=self._operator_stop,
        )
        operator = asyncio.create_task(kopf.run_tasks(roots, ignored=ours))
        await asyncio.wait(roots, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.wait({operator}, timeout=ENDING)
        # A request of Kopf that is being tried again can take being cancelled for the end of that try.
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
            logger.warning("The watch of the API server did not end in good order")

    async def _end_if_missing(self, insights: Insights, patience: float, stop: threading.Event) -> None:
        """End the watch if a resource is missing for long.

        Kopf looks for resources when a CustomResourceDefinition changes, once. The API server may serve them a moment
        later only, and then nothing makes Kopf look again.
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
                # Something was created: what is still missing is served in a moment.
                patience = FIRST_BACKOFF
        stop.set()

    def _registry(self) -> kopf.OperatorRegistry:
        registry = kopf.OperatorRegistry()
        kopf.on.login(registry=registry)(_log_in)
        self.register(registry)
        return registry


async def _log_in(settings: kopf.OperatorSettings, **_: Any) -> kopf.ConnectionInfo:
    return log_in(settings)
