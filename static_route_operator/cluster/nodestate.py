"""Writes what this node says of its StaticRoutes, seldom: thousands of nodes do, and at rest none of them.

Each write says all that is so at that moment, by server-side apply: it creates the object if need be, and repeating it
does no harm.
"""

import asyncio
import logging
import random
from collections.abc import Callable

from static_route_operator.api import GROUP, VERSION
from static_route_operator.api.noderoutestate import PLURAL, NodeRouteState
from static_route_operator.cluster.api import Api
from static_route_operator.errors import ApiError
from static_route_operator.observability.metrics import Metrics

logger = logging.getLogger(__name__)

FIELD_MANAGER = "static-route-operator"
APPLY_PATCH = "application/apply-patch+yaml"

# From a change to its write: what follows from one change comes along, and the nodes are spread. Seconds, random.
COALESCE = (0.5, 1.5)
# From one write to the next. Seconds, random.
PAUSE = (5.0, 10.0)
# What could not be written is tried again after these, growing and jittered, for ever. Seconds.
FIRST_BACKOFF = 2.0
LAST_BACKOFF = 120.0


class NodeStateWriter:
    """Writes this node's NodeRouteState when it differs from what was written last.

    Args:
        api: the API server.
        state: asked for what is so now; None while not all StaticRoutes are known.
        metrics: where to count.
    """

    def __init__(self, api: Api, state: Callable[[], NodeRouteState | None], metrics: Metrics) -> None:
        self._api = api
        self._state = state
        self._metrics = metrics
        self._changed = asyncio.Event()
        self._written: NodeRouteState | None = None
        self._failing = False

    def wake(self) -> None:
        """The state may have changed: write it soon, if it has."""
        self._changed.set()

    async def run(self) -> None:
        """Write until cancelled. The object stays: it goes with its Node."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        backoff = FIRST_BACKOFF
        while True:
            await self._changed.wait()
            await asyncio.sleep(max(_random(COALESCE), due - loop.time()))
            self._changed.clear()
            state = self._state()
            if state is None:
                self._changed.set()
            elif state != self._written:
                if await self._write(state):
                    backoff = FIRST_BACKOFF
                    due = loop.time() + _random(PAUSE)
                else:
                    self._changed.set()
                    due = loop.time() + backoff * _random((0.5, 1.0))
                    backoff = min(backoff * 2, LAST_BACKOFF)

    async def _write(self, state: NodeRouteState) -> bool:
        """Whether it was written."""
        path = f"/apis/{GROUP}/{VERSION}/{PLURAL}/{state.node}?fieldManager={FIELD_MANAGER}&force=true"
        try:
            await self._api.patch(path, state.to_json(), content_type=APPLY_PATCH)
        except ApiError as error:
            self._metrics.state_writes.labels(str(error.status or "no answer")).inc()
            if not self._failing:
                logger.warning("The state of this node can't be written; its routes don't depend on it: %s", error)
            self._failing = True
            return False
        self._metrics.state_writes.labels("ok").inc()
        if self._failing:
            logger.info("The state of this node can be written again")
        self._failing = False
        self._written = state
        return True


def _random(bounds: tuple[float, float]) -> float:
    return random.uniform(*bounds)  # noqa: S311  jitter, no secret
