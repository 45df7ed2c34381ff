"""Takes the retired operator's finalizer off StaticRoutes that are being deleted: nobody else would, for ever."""

import asyncio
import logging
from collections.abc import Sequence

from static_route_operator.cluster.engine import FIRST_BACKOFF, LAST_BACKOFF
from static_route_operator.controller.client import JSON_PATCH, STATICROUTES, Client
from static_route_operator.errors import ApiError
from static_route_operator.supervision import Backoff

logger = logging.getLogger(__name__)

RETIRED = "kopf.zalando.org/KopfFinalizerMarker"

# The object is gone, or its finalizers have changed, of which an event tells.
_OVER = frozenset({404, 409, 422})


class FinalizerRemover:
    """Takes it off every object that it is told of.

    Args:
        api: the API server.
    """

    def __init__(self, api: Client) -> None:
        self._api = api
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def look_at(self, name: str, finalizers: Sequence[str]) -> None:
        """Take in an object's finalizers."""
        if RETIRED in finalizers and name not in self._tasks:
            task = self._tasks[name] = asyncio.create_task(self._remove(name, finalizers.index(RETIRED)))
            task.add_done_callback(lambda _: self._tasks.pop(name, None))

    async def stop(self) -> None:
        """Take off no more."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _remove(self, name: str, index: int) -> None:
        place = f"/metadata/finalizers/{index}"
        # The test holds others' finalizers safe, should the list have changed.
        patch = [{"op": "test", "path": place, "value": RETIRED}, {"op": "remove", "path": place}]
        backoff = Backoff(FIRST_BACKOFF, LAST_BACKOFF)
        while True:
            try:
                await self._api.patch(f"{STATICROUTES}/{name}", patch, content_type=JSON_PATCH)
            except ApiError as error:
                if error.status in _OVER:
                    return
                logger.warning(
                    "StaticRoute %s still has the finalizer %s: %s", name, RETIRED, error, extra={"object": name}
                )
                await asyncio.sleep(next(backoff))
            else:
                logger.info("StaticRoute %s: the retired operator's finalizer is off", name, extra={"object": name})
                return
