"""Tests of the probers, on a network and a clock that the tests control."""

import asyncio
import errno
import itertools
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from static_route_operator.api.healthcheck import Check
from static_route_operator.api.noderoutestate import GatewayState
from static_route_operator.health import probers as module
from static_route_operator.health.probers import Answered, Failed, Probers
from static_route_operator.planning.targets import Health, Target
from static_route_operator.routing.prefixes import pack_address
from tests.unit import virtual_time

RTT = 0.001


class Network:
    """Gateways that answer after a while, or don't."""

    def __init__(self, answered: Answered, failed: Failed) -> None:
        self._answered = answered
        self._failed = failed
        self.delay: dict[Target, float | None] = {}
        self.refusal = ""
        self.error = 0
        self.sent: list[tuple[float, Target]] = []
        self.unread: list[Callable[[], None]] = []
        self.reading = True
        self.closed = False

    def send(self, target: Target, prober: int, number: int) -> None:
        """Send a probe that is answered later."""
        if self.error:
            raise OSError(self.error, "no")
        loop = asyncio.get_running_loop()
        self.sent.append((loop.time(), target))
        delay = self.delay.get(target, RTT)
        if self.refusal:
            loop.call_later(RTT, self._failed, prober, number, self.refusal)
        elif delay is not None:
            loop.call_at(loop.time() + delay, self._arrive, prober, number, loop.time() + delay)

    def _arrive(self, prober: int, number: int, arrived: float) -> None:
        self.unread.append(lambda: self._answered(prober, number, arrived))
        if self.reading:
            self.read()

    def read(self) -> None:
        """Read what has arrived."""
        while self.unread:
            self.unread.pop(0)()

    def poll(self, *_: object) -> None:
        """Read what has arrived."""
        self.read()

    def forget(self, prober: int, number: int) -> None:
        """Ignore it."""

    def close(self) -> None:
        """Note the end."""
        self.closed = True


class Scene:
    """Probers on that network, and the changes that they have reported."""

    def __init__(self) -> None:
        self.changes: list[tuple[float, Target, GatewayState]] = []
        self.networks: list[Network] = []
        self.probers = Probers(self._changed, self._make)
        (self.network,) = self.networks

    def _make(self, answered: Answered, failed: Failed) -> Network:
        self.networks.append(Network(answered, failed))
        return self.networks[0]

    def _changed(self, target: Target, health: Health) -> None:
        self.changes.append((asyncio.get_running_loop().time(), target, health.state))

    def states(self) -> list[GatewayState]:
        """Return the reported states in order."""
        return [state for _, _, state in self.changes]


def play(story: Callable[[Scene], Coroutine[Any, Any, None]]) -> None:
    """Run a story in virtual time."""

    async def run() -> None:
        scene = Scene()
        await story(scene)
        scene.probers.close()
        assert scene.network.closed

    virtual_time.run(run())


def target(number: int = 1, interface: int = 7, **check: float) -> Target:
    """Return a target."""
    return Target(pack_address(f"10.0.0.{number}"), interface, Check(**check))  # type: ignore[arg-type]


def test_pace_and_jitter() -> None:
    """Probes are sent at most an interval apart, and not in step."""

    async def story(scene: Scene) -> None:
        scene.probers.want([target()])
        await asyncio.sleep(100)
        times = [when for when, _ in scene.network.sent]
        gaps = [after - before for before, after in itertools.pairwise(times)]
        assert 100 <= len(times) <= 113
        assert 0.9 <= min(gaps) < max(gaps) <= 1.0001
        assert scene.states() == [GatewayState.UP]

    play(story)


