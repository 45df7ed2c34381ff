"""The times at which a node writes its NodeRouteState, in virtual time."""

import asyncio
import contextlib
import logging
import statistics
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any, cast

import pytest
from prometheus_client import generate_latest

from static_route_operator.agent.nodestate import (
    APPLY_PATCH,
    COALESCE,
    LAST_BACKOFF,
    LEAST_SPREAD,
    PAUSE,
    ROWS_PER_SECOND,
    ROWS_PER_WRITE,
    NodeCounts,
    NodeStateWriter,
)
from static_route_operator.api.noderoutestate import NodeRouteState, Reason, Row, RowState
from static_route_operator.cluster.api import Api
from static_route_operator.observability.metrics import Metrics
from tests.unit import virtual_time
from tests.unit.cluster.fakeapi import FakeApi


def _state(generation: int = 1, uid: str = "uid-1") -> NodeRouteState:
    row = Row("a", generation, "10.0.0.1", RowState.PROGRAMMED, Reason.PROGRAMMED, "", 1, 1)
    return NodeRouteState("node1", uid, (row,))


class Scene:
    """A node whose state changes at given times.

    Args:
        refusals: as of `FakeApi`.

    Attributes:
        api: what it writes to.
        metrics: where it counts.
        counts: what the statuses say.
    """

    def __init__(self, *refusals: int | None) -> None:
        self.api = FakeApi(*refusals)
        self.metrics = Metrics()
        self.counts = NodeCounts()
        self._state: NodeRouteState | None = None

    def run(self, seconds: float, **changes: tuple[float, NodeRouteState | None]) -> None:
        """Run the writer for some seconds; each change is a time and the state from then on."""

        async def run() -> None:
            writer = NodeStateWriter(cast("Api", self.api), lambda: self._state, self.counts, self.metrics)
            for time, state in changes.values():
                asyncio.get_running_loop().call_later(time, self._change(writer, state))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(writer.run(), seconds)

        virtual_time.run(run())

    def _change(self, writer: NodeStateWriter, state: NodeRouteState | None) -> Callable[[], None]:
        def change() -> None:
            self._state = state
            writer.wake()

        return change

    @property
    def written(self) -> list[dict[str, Any]]:
        """Return the objects that were written."""
        return [body for _, body, _ in self.api.patches]


def test_one_write_soon_after_a_change_and_none_at_rest() -> None:
    """The object is applied within moments of a change, and never again while nothing changes."""
    scene = Scene()
    scene.run(86_400, first=(10, _state()))

    (patch,) = scene.api.patches
    path = "/apis/networking.digitalocean.com/v1/noderoutestates/node1?fieldManager=static-route-operator&force=true"
    assert patch == (path, _state().to_json(), APPLY_PATCH)
    assert 10 + COALESCE <= scene.api.times[0] <= 10 + COALESCE + LEAST_SPREAD + 0.1


def test_burst_is_one_write() -> None:
    """Changes that follow another one within moments go into the same write."""
    scene = Scene()
    scene.run(60, first=(1, _state(1)), second=(1.1, _state(2)), third=(1.4, _state(3)))

    assert scene.written == [_state(3).to_json()]


def test_writes_keep_a_distance() -> None:
    """A state that changes all the time is written at intervals, the newest state last."""
    scene = Scene()
    scene.run(200, **{f"change{number}": (number / 2, _state(number)) for number in range(1, 201)})

    gaps = [after - before for before, after in pairwise(scene.api.times)]
    assert all(PAUSE / 2 <= gap <= PAUSE + 0.1 for gap in gaps)
    assert scene.written[-1] == _state(200).to_json()


def test_equal_state_is_not_written() -> None:
    """A wake-up without a change costs no request, nor does a change that is reversed in time."""
    scene = Scene()
    scene.run(600, first=(1, _state()), again=(100, _state()), other=(200, _state(2)), back=(200.1, _state()))

    assert len(scene.api.patches) == 1


def test_nothing_is_written_while_not_all_is_known() -> None:
    """The writer waits for an unknown state, and needs no further wake-up for that."""
    scene = Scene()
    asyncio_changes = {"unknown": (1.0, None), "known": (100.0, _state())}
    scene.run(200, **asyncio_changes)

    assert scene.written == [_state().to_json()]
    assert scene.api.times[0] >= 100


