"""Removal of the retired operator's finalizer from StaticRoutes that are being deleted.

No other program removes the finalizer, so the deletion would never end.
"""

import asyncio
import logging
from collections.abc import Sequence

from static_route_operator.cluster.engine import FIRST_BACKOFF, LAST_BACKOFF
from static_route_operator.controller.client import JSON_PATCH, STATICROUTES, Client
from static_route_operator.errors import ApiError
from static_route_operator.supervision import Backoff

logger = logging.getLogger(__name__)

RETIRED = "kopf.zalando.org/KopfFinalizerMarker"

# The object is gone, or its finalizers have changed, which causes another event.
_FINAL = frozenset({404, 409, 422})


class FinalizerRemover:
    """Remover of the finalizer.

    Args:
        client: the API server.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def check(self, name: str, finalizers: Sequence[str]) -> None:
        """Remove the finalizer from an object, in the background, if the object has it."""
        if RETIRED in finalizers and name not in self._tasks:
            task = self._tasks[name] = asyncio.create_task(self._remove(name, finalizers.index(RETIRED)))
            task.add_done_callback(lambda _: self._tasks.pop(name, None))

    async def stop(self) -> None:
        """Cancel all removals."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _remove(self, name: str, index: int) -> None:
        place = f"/metadata/finalizers/{index}"
        # The test protects other programs' finalizers if the list has changed.
        patch = [{"op": "test", "path": place, "value": RETIRED}, {"op": "remove", "path": place}]
        backoff = Backoff(FIRST_BACKOFF, LAST_BACKOFF)
        while True:
            try:
                await self._client.patch(f"{STATICROUTES}/{name}", patch, content_type=JSON_PATCH)
            except ApiError as error:
                if error.status in _FINAL:
                    return
                logger.warning(
                    "Can't remove finalizer %s from StaticRoute %s: %s", RETIRED, name, error, extra={"object": name}
                )
                await asyncio.sleep(next(backoff))
            else:
                logger.info("Removed finalizer %s from StaticRoute %s", RETIRED, name, extra={"object": name})
                return