@pytest.mark.parametrize("interval", [0.01, 0.1, 1.0])
def test_death_is_noticed_in_less_than_two_intervals(interval: float) -> None:
    """Three losses take the time to the next probe, one interval, and the deadline of the last."""
    one = target(interval=interval)

    async def story(scene: Scene) -> None:
        scene.probers.want([one])
        await asyncio.sleep(20 * interval + 1)
        scene.network.delay[one] = None
        died = asyncio.get_running_loop().time()
        await asyncio.sleep(5 * interval)
        assert scene.states() == [GatewayState.UP, GatewayState.DOWN]
        assert 0.9 * interval < scene.changes[-1][0] - died < 2.1 * interval + 0.005
        assert "no answer in" in scene.probers.health(one).reason

        scene.network.delay.clear()
        await asyncio.sleep(2 * interval + 0.2)
        assert scene.states() == [GatewayState.UP, GatewayState.DOWN, GatewayState.UP]

    play(story)


def test_answers_that_become_slow_are_no_alarm() -> None:
    """Late answers that come before the gateway is declared down are answers."""
    one = target(interval=0.01)

    async def story(scene: Scene) -> None:
        scene.probers.want([one])
        await asyncio.sleep(1)
        scene.network.delay[one] = 0.008
        await asyncio.sleep(1)
        health = scene.probers.health(one)
        assert (health.state, scene.states()) == (GatewayState.UP, [GatewayState.UP])
        assert 0 < health.lost < 10

    play(story)


def test_refusals_count_as_losses() -> None:
    """A refusal is a loss as soon as it comes, with its reason."""
    one = target()

    async def story(scene: Scene) -> None:
        scene.network.refusal = "HTTP 503"
        scene.probers.want([one])
        await asyncio.sleep(4)
        assert scene.states() == [GatewayState.DOWN]
        assert scene.probers.health(one).reason == "HTTP 503"

    play(story)


def test_what_can_not_be_sent() -> None:
    """A network that is unreachable is a loss; a buffer that is full, or a missing capability, is not."""
    one = target()

    async def story(scene: Scene) -> None:
        scene.probers.want([one])
        await asyncio.sleep(2)
        for number in (errno.ENOBUFS, errno.EPERM):
            scene.network.error = number
            await asyncio.sleep(20)
            assert scene.states() == [GatewayState.UP]
            assert "can't be sent" in scene.probers.health(one).reason
        scene.network.error = errno.ENETUNREACH
        await asyncio.sleep(4)
        assert scene.probers.health(one).reason == "network is unreachable"
        assert scene.states() == [GatewayState.UP, GatewayState.DOWN]

    play(story)


def test_wanted_targets_stay_and_others_go() -> None:
    """A target that is still wanted keeps its health; one that is not is probed no more, and unknown."""
    one, two, three = (target(number) for number in (1, 2, 3))

    async def story(scene: Scene) -> None:
        scene.probers.want([one, two, one])
        await asyncio.sleep(5)
        before = scene.probers.health(one)
        scene.probers.want([one, three])
        assert scene.probers.health(one) == before
        assert scene.probers.health(two) == Health()
        scene.network.sent.clear()
        await asyncio.sleep(5)
        assert {each for _, each in scene.network.sent} == {one, three}
        assert len(scene.network.sent) < 14

    play(story)


def test_hold_down_has_an_end_that_stays() -> None:
    """A gateway that fails a second time says until when it stays down, the same time whenever it is asked."""
    one = target()

    async def story(scene: Scene) -> None:
        scene.probers.want([one])
        for _ in range(2):
            await asyncio.sleep(10)
            assert scene.probers.health(one).held_until == 0
            scene.network.delay[one] = None
            while scene.probers.health(one).state is not GatewayState.DOWN:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            scene.network.delay.clear()
            first = scene.probers.health(one)
        assert 0 < first.hold_down <= 2
        assert first.held_until == pytest.approx(first.since + 2)
        await asyncio.sleep(1)
        second = scene.probers.health(one)
        assert (second.state, second.held_until) == (GatewayState.DOWN, first.held_until)
        assert second.hold_down == pytest.approx(first.hold_down - 1)
        await asyncio.sleep(5)
        assert scene.probers.health(one).state is GatewayState.UP

    play(story)


