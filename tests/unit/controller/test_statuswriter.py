"""The times and contents of status writes, in virtual time."""

import asyncio
from collections.abc import Callable, Coroutine
from itertools import pairwise
from typing import Any, cast

from static_route_operator.api.noderoutestate import Reason, RowState
from static_route_operator.api.nodeselector import Node
from static_route_operator.controller.client import Client
from static_route_operator.controller.clusterstate import ClusterState
from static_route_operator.controller.rollup import roll_up
from static_route_operator.controller.statuswriter import DESTINATION_SIZE, EVENT_SIZE, FAN_OUT, PAUSE, StatusWriter
from static_route_operator.controller.summaries import NodeInfo, Report, RouteSummary
from static_route_operator.observability.metrics import ControllerMetrics
from tests.unit import virtual_time
from tests.unit.builders import manifest
from tests.unit.cluster.fakeapi import FakeApi


class Scene:
    """A StaticRoute on three nodes, and the writer of its status.

    Args:
        refusals: HTTP statuses of the API server's first answers.
    """

    def __init__(self, *refusals: int | None) -> None:
        self.api = FakeApi(*refusals)
        self.state = ClusterState()
        self.start()
        self.summary = self.of_generation(1)

    def start(self) -> None:
        """Start a writer."""
        self.writer = StatusWriter(cast("Client", self.api), self.state, ControllerMetrics(), lambda *_: None)
        self._task = asyncio.create_task(self.writer.run())

    async def stop(self) -> None:
        """Stop the writer."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    def of_generation(self, generation: int) -> RouteSummary:
        """Change the spec."""
        self.summary = RouteSummary.parse(manifest(metadata={"uid": "u", "generation": generation}))
        self.state.put_route(self.summary, self.state.stored(self.summary), generation)
        return self.summary

    def say_of(self, name: str, states: str, generation: int = 1) -> None:
        """Let nodes report on another StaticRoute."""
        self.summary = RouteSummary.parse(manifest(name, metadata={"uid": name, "generation": generation}))
        self.state.put_route(self.summary, self.state.stored(self.summary), generation)
        self.say(states)

    def say(self, states: str) -> None:
        """Let nodes report: r is ready, f fails, p is pending."""
        row = {"r": RowState.PROGRAMMED, "f": RowState.FAILED, "p": RowState.PENDING}
        nodes = [NodeInfo(Node(f"node{number}"), str(number), ready=True) for number in range(len(states))]
        generation = self.summary.generation
        rollup = roll_up(
            self.summary,
            nodes,
            lambda each: Report(generation, row[states[int(each.uid)]], Reason.PENDING, ""),
        )
        self.writer.offer(self.summary, rollup)

    def grow(self, nodes: int) -> None:
        """Set the number of nodes."""
        for number in range(nodes):
            self.state.nodes.put(f"{number}", NodeInfo(Node(f"node{number}"), f"{number}", ready=True), 1)

    @property
    def written(self) -> list[str]:
        """Return the written statuses with the names of their objects."""
        return [f"{path.split('/')[-2]} {body['status']['summary']}" for path, body, _ in self.api.patches]

    @property
    def summaries(self) -> list[str]:
        """Return the written statuses."""
        return [body["status"]["summary"] for _, body, _ in self.api.patches]


def play(act: Callable[[Scene], Coroutine[Any, Any, None]], *refusals: int | None) -> Scene:
    """Run a function and everything that follows from it, in virtual time."""

    async def run() -> Scene:
        scene = Scene(*refusals)
        await act(scene)
        await asyncio.sleep(1000)
        await scene.stop()
        return scene

    return virtual_time.run(run())[0]


def test_a_change_is_written_at_its_start_and_its_end() -> None:
    """Hundreds of reports within seconds cause two writes: at once, and when all nodes have reported."""

    async def act(scene: Scene) -> None:
        scene.say("ppp")
        for states in ("rpp", "rrp", "rrr"):
            await asyncio.sleep(1)
            scene.say(states)

    scene = play(act)
    assert scene.summaries == ["0/3", "3/3"]
    assert scene.api.times[0] < 1
    assert scene.api.times[1] < 4
    path, _, content_type = scene.api.patches[0]
    assert path == "/apis/networking.digitalocean.com/v1/staticroutes/nat/status"
    assert content_type == "application/merge-patch+json"


def test_a_slow_roll_out_is_written_every_half_minute() -> None:
    """During a slow roll-out the status is written every `PAUSE`; its end is written at once."""

    async def act(scene: Scene) -> None:
        for done in range(100):
            scene.say("r" * done + "p" * (100 - done))
            await asyncio.sleep(0.7)
        scene.say("r" * 100)

    scene = play(act)
    assert scene.summaries[0] == "0/100"
    assert scene.summaries[-1] == "100/100"
    assert len(scene.summaries) == 4
    between = [later - earlier for earlier, later in zip(scene.api.times, scene.api.times[1:-1], strict=False)]
    assert all(each >= PAUSE for each in between)
    assert scene.api.times[-1] < 71


def test_settled_with_failures_is_settled() -> None:
    """A failing node has reported, so its later recovery waits for the pause after the last write."""

    async def act(scene: Scene) -> None:
        scene.say("ppp")
        await asyncio.sleep(1)
        scene.say("rrf")
        await asyncio.sleep(1)
        scene.say("rrr")

    scene = play(act)
    assert scene.summaries == ["0/3", "2/3", "3/3"]
    assert PAUSE <= scene.api.times[2] - scene.api.times[1] < PAUSE + 1


def test_flapping_is_not_written_each_time() -> None:
    """A node that fails and recovers every second causes at most one write per `PAUSE`."""

    async def act(scene: Scene) -> None:
        for _ in range(60):
            for states in ("rrr", "rrf"):
                scene.say(states)
                await asyncio.sleep(0.5)

    scene = play(act)
    assert len(scene.summaries) <= 4


def test_what_the_object_says_already_is_not_written() -> None:
    """A status equal to the stored one is not written, also after a restart."""

    async def act(scene: Scene) -> None:
        scene.say("rrr")
        await asyncio.sleep(100)
        for _ in range(10):
            scene.say("rrr")
            await asyncio.sleep(100)

    assert play(act).summaries == ["3/3"]


def test_each_generation_is_a_change() -> None:
    """The start and the end of a change are written at once, also soon after another change."""

    async def act(scene: Scene) -> None:
        for generation in (1, 2, 3):
            scene.of_generation(generation)
            scene.say("ppp")
            await asyncio.sleep(1)
            scene.say("rrr")
            await asyncio.sleep(1)

    assert play(act).summaries == ["0/3", "3/3"] * 3


def test_a_restart_goes_on_where_the_last_left_off() -> None:
    """After a restart the start of a roll-out is not written again; its end is written at once."""

    async def act(scene: Scene) -> None:
        scene.say("ppp")
        await asyncio.sleep(1)
        await scene.stop()
        scene.start()
        scene.say("ppp")
        await asyncio.sleep(1)
        scene.say("rrr")

    scene = play(act)
    assert scene.summaries == ["0/3", "3/3"]
    assert scene.api.times[1] < 3


def test_a_write_that_fails_is_tried_until_it_succeeds() -> None:
    """A refused or unanswered write is repeated with back-off, with the newest state."""

    async def act(scene: Scene) -> None:
        scene.say("ppp")
        await asyncio.sleep(2)
        scene.say("rrr")

    scene = play(act, 503, None, 403, 500, 409)
    assert scene.summaries == ["3/3"]


def test_an_object_that_is_gone_is_forgotten() -> None:
    """The pending write of a deleted object is dropped."""

    async def act(scene: Scene) -> None:
        scene.say("ppp")
        await asyncio.sleep(0.5)
        scene.writer.retain(())

    assert play(act, *[503] * 3).summaries == []


def test_what_is_due_at_once_is_paced_by_nodes_and_destinations() -> None:
    """Hundreds of statuses that are due at once do not flood thousands of watches."""

    async def act(scene: Scene) -> None:
        scene.grow(5000)
        for number in range(100):
            scene.say_of(f"r{number}", "rrr")
        await asyncio.sleep(0)

    scene = play(act)
    assert len(scene.summaries) == 100
    gaps = [after - before for before, after in pairwise(scene.api.times)]
    least = 5000 * (EVENT_SIZE + DESTINATION_SIZE) / FAN_OUT
    assert all(least <= gap < least + 0.1 for gap in gaps)


def test_a_large_object_on_thousands_of_nodes_is_written_three_times() -> None:
    """A roll-out of 2,000 destinations to 5,000 nodes takes three writes: at the start, meanwhile, at the end."""

    async def act(scene: Scene) -> None:
        scene.grow(5000)
        destinations = [f"20.0.{number // 250}.{number % 250}" for number in range(2000)]
        scene.summary = RouteSummary.parse(manifest(destinations=destinations, metadata={"uid": "u", "generation": 1}))
        for done in range(220):
            scene.say("r" * done + "p" * (220 - done))
            await asyncio.sleep(1)
        scene.say("r" * 220)

    scene = play(act)
    assert len(scene.summaries) == 3
    assert scene.summaries[-1] == "220/220"


def test_on_few_nodes_nothing_waits() -> None:
    """With three nodes, a hundred statuses are written without pauses."""

    async def act(scene: Scene) -> None:
        scene.grow(3)
        for number in range(100):
            scene.say_of(f"r{number}", "rrr")

    assert play(act).api.times[-1] < 2


def test_the_most_urgent_goes_first() -> None:
    """Due writes go out in this order: more failing nodes, settled changes, new changes."""

    async def act(scene: Scene) -> None:
        scene.grow(100_000)
        scene.say_of("first", "ppp")
        await asyncio.sleep(1)
        for name, states in {"begins": "ppp", "settles": "rrr", "worse": "rpf"}.items():
            scene.say_of(name, states)

    assert play(act).written == ["first 0/3", "worse 1/3", "settles 3/3", "begins 0/3"]


def test_what_settles_before_its_turn_is_written_once() -> None:
    """A roll-out that ends before its first write needs one write, not two."""

    async def act(scene: Scene) -> None:
        scene.grow(100_000)
        for states in ("ppp", "rpp", "rrr"):
            for name in ("a", "b", "c"):
                scene.say_of(name, states)
            await asyncio.sleep(0.5)

    assert play(act).written == ["a 0/3", "b 3/3", "c 3/3", "a 3/3"]


def test_one_that_is_refused_does_not_hold_up_the_others() -> None:
    """The back-off of one object does not delay other objects."""

    async def act(scene: Scene) -> None:
        for name in ("a", "b", "c"):
            scene.say_of(name, "rrr")

    assert play(act, 422).written == ["b 3/3", "c 3/3", "a 3/3"]
