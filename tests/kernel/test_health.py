"""Gateways that die silently and come back, probed over real links."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from static_route_operator.checks import Check, CheckType, Health, State, Target
from static_route_operator.health.neighbours import Neighbours
from static_route_operator.health.probers import Probers
from static_route_operator.prefixes import pack_address
from tests.kernel.gateway import ADDRESSES, PORT, Gateway
from tests.kernel.machine import PATIENCE
from tests.kernel.namespaces import new_network_namespace


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    """A gateway, and a node that this process is on."""
    with new_network_namespace():
        gateway = Gateway()
        yield gateway
        gateway.stop()


class Watcher:
    """Probers, and all that they have told."""

    def __init__(self) -> None:
        self.changes: list[tuple[float, Target, Health]] = []
        self.probers = Probers(self._changed)
        self.neighbours = Neighbours(self._link, self.probers.neighbour_failed)
        self.neighbours.start()

    def _changed(self, target: Target, health: Health) -> None:
        self.changes.append((time.monotonic(), target, health))

    def _link(self, interface: int, up: bool) -> None:
        (self.probers.link_up if up else self.probers.link_down)(interface)

    def stop(self) -> None:
        """End."""
        self.neighbours.stop()
        self.probers.close()

    async def until(self, condition: Callable[[], object]) -> None:
        """Let it work until something is so."""
        async with asyncio.timeout(PATIENCE):
            while not condition():  # noqa: ASYNC110  what is told comes by several ways
                await asyncio.sleep(0.002)

    async def becomes(self, target: Target, state: State) -> tuple[float, Health]:
        """Let it work until a target is in a state; when that was, and its health then."""
        await self.until(lambda: self.probers.health(target).state is state)
        return next((when, health) for when, each, health in reversed(self.changes) if each == target)


@pytest.fixture
async def watcher(gateway: Gateway) -> AsyncIterator[Watcher]:
    """Probers on the node."""
    watcher = Watcher()
    yield watcher
    watcher.stop()


CHECKS = {
    "ICMP": Check(CheckType.ICMP, interval=0.05),
    "TCP": Check(CheckType.TCP, PORT, interval=0.05),
    "HTTP": Check(CheckType.HTTP, PORT, "/204", interval=0.05),
}


@pytest.mark.parametrize("address", ADDRESSES, ids=["IPv4", "IPv6"])
@pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS)
async def test_silent_death_and_return(gateway: Gateway, watcher: Watcher, address: str, check: Check) -> None:
    """A gateway that no longer answers is down within three intervals and a little, and up when it answers again."""
    target = Target(pack_address(address), gateway.interface, check)
    watcher.probers.want([target])
    _, health = await watcher.becomes(target, State.UP)
    assert health.rtt is not None
    assert health.rtt < PATIENCE
    await asyncio.sleep(0.5)
    assert watcher.probers.health(target).state is State.UP

    died = gateway.die()
    when, health = await watcher.becomes(target, State.DOWN)
    # Patient, since the machine may be busy; benchmarks/health.py measures it.
    assert when - died < 1
    assert health.reason.startswith("no answer in")
    assert health.flaps == 1

    gateway.live()
    await watcher.becomes(target, State.UP)
    assert [health.state for _, _, health in watcher.changes] == [State.UP, State.DOWN, State.UP]