def test_stall_is_no_loss() -> None:
    """A probe that is answered while this process stands still counts as answered, even if read late."""
    one = target(interval=0.01)

    async def story(scene: Scene) -> None:
        scene.probers.want([one])
        await asyncio.sleep(1)
        scene.network.reading = False
        await asyncio.sleep(1)
        assert scene.states() == [GatewayState.UP]
        assert scene.probers.health(one).lost == 0

    play(story)


def test_more_time_when_we_are_late() -> None:
    """A timeout that passes while the machine stands still is extended until there was time for an answer."""
    one = target(interval=0.05, failure_threshold=1)

    async def run() -> Scene:
        scene = Scene()
        scene.probers.want([one])
        await asyncio.sleep(0.6)
        for _ in range(3):
            # The answer arrives a little after the machine has come to again.
            scene.network.delay[one] = 0.11
            count = len(scene.network.sent)
            while len(scene.network.sent) == count:  # noqa: ASYNC110
                await asyncio.sleep(0.0005)
            time.sleep(0.1)  # noqa: ASYNC251  that is the point
            scene.network.delay.clear()
            await asyncio.sleep(0.3)
        states = scene.states()
        scene.probers.close()
        assert states == [GatewayState.UP]
        return scene

    asyncio.run(run())


def test_dead_gateway_on_a_machine_that_is_always_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """A probe gets more time only a few times."""
    monkeypatch.setattr(module, "LATENESS", -1.0)
    one = target()

    async def story(scene: Scene) -> None:
        scene.probers.want([one])
        await asyncio.sleep(10)
        scene.network.delay[one] = None
        await asyncio.sleep(5)
        assert scene.states() == [GatewayState.UP, GatewayState.DOWN]

    play(story)


def test_link() -> None:
    """The gateways behind a link go down with it at once, and are probed at once when it is back."""
    one, two, other = target(1), target(2), target(3, interface=8)

    async def story(scene: Scene) -> None:
        scene.probers.want([one, two, other])
        await asyncio.sleep(5)
        scene.changes.clear()
        scene.network.delay = {one: None, two: None}
        scene.probers.link_down(7)
        assert [(each, state) for _, each, state in scene.changes] == [
            (one, GatewayState.DOWN),
            (two, GatewayState.DOWN),
        ]
        assert scene.probers.health(one).reason == "link down"

        await asyncio.sleep(10)
        scene.network.delay.clear()
        scene.probers.link_up(7)
        await asyncio.sleep(0.6)
        assert scene.probers.health(one).state is scene.probers.health(two).state is GatewayState.UP

    play(story)


def test_neighbour_that_failed() -> None:
    """A gateway that the kernel calls FAILED is probed at once, and is down if it does not answer."""
    one = target(interval=10)

    async def story(scene: Scene) -> None:
        scene.probers.want([one])
        await asyncio.sleep(60)
        scene.probers.neighbour_failed(one.gateway, 7)
        await asyncio.sleep(5)
        assert scene.states() == [GatewayState.UP]

        scene.network.delay[one] = None
        scene.probers.neighbour_failed(one.gateway, 7)
        await asyncio.sleep(3)
        assert scene.states() == [GatewayState.UP, GatewayState.DOWN]
        assert scene.probers.health(one).reason == "neighbour FAILED"

    play(story)


def test_callback_that_fails(caplog: pytest.LogCaptureFixture) -> None:
    """An error in the callback for a change does not end the probing."""

    async def story(scene: Scene) -> None:
        def fail(_: Target, __: Health) -> None:
            raise ValueError("a defect")

        scene.probers._on_change = fail
        scene.probers.want([target()])
        await asyncio.sleep(5)
        assert len(scene.network.sent) >= 5
        assert "a defect" in caplog.text

    play(story)


def test_callback_may_change_what_is_wanted() -> None:
    """The callback for a change may replace the targets."""
    one, two = target(1), target(2)

    async def story(scene: Scene) -> None:
        scene.probers._on_change = lambda _, __: scene.probers.want([two])
        scene.network.delay[one] = None
        scene.probers.want([one])
        await asyncio.sleep(10)
        assert scene.network.sent[-1][1] == two

    play(story)