def test_new_node_of_the_same_name_is_written() -> None:
    """A Node that was deleted and created again owns the object with its new uid."""
    scene = Scene()
    scene.run(100, first=(1, _state()), again=(50, _state(uid="uid-2")))

    assert [each["metadata"]["ownerReferences"][0]["uid"] for each in scene.written] == ["uid-1", "uid-2"]


@pytest.mark.parametrize("status", [None, 403, 404, 410, 429, 500, 503])
def test_refused_write_is_tried_again(status: int | None, caplog: pytest.LogCaptureFixture) -> None:
    """The writer retries after any answer, less and less often; the log has a line at the start and one at the end."""
    caplog.set_level(logging.INFO)
    scene = Scene(*[status] * 20)
    scene.run(20 * LAST_BACKOFF, first=(1, _state()))

    assert scene.written == [_state().to_json()]
    assert scene.api.times[0] > 8 * LAST_BACKOFF / 2
    assert [record.levelname for record in caplog.records if "state of this node" in record.message] == [
        "WARNING",
        "INFO",
    ]
    result = f'state_writes_total{{result="{status or "no answer"}"}} 20.0'
    assert result in generate_latest(scene.metrics.registry).decode()


def test_what_is_so_by_then_is_written_after_an_outage() -> None:
    """A change during an outage is written instead of the older state, not after it."""
    scene = Scene(503, 503, 503)
    scene.run(300, first=(1, _state(1)), second=(4, _state(2)))

    assert scene.written == [_state(2).to_json()]


def _state_of(*names: str, generation: int = 1) -> NodeRouteState:
    rows = (Row(each, generation, "10.0.0.1", RowState.PROGRAMMED, Reason.PROGRAMMED, "", 1, 1) for each in names)
    return NodeRouteState("node1", "uid-1", tuple(rows))


def _delay(reach: Mapping[str, int], before: NodeRouteState, after: NodeRouteState) -> float:
    """Return the mean of the seconds from a change to its write, without the delay that is common to all."""
    delays = []
    for _ in range(200):
        scene = Scene()
        for name, nodes in reach.items():
            scene.counts.put(name, nodes)
        scene.run(2000, first=(1, before), second=(1000, after))
        delays.append(scene.api.times[-1] - 1000 - COALESCE)
    return statistics.mean(delays)


def test_nodes_are_spread_by_their_number_and_their_rows() -> None:
    """On 5,000 nodes the writes of one change come at a rate that an API server can take; on three nodes, at once."""
    before, after = _state_of("a", "b"), _state_of("a", "b", generation=2)

    assert _delay({"a": 3, "b": 3}, before, after) == pytest.approx(LEAST_SPREAD / 2, rel=0.3)
    spread = 5000 * (ROWS_PER_WRITE + 2) / ROWS_PER_SECOND
    assert _delay({"a": 3, "b": 5000}, before, after) == pytest.approx(spread / 2, rel=0.3)


def test_only_what_changed_counts() -> None:
    """A StaticRoute for few nodes is reported at once by a node that has others for thousands."""
    mixed = NodeRouteState("node1", "uid-1", (*_state_of("few", generation=2).rows, *_state_of("many").rows))

    assert _delay({"few": 3, "many": 5000}, _state_of("few", "many"), mixed) < LEAST_SPREAD


def test_what_has_no_status_counts_as_the_widest() -> None:
    """A new StaticRoute, or a deleted one, may concern every node."""
    reach = NodeCounts()
    assert reach.nodes(["new"]) == 0
    reach.put("few", 3)
    reach.put("many", 5000)
    assert reach.nodes(["few"]) == 3
    assert reach.nodes(["few", "new"]) == 5000
    reach.drop("many")
    assert reach.nodes(["many"]) == 5000


def test_all_nodes_together_keep_to_the_rate() -> None:
    """If the state changes all the time, the writes of one node are as far apart as one round of all nodes takes."""
    scene = Scene()
    scene.counts.put("a", 5000)
    scene.run(500, **{f"change{number}": (number / 2, _state(number)) for number in range(1, 1000)})

    spread = 5000 * (ROWS_PER_WRITE + 1) / ROWS_PER_SECOND
    assert all(after - before >= spread for before, after in pairwise(scene.api.times))
