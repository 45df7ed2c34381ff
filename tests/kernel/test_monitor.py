"""The monitor of changes by other programs."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable

import pytest

from static_route_operator.kernel import fib as fib_module
from static_route_operator.kernel import monitor as monitor_module
from static_route_operator.kernel.fib import Fib
from static_route_operator.kernel.messages import DecodedRoute
from static_route_operator.kernel.monitor import Monitor
from static_route_operator.kernel.network import Change, NetworkState
from static_route_operator.kernel.processes import process_name
from static_route_operator.routing.nexthops import NextHop, NextHops
from static_route_operator.routing.prefixes import pack_address
from static_route_operator.routing.routes import Action, Operation
from tests.kernel.machine import PATIENCE, Machine
from tests.kernel.remover import Remover
from tests.unit.builders import key, pack


class Watcher:
    """A monitor, and all that it has reported.

    Args:
        fib: whose changes are our own.
    """

    def __init__(self, fib: Fib) -> None:
        self.routes: list[tuple[DecodedRoute, bool]] = []
        self.node: list[Change] = []
        self.ports: list[int] = []
        self.overflows = 0
        self.network = NetworkState()
        self.monitor = Monitor(lambda: fib.port, self.network, self._route, self.node.append, self._overflow)

    def _route(self, route: DecodedRoute, gone: bool, port: int) -> None:
        self.routes.append((route, gone))
        self.ports.append(port)

    def _overflow(self) -> None:
        self.overflows += 1

    async def until(self, condition: Callable[[], object]) -> None:
        """Let the event loop run until something is reported."""
        async with asyncio.timeout(PATIENCE):
            while not condition():  # noqa: ASYNC110  reports come in several ways
                await asyncio.sleep(0.005)

    async def quiet(self) -> None:
        """Let the event loop run until all notifications so far are read, then forget them."""
        for _ in range(5):
            await asyncio.sleep(0.01)
        self.routes.clear()
        self.node.clear()


@pytest.fixture
async def watcher(machine: Machine, fib: Fib) -> AsyncIterator[Watcher]:
    """A monitor that has started."""
    watcher = Watcher(fib)
    watcher.monitor.start()
    await watcher.network.ready()
    await watcher.quiet()
    yield watcher
    watcher.monitor.stop()


@pytest.mark.parametrize(
    ("destination", "gateway", "other"),
    [("192.0.2.1/32", "10.0.0.1", "10.0.0.3"), ("2001:db8::1/128", "fd00::1", "fd00::3")],
    ids=["IPv4", "IPv6"],
)
async def test_foreign_changes_are_told(
    machine: Machine, watcher: Watcher, destination: str, gateway: str, other: str
) -> None:
    """Routes that others add, replace and delete are reported with path and protocol, whoever owns them."""
    interface = machine.interface("eth0")
    first, second = NextHops.via(pack_address(gateway), interface), NextHops.via(pack_address(other), interface)
    machine.ip(
        f"route add {destination} via {gateway} proto 245",
        f"route replace {destination} via {other} proto static",
        f"route del {destination}",
    )
    await watcher.until(lambda: len(watcher.routes) >= 3)

    assert watcher.routes == [
        (DecodedRoute(key(destination), first, 245), False),
        (DecodedRoute(key(destination), second, 4), False),
        (DecodedRoute(key(destination), second, 4), True),
    ]


async def test_sender_is_told(machine: Machine, watcher: Watcher, remover: Remover) -> None:
    """With a change comes the process id of who made it, by which its name is found while it lives."""
    remover.do("route add 192.0.2.1 via 10.0.0.1")
    await watcher.until(lambda: watcher.routes)

    assert watcher.ports == [remover.pid]
    assert process_name(remover.pid) == "ip"
    remover.stop()
    assert process_name(remover.pid) == ""


def test_sender_that_is_none() -> None:
    """The kernel, further sockets of a process, and another container's process with our own id have no name."""
    assert [process_name(port) for port in (0, 4294963200, os.getpid())] == ["", "", ""]


async def test_what_the_kernel_takes_away_is_nobodys_doing(machine: Machine, watcher: Watcher) -> None:
    """Routes that go with their interface come from port 0, the kernel."""
    machine.ip("route add 2001:db8::1 via fd00::1 proto 245")
    await watcher.until(lambda: watcher.routes)
    watcher.ports.clear()
    machine.ip("link set eth0 down")
    await watcher.until(lambda: watcher.routes[-1][1])

    assert set(watcher.ports) == {0}


