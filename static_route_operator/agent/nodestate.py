"""The writer of this node's NodeRouteState. It writes seldom, since thousands of nodes do, and never without a change.

Each write states all rows, by server-side apply: it creates a missing object, and a repeat does no harm.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable

from static_route_operator.api import GROUP, VERSION
from static_route_operator.api.noderoutestate import PLURAL, NodeRouteState
from static_route_operator.cluster.api import Api
from static_route_operator.errors import ApiError
from static_route_operator.observability.metrics import Metrics
from static_route_operator.supervision import EQUAL, FULL, Backoff

logger = logging.getLogger(__name__)

FIELD_MANAGER = "static-route-operator"
APPLY_PATCH = "application/apply-patch+yaml"

# Seconds from a change to its write, at least: one change often leads to others, which go into the same write.
COALESCE = 0.5
# After that each node that has a change to report waits for a random time, of at least LEAST_SPREAD seconds at most.
# The spread grows with the number of such nodes and their rows, so that all of them together send ROWS_PER_SECOND,
# where a write costs as much as ROWS_PER_WRITE rows: as measured, the API server works for 0.25 ms on a row. So a
# change of all nodes keeps little more than one processor busy. The number of nodes comes from the status of each
# StaticRoute, so no request asks for it. The latency of the API server would be a later and poorer measure: an agent
# writes seldom, so its last answer is old.
ROWS_PER_SECOND = 5_000.0
ROWS_PER_WRITE = 15
LEAST_SPREAD = 1.0
# Seconds from one write to the next, at most; at least half of that.
PAUSE = 10.0
# Seconds from a write that failed to the next try: the first time and, doubled again and again, the last.
FIRST_BACKOFF = 2.0
LAST_BACKOFF = 120.0


class NodeCounts:
    """The number of nodes that each StaticRoute selects, from its status, which the controller writes."""

    def __init__(self) -> None:
        self._nodes: dict[str, int] = {}
        self._most = 0

    def put(self, name: str, nodes: int) -> None:
        """Take in the number that the status of a StaticRoute has."""
        self._nodes[name] = nodes
        self._most = max(self._most, nodes)

    def drop(self, name: str) -> None:
        """Take in the deletion of a StaticRoute."""
        self._nodes.pop(name, None)

    def nodes(self, names: Iterable[str]) -> int:
        """Return the number of nodes that a change of these concerns; an unknown one counts as the widest ever seen."""
        return max((self._nodes.get(name, self._most) for name in names), default=self._most)


class NodeStateWriter:
    """Writes this node's NodeRouteState whenever it differs from the last one written.

    Args:
        api: the API server.
        state: returns the current state; None while not all StaticRoutes are known.
        counts: the number of nodes that write at the same time.
        metrics: the metrics of this process.
    """

    def __init__(
        self, api: Api, state: Callable[[], NodeRouteState | None], counts: NodeCounts, metrics: Metrics
    ) -> None:
        self._api = api
        self._state = state
        self._counts = counts
        self._metrics = metrics
        self._changed = asyncio.Event()
        self._written: NodeRouteState | None = None
        self._failing = False

    def wake(self) -> None:
        """Compare the state with the written one soon."""
        self._changed.set()

    async def run(self) -> None:
        """Write until cancelled. The object stays: Kubernetes deletes it together with its Node."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        backoff = Backoff(FIRST_BACKOFF, LAST_BACKOFF)
        while True:
            await self._changed.wait()
            await asyncio.sleep(COALESCE)
            spread = self._spread()
            await asyncio.sleep(max(FULL.of(spread), due - loop.time()))
            self._changed.clear()
            state = self._state()
            if state is None:
                self._changed.set()
            elif state != self._written:
                if await self._write(state):
                    backoff.reset()
                    # If the state changes all the time, the spread keeps all nodes together to the rate.
                    due = loop.time() + max(EQUAL.of(PAUSE), spread)
                else:
                    self._changed.set()
                    due = loop.time() + next(backoff)

    def _spread(self) -> float:
        """Return the seconds over which the nodes with the same change are spread; 0 without a change to report."""
        state = self._state()
        if state is None or state == self._written:
            return 0.0
        known = set(self._written.rows) if self._written is not None else set()
        changed = {row.name for row in known.symmetric_difference(state.rows)}
        rows = self._counts.nodes(changed) * (ROWS_PER_WRITE + len(state.rows))
        return max(LEAST_SPREAD, rows / ROWS_PER_SECOND)

    async def _write(self, state: NodeRouteState) -> bool:
        """Write a state; report success."""
        path = f"/apis/{GROUP}/{VERSION}/{PLURAL}/{state.node}?fieldManager={FIELD_MANAGER}&force=true"
        try:
            await self._api.patch(path, state.to_json(), content_type=APPLY_PATCH)
        except ApiError as error:
            self._metrics.state_writes.labels(str(error.status or "no answer")).inc()
            if not self._failing:
                logger.warning("Can't write the state of this node, on which no route depends: %s", error)
            self._failing = True
            return False
        self._metrics.state_writes.labels("ok").inc()
        if self._failing:
            logger.info("The state of this node is written again")
        self._failing = False
        self._written = state
        return True
