"""Complete lists, and the conclusions from them."""

import asyncio
import contextlib
from typing import Any, cast

from prometheus_client import generate_latest

from static_route_operator.agent.watch import Watch
from static_route_operator.api.nodeselector import Node
from static_route_operator.cluster.api import Api
from static_route_operator.cluster.listing import ABSENT_AFTER, DEAF_AFTER, PATH, Listing
from static_route_operator.errors import ApiError
from static_route_operator.node.inventory import Inventory
from static_route_operator.observability.metrics import Metrics
from tests.unit import virtual_time
from tests.unit.builders import route

INTERVAL = 600.0

Answer = dict[str, Any] | int | None


def _list(*names: str, version: int = 10, deleting: tuple[str, ...] = ()) -> dict[str, Any]:
    items = [{"metadata": {"uid": f"uid-{name}", "resourceVersion": "5"}} for name in names]
    items += [
        {"metadata": {"uid": f"uid-{name}", "resourceVersion": "5", "deletionTimestamp": "2024"}} for name in deleting
    ]
    return {"metadata": {"resourceVersion": str(version)}, "items": items or None}


class Scene:
    """An API server with given answers (the last one repeats), and the parts around a listing.

    Args:
        answers: lists, HTTP statuses, or None for silence.
    """

    def __init__(self, *answers: Answer) -> None:
        self._answers = list(answers)
        self.times: list[float] = []
        self.restarts = 0
        self.inventory = Inventory()
        self.inventory.set_node(Node("node1"))
        self.metrics = Metrics()

    async def get(self, path: str, *, accept: str) -> dict[str, Any]:
        """Return an answer, as `Api.get`."""
        assert path == f"{PATH}?resourceVersion=0"
        assert "PartialObjectMetadataList" in accept
        self.times.append(asyncio.get_running_loop().time())
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, dict):
            return answer
        raise ApiError(f"GET {path}", answer, "as set")

    def restart(self) -> None:
        """Count a restart, as `Engine.restart`."""
        self.restarts += 1

    def run(self, seconds: float, *, request_at: float | None = None) -> None:
        """Run the listing for some seconds of virtual time."""

        async def run() -> None:
            listing = Listing(cast("Api", self), self.inventory, cast("Watch", self), self.metrics, INTERVAL)
            if request_at is not None:
                asyncio.get_running_loop().call_later(request_at, listing.request)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(listing.run(), seconds)

        virtual_time.run(run())

    def count(self, result: str) -> str:
        """Return the metric of lists with a result."""
        text = generate_latest(self.metrics.registry).decode()
        (line,) = [
            each
            for each in text.splitlines()
            if each.startswith(f'static_route_operator_lists_total{{result="{result}"')
        ]
        return line.rsplit(" ", 1)[1]


def test_list_completes_the_inventory() -> None:
    """The first list shows the objects that exist; an object that is being deleted does not count."""
    scene = Scene(_list("a", deleting=("b",)))
    scene.inventory.put(route("a"), 5)
    scene.inventory.put(route("b"), 5)
    scene.run(1)

    assert list(scene.inventory.routes) == ["uid-a"]
    assert scene.inventory.complete
    assert scene.count("ok") == "1.0"


def test_empty_list_is_a_list() -> None:
    """A cluster without StaticRoutes is completely known too."""
    scene = Scene(_list())
    scene.run(1)

    assert scene.inventory.complete


def test_list_is_repeated_now_and_then() -> None:
    """After each successful list there is a long pause with jitter."""
    scene = Scene(_list())
    scene.run(INTERVAL * 10)

    pauses = [after - before for before, after in zip(scene.times, scene.times[1:], strict=False)]
    assert 8 <= len(pauses) <= 13
    assert all(INTERVAL * 0.79 <= pause <= INTERVAL * 1.21 for pause in pauses)


def test_failed_list_is_tried_again_soon_and_less_and_less_often() -> None:
    """While the API server does not answer, the delays between lists grow, and nothing is concluded."""
    scene = Scene(None, 503, 403, 429, _list())
    scene.inventory.put(route("a"), 5)
    scene.run(INTERVAL / 2)

    assert len(scene.times) == 5
    assert scene.times[-1] <= 15
    assert [scene.count(result) for result in ("no answer", "503", "403", "429", "ok")] == ["1.0"] * 5


def test_unreachable_server_removes_nothing() -> None:
    """However long the API server is away, the known objects stay."""
    scene = Scene(None)
    scene.inventory.put(route("a"), 5)
    scene.run(24 * 3600.0)

    assert list(scene.inventory.routes) == ["uid-a"]
    assert not scene.inventory.complete
    assert len(scene.times) > 2000


def test_request_brings_the_next_list_forward() -> None:
    """A relist of the watch is followed by a list within seconds, not after the interval."""
    scene = Scene(_list())
    scene.run(INTERVAL / 2, request_at=100.0)

    assert len(scene.times) == 2
    assert 100 <= scene.times[1] <= 102


def test_absent_resource_is_believed_after_a_while() -> None:
    """An answer that the resource does not exist counts only after half a minute."""
    brief = Scene(404)
    brief.inventory.put(route("a"), 5)
    brief.run(ABSENT_AFTER * 0.9)
    assert list(brief.inventory.routes) == ["uid-a"]

    lasting = Scene(404)
    lasting.inventory.put(route("a"), 5)
    lasting.run(ABSENT_AFTER * 3)
    assert lasting.inventory.routes == {}
    assert lasting.inventory.complete


def test_absence_with_other_answers_between_starts_afresh() -> None:
    """Any other answer starts the half minute afresh."""
    scene = Scene(*[404, 503] * 20)
    scene.inventory.put(route("a"), 5)
    scene.run(ABSENT_AFTER * 6)

    assert list(scene.inventory.routes) == ["uid-a"]


def test_deaf_watch_is_restarted() -> None:
    """A watch that does not deliver the listed objects is restarted after a minute, not before."""
    patient = Scene(_list("a"))
    patient.run(DEAF_AFTER * 0.9)
    assert patient.restarts == 0

    deaf = Scene(_list("a"))
    deaf.run(DEAF_AFTER * 1.5)
    assert deaf.restarts == 1
    assert not deaf.inventory.complete
