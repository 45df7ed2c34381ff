"""Writes what this node says of its StaticRoutes, seldom: thousands of nodes do, and at rest none of them.

Each write says all that is so at that moment, by server-side apply: it creates the object if need be, and repeating it
does no harm.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Iterable

from static_route_operator.api import GROUP, VERSION
from static_route_operator.api.noderoutestate import PLURAL, NodeRouteState
from static_route_operator.cluster.api import Api
from static_route_operator.errors import ApiError
from static_route_operator.observability.metrics import Metrics

logger = logging.getLogger(__name__)

FIELD_MANAGER = "static-route-operator"
APPLY_PATCH = "application/apply-patch+yaml"

# From a change to its write, at the least: what follows from one change comes along. Seconds.
COALESCE = 0.5
# Then the nodes that have the same to say are spread, each to a random moment: over so long that all of them together
# send no more than so many rows a second, and this long at the least. By rows, since the API server's work for a write
# grows with them: as measured, a row takes it a quarter of a millisecond, and a write as much as some rows by itself.
# So a change of all nodes keeps little more than one processor busy. By number of nodes, which stands in the status of
# each StaticRoute, so no request asks for it. The API server's own slowness would be a later and poorer measure: an
# agent writes seldom, and an answer tells of the last change, not of this one.
ROWS_PER_SECOND = 5_000.0
ROWS_PER_WRITE = 15
LEAST_SPREAD = 1.0  # seconds
# From one write to the next. Seconds, random.
PAUSE = (5.0, 10.0)
# What could not be written is tried again after these, growing and jittered, for ever. Seconds.
FIRST_BACKOFF = 2.0
LAST_BACKOFF = 120.0


class NodeCounts:
    """For how many nodes each StaticRoute is, as far as the controller has written it into its status."""

    def __init__(self) -> None:
        self._nodes: dict[str, int] = {}
        self._most = 0

    def put(self, name: str, nodes: int) -> None:
        """Take in what the status of a StaticRoute says."""
        self._nodes[name] = nodes
        self._most = max(self._most, nodes)

    def drop(self, name: str) -> None:
        """Take in that a StaticRoute is gone."""
        self._nodes.pop(name, None)

    def nodes(self, names: Iterable[str]) -> int:
        """How many nodes a change of these concerns; one that is new, or gone, counts as the widest ever seen."""
        return max((self._nodes.get(name, self._most) for name in names), default=self._most)


class NodeStateWriter:
    """Writes this node's NodeRouteState when it differs from what was written last.

    Args:
        api: the API server.
        state: asked for what is so now; None while not all StaticRoutes are known.
        reach: tells how many nodes write at the same time.
        metrics: where to count.
    """

    def __init__(
        self, api: Api, state: Callable[[], NodeRouteState | None], reach: NodeCounts, metrics: Metrics
    ) -> None:
        self._api = api
        self._state = state
        self._reach = reach
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
            await asyncio.sleep(COALESCE)
            spread = self._spread()
            await asyncio.sleep(max(_random((0, spread)), due - loop.time()))
            self._changed.clear()
            state = self._state()
            if state is None:
                self._changed.set()
            elif state != self._written:
                if await self._write(state):
                    backoff = FIRST_BACKOFF
                    # Where something changes all the time, all nodes together keep to the rate too.
                    due = loop.time() + max(_random(PAUSE), spread)
                else:
                    self._changed.set()
                    due = loop.time() + backoff * _random((0.5, 1.0))
                    backoff = min(backoff * 2, LAST_BACKOFF)

    def _spread(self) -> float:
        """Seconds over which those nodes are spread that have the same to say; 0 while this one has nothing to say."""
        state = self._state()
        if state is None or state == self._written:
            return 0.0
        known = set(self._written.rows) if self._written is not None else set()
        changed = {row.name for row in known.symmetric_difference(state.rows)}
        rows = self._reach.nodes(changed) * (ROWS_PER_WRITE + len(state.rows))
        return max(LEAST_SPREAD, rows / ROWS_PER_SECOND)

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
