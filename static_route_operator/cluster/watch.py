"""Kopf as the watch engine: in a thread of its own, supervised, and without one write to the API server.

In a thread, since Kopf cancels every task of its event loop when it ends, and it ends on many answers of the API
server (401, 404, 410). Supervised, since the routes must not depend on that. Without a write: its change handlers,
daemons and timers keep their state in the object, which all nodes share, so they lose events and fight over finalizers.
"""

import asyncio
import logging
import random
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

import kopf

from static_route_operator.api import GROUP, VERSION
from static_route_operator.api.staticroute import PLURAL, StaticRoute
from static_route_operator.cluster.api import log_in
from static_route_operator.errors import InvalidSpecError
from static_route_operator.inventory import Invalid, Inventory
from static_route_operator.observability.metrics import Metrics
from static_route_operator.planning.facts import Node

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


def watch_settings(node_name: str) -> kopf.OperatorSettings:
    """Kopf's settings for one of many agents on the same objects."""
    settings = kopf.OperatorSettings()
    # A peering object anywhere in the cluster would pause all agents but one.
    settings.peering.standalone = True
    settings.posting.enabled = False
    # Kopf takes its finalizer off an object that no handler asks it for. The retired operator left Kopf's default one
    # on its objects: that must not be taken for ours, since a write is refused, and is tried again for ever.
    settings.persistence.finalizer = f"{GROUP}/never-set"
    settings.networking.error_backoffs = EndlessBackoffs()
    settings.networking.request_timeout = 30
    settings.networking.connect_timeout = 5
    settings.watching.connect_timeout = 5
    # The API server sends bookmarks about every minute; Kopf's default of 70 s leaves a busy one no slack.
    settings.watching.inactivity_timeout = 150
    # Whole CRDs and Nodes of others would be most of the traffic.
    settings.watching.field_selectors["v1", "nodes"] = f"metadata.name={node_name}"
    settings.watching.field_selectors["apiextensions.k8s.io", "customresourcedefinitions"] = (
        f"metadata.name={PLURAL}.{GROUP}"
    )
    # Else it would kill this thread, and so the process, if its end took long.
    settings.process.ultimate_exiting_timeout = None
    return settings


class Watch:
    """Feeds an inventory from the API server's watches, for ever.

    Args:
        node_name: this node.
        inventory: what to feed, in the event loop that is running now.
        metrics: where to count.

    Attributes:
        on_relist: called when Kopf has listed anew, or will: a deletion in between is not told by any event.
    """

    def __init__(self, node_name: str, inventory: Inventory, metrics: Metrics) -> None:
        self._node_name = node_name
        self._inventory = inventory
        self._metrics = metrics
        self.on_relist: Callable[[], None] = _nothing
        self._main = asyncio.get_running_loop()
        self._stopping = threading.Event()
        self._operator_stop = threading.Event()
        self._generations: dict[str, int] = {}
        self._thread = threading.Thread(target=self._run_thread, name="watch", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def restart(self) -> None:
        """End the watches that are open and begin anew, with a full list."""
        self._operator_stop.set()

    async def stop(self) -> None:
        """End the thread. The inventory stays as it is."""
        self._stopping.set()
        self._operator_stop.set()
        await asyncio.to_thread(self._thread.join, 5)

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
            self._generations.clear()
            try:
                await kopf.operator(
                    registry=self._registry(),
                    settings=watch_settings(self._node_name),
                    clusterwide=True,
                    standalone=True,
                    # Without one Kopf asks for the user's name, which a container need not have.
                    identity=cast("Any", self._node_name),  # a type that Kopf keeps to itself
                    stop_flag=self._operator_stop,
                )
            except Exception as error:  # noqa: BLE001  whatever ended it, it is said and begun anew
                logger.warning("The watch of the API server ended and is begun anew: %s", error)
            self._metrics.watch_restarts.inc()
            self._tell(self.on_relist)
            if loop.time() - started > HEALTHY:
                backoff = FIRST_BACKOFF
            await asyncio.sleep(backoff * random.uniform(0.5, 1.0))  # noqa: S311  jitter, no secret
            backoff = min(backoff * 2, LAST_BACKOFF)

    def _registry(self) -> kopf.OperatorRegistry:
        registry = kopf.OperatorRegistry()
        kopf.on.login(registry=registry)(_log_in)
        for kind, handler in {
            "ADDED": self._create,
            "MODIFIED": self._update,
            "DELETED": self._delete,
            None: self._resume,
        }.items():
            kopf.on.event(GROUP, VERSION, PLURAL, when=_is_of_kind(kind), registry=registry)(handler)
        kopf.on.event("v1", "nodes", registry=registry)(self._see_node)
        return registry

    async def _create(self, event: kopf.RawEvent, **_: Any) -> None:
        self._take(event["object"])

    async def _update(self, event: kopf.RawEvent, **_: Any) -> None:
        metadata: Mapping[str, Any] = event["object"]["metadata"]
        # Labels, annotations and status don't move the generation, and don't concern a node.
        if metadata.get("deletionTimestamp") or self._generations.get(metadata["uid"]) != metadata["generation"]:
            self._take(event["object"])

    async def _delete(self, event: kopf.RawEvent, **_: Any) -> None:
        self._take_away(event["object"]["metadata"]["uid"])

    async def _resume(self, event: kopf.RawEvent, **_: Any) -> None:
        if event["object"]["metadata"]["uid"] in self._generations:
            self._tell(self.on_relist)
        self._take(event["object"])

    async def _see_node(self, event: kopf.RawEvent, **_: Any) -> None:
        metadata = event["object"]["metadata"]
        if metadata["name"] == self._node_name and event["type"] != "DELETED":
            self._tell(self._inventory.set_node, Node(metadata["name"], dict(metadata.get("labels") or {})))

    def _take(self, body: Any) -> None:
        metadata = body["metadata"]
        uid, generation = metadata["uid"], metadata.get("generation", 0)
        if metadata.get("deletionTimestamp"):
            # Somebody's finalizer holds the object; its routes go when it is asked to go.
            self._take_away(uid)
            return
        self._generations[uid] = generation
        item: StaticRoute | Invalid
        try:
            item = StaticRoute.parse(body)
        except InvalidSpecError as error:
            item = Invalid(uid, generation, error)
        self._tell(self._inventory.put, item, int(metadata["resourceVersion"]))

    def _take_away(self, uid: str) -> None:
        self._generations.pop(uid, None)
        self._tell(self._inventory.remove, uid)

    def _tell(self, call: Callable[..., None], *arguments: Any) -> None:
        # Parsed here, taken in there: the inventory belongs to the main loop.
        self._main.call_soon_threadsafe(call, *arguments)


def _nothing() -> None:
    """Nobody listens yet."""


async def _log_in(settings: kopf.OperatorSettings, **_: Any) -> kopf.ConnectionInfo:
    return log_in(settings)


def _is_of_kind(kind: str | None) -> Callable[..., bool]:
    """A filter for events of one type; None is what Kopf calls an object that was listed."""

    def is_of_kind(event: kopf.RawEvent, **_: Any) -> bool:
        return event["type"] == kind

    return is_of_kind
