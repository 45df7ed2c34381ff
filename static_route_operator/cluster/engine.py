"""Kopf as the watch engine: in a thread of its own, supervised, and without one write to the API server.

In a thread, since Kopf cancels every task of its event loop when it ends, and it ends on many answers of the API
server (401, 404, 410). Supervised, since neither routes nor status must depend on that. Without a write: its change
handlers, daemons and timers keep their state in the object, which all nodes share, so they lose events and fight over
finalizers.
"""

import abc
import asyncio
import logging
import random
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

import kopf

from static_route_operator.api import GROUP
from static_route_operator.cluster.api import log_in
from static_route_operator.observability.metrics import ApiMetrics

logger = logging.getLogger(__name__)

FIRST_BACKOFF = 1.0
LAST_BACKOFF = 30.0
# A watch that ran this long was healthy: the next failure starts from the first backoff again. Seconds.
HEALTHY = 60.0


class EndlessBackoffs:
    """Pauses between tries of a request, in seconds: growing, jittered, without end (Kopf gives up at the end)."""

    def __iter__(self) -> Iterator[float]:
        backoff = FIRST_BACKOFF
        while True:
            yield backoff * random.uniform(0.5, 1.0)  # noqa: S311  jitter, no secret
            backoff = min(backoff * 2, LAST_BACKOFF)


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


class Engine(abc.ABC):
    """Kopf, watching for ever; what it sees is told to the event loop that this was made in.

    Args:
        identity: name of this instance.
        settings: made anew for each start.
        metrics: where to count.

    Attributes:
        on_relist: called when Kopf has listed anew, or will: a deletion in between is not told by any event.
    """

    def __init__(self, identity: str, settings: Callable[[], kopf.OperatorSettings], metrics: ApiMetrics) -> None:
        self.on_relist: Callable[[], None] = _nothing
        self._identity = identity
        self._settings = settings
        self._metrics = metrics
        self._main = asyncio.get_running_loop()
        self._stopping = threading.Event()
        self._operator_stop = threading.Event()
        self._thread = threading.Thread(target=self._run_thread, name="watch", daemon=True)

    @abc.abstractmethod
    def register(self, registry: kopf.OperatorRegistry) -> None:
        """Add the handlers, of events only, to the registry of a watch that is begun anew."""

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
        await asyncio.to_thread(self._thread.join, 5)

    def tell(self, call: Callable[..., None], *arguments: Any) -> None:
        """Call something in the main event loop, from the thread."""
        self._main.call_soon_threadsafe(call, *arguments)

    # In the thread.

    def _run_thread(self) -> None:
        asyncio.run(self._supervise())

    async def _supervise(self) -> None:
        backoff = FIRST_BACKOFF
        loop = asyncio.get_running_loop()
        while True:
            started = loop.time()
            self._operator_stop = threading.Event()
            # After it is made: stop() sets the one, then the other.
            if self._stopping.is_set():
                return
            try:
                await kopf.operator(
                    registry=self._registry(),
                    settings=self._settings(),
                    clusterwide=True,
                    standalone=True,
                    # Without one Kopf asks for the user's name, which a container need not have.
                    identity=cast("Any", self._identity),  # a type that Kopf keeps to itself
                    stop_flag=self._operator_stop,
                )
            except Exception as error:  # noqa: BLE001  whatever ended it, it is said and begun anew
                logger.warning("The watch of the API server ended and is begun anew: %s", error)
            self._metrics.watch_restarts.inc()
            self.tell(self.on_relist)
            if loop.time() - started > HEALTHY:
                backoff = FIRST_BACKOFF
            await asyncio.sleep(backoff * random.uniform(0.5, 1.0))  # noqa: S311  jitter, no secret
            backoff = min(backoff * 2, LAST_BACKOFF)

    def _registry(self) -> kopf.OperatorRegistry:
        registry = kopf.OperatorRegistry()
        kopf.on.login(registry=registry)(_log_in)
        self.register(registry)
        return registry


def _nothing() -> None:
    """Nobody listens yet."""


async def _log_in(settings: kopf.OperatorSettings, **_: Any) -> kopf.ConnectionInfo:
    return log_in(settings)
