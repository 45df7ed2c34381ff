"""Complete lists of the objects of one kind, metadata only: at the start and then at intervals.

A list shows when the watch has delivered every object, so that pruning may begin, and finds deletions that the watch
missed.
"""

import asyncio
import contextlib
import logging
from collections.abc import Mapping
from typing import Any, Protocol

from static_route_operator.api import GROUP, VERSION
from static_route_operator.api.staticroute import PLURAL
from static_route_operator.cluster.engine import FIRST_BACKOFF, LAST_BACKOFF, Engine
from static_route_operator.errors import ApiError
from static_route_operator.observability.metrics import ApiMetrics
from static_route_operator.supervision import AROUND, FULL, Backoff

logger = logging.getLogger(__name__)

METADATA_ONLY = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
PATH = f"/apis/{GROUP}/{VERSION}/{PLURAL}"

# Seconds after which "no such resource" counts as "no objects": an API server that starts may say so too.
ABSENT_AFTER = 30.0
# Seconds after a list in which the watch must have delivered its objects, which takes moments; else it is restarted.
DEAF_AFTER = 60.0
# Seconds over which the requested lists of many agents are spread.
SPREAD = 1.0


class Lister(Protocol):
    """Source of lists, as `Api`."""

    async def get(self, path: str, *, accept: str) -> dict[str, Any]:
        """Return a list.

        Raises:
            ApiError: there is no list.
        """


class Listed(Protocol):
    """Receiver of lists, as `Store`. Results are not used."""

    @property
    def complete(self) -> bool:
        """Report whether the watch has delivered every listed object."""

    def replace(self, listed: Mapping[str, int], list_version: int) -> object:
        """Take in a complete list: the resource versions of all objects, by uid, and that of the list."""

    def clear(self) -> object:
        """Take in that the API server does not know the resource, so there are no objects."""


class Listing:
    """Lists the objects of one kind at intervals, and after a failure with back-off.

    Args:
        api: the API server.
        target: receives the lists.
        watch: restarted if it does not deliver the listed objects.
        metrics: the metrics of this process.
        interval: seconds from one list to the next, ± 20 %.
        path: path of the resource.
    """

    def __init__(  # noqa: PLR0913  one of each, and none goes with another
        self, api: Lister, target: Listed, watch: Engine, metrics: ApiMetrics, interval: float, *, path: str = PATH
    ) -> None:
        self._api = api
        self._target = target
        self._watch = watch
        # From the API server's cache: thousands of nodes must not make it read from etcd each time.
        self._path = f"{path}?resourceVersion=0"
        self._resource = path.rpartition("/")[2]
        self._metrics = metrics
        self._interval = interval
        self._absent_since: float | None = None
        self._requested = asyncio.Event()
        self._failing = False

    def request(self) -> None:
        """List soon, since the watch may have missed a deletion."""
        self._requested.set()

    async def run(self) -> None:
        """List until cancelled."""
        backoff = Backoff(FIRST_BACKOFF, LAST_BACKOFF)
        while True:
            if await self._list():
                backoff.reset()
                await self._await_watch()
                await self._pause(AROUND.of(self._interval))
            else:
                await asyncio.sleep(next(backoff))

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._requested.wait(), seconds)
            # All agents of an API server that ends lose their watches in the same moment.
            await asyncio.sleep(FULL.of(SPREAD))
        self._requested.clear()

    async def _list(self) -> bool:
        """Request a list and pass it on; report success."""
        try:
            body = await self._api.get(self._path, accept=METADATA_ONLY)
        except ApiError as error:
            self._metrics.lists.labels(str(error.status or "no answer")).inc()
            if error.status == 404:
                return self._resource_absent()
            self._absent_since = None
            if not self._failing:
                logger.warning("Can't list %s; everything stays as it is: %s", self._resource, error)
            self._failing = True
            return False
        self._absent_since = None
        if self._failing:
            logger.info("Listing %s works again", self._resource)
        self._failing = False
        self._metrics.lists.labels("ok").inc()
        self._metrics.last_list.set_to_current_time()
        items = (item["metadata"] for item in body.get("items") or ())
        listed = {each["uid"]: int(each["resourceVersion"]) for each in items if not each.get("deletionTimestamp")}
        self._target.replace(listed, int(body["metadata"]["resourceVersion"]))
        return True

    def _resource_absent(self) -> bool:
        now = asyncio.get_running_loop().time()
        if self._absent_since is None:
            self._absent_since = now
            logger.warning(
                "The API server does not know %s: is the CustomResourceDefinition installed?", self._resource
            )
        if now - self._absent_since >= ABSENT_AFTER:
            self._target.clear()
        # No success: the resource may come back, so list again soon, not after the interval.
        return False

    async def _await_watch(self) -> None:
        deadline = asyncio.get_running_loop().time() + DEAF_AFTER
        while not self._target.complete:
            if asyncio.get_running_loop().time() > deadline:
                logger.warning("The watch of %s has not delivered all listed objects and is restarted", self._resource)
                self._watch.restart()
                return
            await asyncio.sleep(0.1)