async def test_own_changes_are_not_told(machine: Machine, fib: Fib, watcher: Watcher) -> None:
    """Our own changes are not reported: only another program's change comes through."""
    own, foreign = key("192.0.2.1"), key("192.0.2.2")
    path = NextHops.via(pack_address("10.0.0.1"), machine.interface("eth0"))
    await fib.apply([Operation(Action.ADD, path, pack([own]))])
    await fib.apply([Operation(Action.DELETE, path, pack([own]))])
    machine.ip("route add 192.0.2.2 via 10.0.0.1")
    await watcher.until(lambda: watcher.routes)

    assert [route.key for route, _ in watcher.routes] == [foreign]


async def test_own_changes_after_a_new_socket_are_not_told(machine: Machine, fib: Fib, watcher: Watcher) -> None:
    """Changes through a reopened request socket are recognised as our own, too."""
    fib.reopen()
    path = NextHops.via(pack_address("10.0.0.1"), machine.interface("eth0"))
    await fib.apply([Operation(Action.ADD, path, pack([key("192.0.2.1")]))])
    machine.ip("route add 192.0.2.2 via 10.0.0.1")
    await watcher.until(lambda: watcher.routes)

    assert [route.key for route, _ in watcher.routes] == [key("192.0.2.2")]


async def test_foreign_multipath_is_told(machine: Machine, watcher: Watcher) -> None:
    """A route with several next hops is reported with all of them."""
    machine.ip("route add 192.0.2.1 proto bird nexthop via 10.0.0.1 nexthop via 10.1.0.1")
    await watcher.until(lambda: watcher.routes)

    hops = (
        NextHop(pack_address("10.0.0.1"), machine.interface("eth0")),
        NextHop(pack_address("10.1.0.1"), machine.interface("eth1")),
    )
    assert watcher.routes == [(DecodedRoute(key("192.0.2.1"), NextHops(hops), 12), False)]


@pytest.mark.parametrize(
    ("change", "lossy"),
    [
        ("link set eth0 down", True),
        ("address del 10.0.0.2/24 dev eth0", True),
        ("link del eth0", True),
        ("nexthop del id 7", True),
        ("address add 10.0.0.7/24 dev eth0", False),
        ("rule add fwmark 77 lookup 100", False),
        ("link add eth9 up type veth peer name eth9-peer", None),
    ],
)
async def test_changes_of_the_node_are_told(
    machine: Machine, watcher: Watcher, change: str, lossy: bool | None
) -> None:
    """A change of links or addresses is reported, and whether it may have removed routes silently (None: either)."""
    machine.ip("nexthop add id 7 via 10.1.0.1 dev eth1")
    await watcher.quiet()
    machine.ip(change)
    await watcher.until(lambda: watcher.node)

    if lossy is not None:
        await watcher.until(lambda: any(each.lossy for each in watcher.node) is lossy)


async def test_link_that_comes_up_is_told(machine: Machine, watcher: Watcher) -> None:
    """A link that is up again is a change of the node, with nothing lost."""
    machine.ip("link set eth0 down")
    await watcher.until(lambda: any(each.lossy for each in watcher.node))
    await watcher.quiet()
    machine.ip("link set eth0 up")
    await watcher.until(lambda: watcher.node)

    assert not watcher.node[-1].lossy


async def test_lost_notifications_are_told_and_watching_goes_on(
    machine: Machine, fib: Fib, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A burst that overruns the buffer is reported, and later changes are reported as before."""
    monkeypatch.setattr(monitor_module, "BUFFER", 8192)
    # Sent by the event loop itself, which can't read the monitor's socket meanwhile.
    monkeypatch.setattr(fib_module, "FEW", fib_module.BATCH)
    watcher = Watcher(fib)
    watcher.monitor.start()
    with contextlib.closing(Fib()) as foreign:
        path = NextHops.via(pack_address("10.0.0.1"), machine.interface("eth0"))
        keys = [key(f"198.18.{third}.{fourth}") for third in range(8) for fourth in range(250)]
        await foreign.apply([Operation(Action.ADD, path, pack(keys))])
        await watcher.until(lambda: watcher.overflows)
        await watcher.quiet()
        await foreign.apply([Operation(Action.DELETE, path, pack(keys[:1]))])
        await watcher.until(lambda: watcher.routes)

    assert watcher.routes == [(DecodedRoute(keys[0], path, 245), True)]
    watcher.monitor.stop()


async def test_nothing_is_told_after_the_end(machine: Machine, watcher: Watcher) -> None:
    """A monitor that was stopped is silent, and may be stopped twice and started again."""
    watcher.monitor.stop()
    watcher.monitor.stop()
    machine.ip("route add 192.0.2.1 via 10.0.0.1")
    await asyncio.sleep(0.05)
    assert watcher.routes == []

    watcher.monitor.start()
    machine.ip("route add 192.0.2.2 via 10.0.0.1")
    await watcher.until(lambda: watcher.routes)
    assert [route.key for route, _ in watcher.routes] == [key("192.0.2.2")]
