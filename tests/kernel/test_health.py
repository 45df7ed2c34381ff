"""Gateways that die silently and come back, probed over real links."""

import asyncio
import contextlib
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from static_route_operator.api.healthcheck import Check, CheckType
from static_route_operator.api.noderoutestate import GatewayState
from static_route_operator.health.probers import Probers
from static_route_operator.kernel.neighbours import Neighbours
from static_route_operator.planning.targets import Health, Target
from static_route_operator.routing.prefixes import pack_address
from tests.kernel.capabilities import without
from tests.kernel.gateway import ADDRESSES, PORT, Gateway
from tests.kernel.machine import PATIENCE
from tests.kernel.namespaces import new_network_namespace

# linux/capability.h.
NET_RAW = 13

# Seconds; `python -m benchmarks.health soak SECONDS` does it for longer.
SOAK = 5.0


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    """A gateway, and a node that this process is on."""
    with new_network_namespace():
        gateway = Gateway()
        yield gateway
        gateway.stop()


class Watcher:
    """Probers, and the changes that they have reported."""

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
            while not condition():  # noqa: ASYNC110  reports come in several ways
                await asyncio.sleep(0.002)

    async def becomes(self, target: Target, state: GatewayState) -> tuple[float, Health]:
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
    _, health = await watcher.becomes(target, GatewayState.UP)
    assert health.rtt is not None
    assert health.rtt < PATIENCE
    await asyncio.sleep(0.5)
    assert watcher.probers.health(target).state is GatewayState.UP

    died = gateway.die()
    when, health = await watcher.becomes(target, GatewayState.DOWN)
    # Patient, since the machine may be busy; benchmarks/health.py measures it.
    assert when - died < 1
    assert health.reason.startswith("no answer in")
    assert health.flaps == 1

    gateway.live()
    await watcher.becomes(target, GatewayState.UP)
    assert [health.state for _, _, health in watcher.changes] == [GatewayState.UP, GatewayState.DOWN, GatewayState.UP]


@pytest.mark.parametrize("address", ADDRESSES, ids=["IPv4", "IPv6"])
@pytest.mark.parametrize(
    ("check", "reason"),
    [
        (Check(CheckType.TCP, 9, interval=0.05), "connection refused"),
        (Check(CheckType.HTTP, 9, interval=0.05), "connection refused"),
        (Check(CheckType.HTTP, PORT, "/503", interval=0.05), "HTTP 503"),
    ],
    ids=["TCP", "HTTP", "status"],
)
async def test_refusals(gateway: Gateway, watcher: Watcher, address: str, check: Check, reason: str) -> None:
    """A gateway that refuses is down, and the reason is reported."""
    target = Target(pack_address(address), gateway.interface, check)
    watcher.probers.want([target])
    _, health = await watcher.becomes(target, GatewayState.DOWN)
    assert health.reason == reason


@pytest.mark.parametrize("address", ADDRESSES, ids=["IPv4", "IPv6"])
async def test_link_and_neighbour(gateway: Gateway, watcher: Watcher, address: str) -> None:
    """A link that loses its carrier counts at once; the entry of a neighbour that lives may be deleted."""
    target = Target(pack_address(address), gateway.interface, Check(interval=5.0, success_threshold=1))
    watcher.probers.want([target])
    await watcher.becomes(target, GatewayState.UP)
    gateway.run(f"ip neigh del {address} dev eth0")
    await asyncio.sleep(0.5)
    assert [health.state for _, _, health in watcher.changes] == [GatewayState.UP]

    gateway.far("ip link set node down")
    _, health = await watcher.becomes(target, GatewayState.DOWN)
    assert health.reason == "link down"
    gateway.far("ip link set node up")
    await watcher.becomes(target, GatewayState.UP)


async def test_neighbour_that_fails(gateway: Gateway, watcher: Watcher) -> None:
    """A neighbour that the kernel reports as failed is down sooner than three probes would find out."""
    target = Target(pack_address(ADDRESSES[0]), gateway.interface, Check(interval=5.0))
    watcher.probers.want([target])
    await watcher.becomes(target, GatewayState.UP)
    gateway.die()
    gateway.run("ip neigh flush dev eth0")
    _, health = await watcher.becomes(target, GatewayState.DOWN)
    assert health.reason == "neighbour FAILED"


@pytest.mark.parametrize("address", ADDRESSES, ids=["IPv4", "IPv6"])
async def test_without_raw_sockets(gateway: Gateway, watcher: Watcher, address: str) -> None:
    """Without CAP_NET_RAW, ping sockets do where the system grants them; else the gateway stays unknown, and why."""
    target = Target(pack_address(address), gateway.interface, Check(interval=0.05))
    with without(NET_RAW):
        watcher.probers.want([target])
        await watcher.until(lambda: watcher.probers.health(target).reason)
        assert watcher.probers.health(target).state is GatewayState.UNKNOWN
        assert "Operation not permitted" in watcher.probers.health(target).reason or "Permission denied" in (
            watcher.probers.health(target).reason
        )
        gateway.run("sysctl -qw net.ipv4.ping_group_range='0 0'")
        await watcher.becomes(target, GatewayState.UP)
        gateway.die()
        await watcher.becomes(target, GatewayState.DOWN)


@contextlib.contextmanager
def busy() -> Iterator[None]:
    """Every core has more to do than it can."""
    burners = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2 * (os.cpu_count() or 1))]
    try:
        yield
    finally:
        for burner in burners:
            burner.kill()
            burner.wait()


async def test_no_false_alarm_on_a_busy_machine(gateway: Gateway, watcher: Watcher) -> None:
    """With the defaults, and ten times faster, no gateway is called down while every core is busy."""
    checks = [
        Check(kind, 0 if kind is CheckType.ICMP else PORT, interval=interval)
        for kind in CheckType
        for interval in (0.1, 1.0)
    ]
    targets = [Target(pack_address(address), gateway.interface, check) for check in checks for address in ADDRESSES]
    watcher.probers.want(targets)
    await watcher.until(lambda: len(watcher.changes) == len(targets))
    with busy():
        await asyncio.sleep(SOAK)
    assert [health.reason for _, _, health in watcher.changes if health.state is GatewayState.DOWN] == []
