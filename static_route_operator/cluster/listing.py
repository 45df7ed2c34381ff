"""Complete lists of one kind of objects, metadata only: at the start, and then now and then.

They tell when everything has been seen once, so that pruning may begin, and find the deletions that the watch missed.
"""

import asyncio
import contextlib
import logging
import random
from collections.abc import Mapping
from typing import Protocol

from static_route_operator.api import GROUP, VERSION
from static_route_operator.api.staticroute import PLURAL
from static_route_operator.cluster.api import Api
from static_route_operator.cluster.engine import FIRST_BACKOFF, LAST_BACKOFF, Engine
from static_route_operator.errors import ApiError
from static_route_operator.observability.metrics import ApiMetrics

logger = logging.getLogger(__name__)

METADATA_ONLY = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
PATH = f"/apis/{GROUP}/{VERSION}/{PLURAL}"

# "No such resource" counts as "no objects" only after this: an API server that starts may say so too. Seconds.
ABSENT_AFTER = 30.0
# The watch delivers what a list shows within moments; after this it is taken for deaf and begun anew. Seconds.
DEAF_AFTER = 60.0
# Requested lists of many agents are spread over this. Seconds.
SPREAD = 1.0


class Listed(Protocol):
    """What lists are for."""

    @property
    def complete(self) -> bool:
        """Whether the watch has delivered all that the lists show."""

    def replace(self, listed: Mapping[str, int], list_version: int) -> object:
        """Take in a complete list: the resource version by uid of all objects there are, and that of the list."""

    def clear(self) -> object:
        """Take in that there are no objects at all, since the API server knows no such resource."""


class Listing:
    """Lists for ever.

    Args:
        api: the API server.
        target: what to feed.
        watch: what should have delivered all that is listed.
        metrics: where to count.
        interval: seconds between lists that go well, ± 20 %.
        path: of the resource.
    """

    def __init__(  # noqa: PLR0913  one of each, and none goes with another
        self, api: Api, target: Listed, watch: Engine, metrics: ApiMetrics, interval: float, *, path: str = PATH
    ) -> None:
        self._api = api
        self._target = target
        self._watch = watch
        # From the API server's cache: 5000 nodes must not make it ask etcd each time.
        self._path = f"{path}?resourceVersion=0"
        self._what = path.rpartition("/")[2]
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
        backoff = FIRST_BACKOFF
        while True:
            if await self._list():
                backoff = FIRST_BACKOFF
                await self._await_watch()
                await self._pause(self._interval * random.uniform(0.8, 1.2))  # noqa: S311  jitter, no secret
            else:
                await asyncio.sleep(backoff * random.uniform(0.5, 1.0))  # noqa: S311
                backoff = min(backoff * 2, LAST_BACKOFF)

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._requested.wait(), seconds)
            # All agents lose their watch in the same moment, when an API server goes.
            await asyncio.sleep(random.uniform(0, SPREAD))  # noqa: S311
        self._requested.clear()

    async def _list(self) -> bool:
        """Whether a list was taken in."""
        try:
            body = await self._api.get(self._path, accept=METADATA_ONLY)
        except ApiError as error:
            self._metrics.lists.labels(str(error.status or "no answer")).inc()
            if error.status == 404:
                return self._resource_absent()
            self._absent_since = None
            if not self._failing:
                logger.warning("The %s can't be listed; all stays as it is: %s", self._what, error)
            self._failing = True
            return False
        self._absent_since = None
        if self._failing:
            logger.info("The %s can be listed again", self._what)
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
            logger.warning("The API server knows no %s: is the CustomResourceDefinition installed?", self._what)
        if now - self._absent_since < ABSENT_AFTER:
            return False
        self._target.clear()
        # And asked again soon, not after the interval: the resource may come back.
        return False

    async def _await_watch(self) -> None:
        deadline = asyncio.get_running_loop().time() + DEAF_AFTER
        while not self._target.complete:
            if asyncio.get_running_loop().time() > deadline:
                logger.warning("The watch has not delivered what a list shows; it is begun anew")
                self._watch.restart()
                return
            await asyncio.sleep(0.1)
