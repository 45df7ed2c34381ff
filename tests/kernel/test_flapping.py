"""Programs that remove our routes again and again: they are reported, repairs slow down, and recovery follows."""

import asyncio

import pytest

from static_route_operator.api.noderoutestate import Reason
from static_route_operator.api.nodeselector import Node
from static_route_operator.node.drift import damping
from tests.kernel.engine import Engine
from tests.kernel.machine import Machine
from tests.kernel.remover import Remover
from tests.unit.builders import route


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything that takes seconds takes tenths of them."""
    for name in ("TOGETHER", "FIRST_PAUSE", "LAST_PAUSE", "SHORTEST_QUIET"):
        monkeypatch.setattr(damping, name, getattr(damping, name) / 10)


async def test_remover_is_told_and_slowed_down_until_it_stops(
    machine: Machine,
    engine: Engine,
    remover: Remover,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Routes that a program keeps removing come back ever more slowly, reported with its name; then all heals."""
    monkeypatch.setattr(damping, "QUIET_INTERVALS", 0.0)
    engine.put(route("fought", destinations=["192.0.2.1", "192.0.2.2"]), route("quiet", destinations=["192.0.2.9"]))
    engine.complete()
    await engine.state_is("quiet", "Programmed")
    await remover.fight(3, "route del 192.0.2.1 proto 245")

    row = await engine.state_is("fought", "Failed")
    assert (row.reason, row.programmed, row.destinations) == (Reason.KEEPS_BEING_REMOVED, 1, 2)
    assert row.message.startswith(f"192.0.2.1/32 removed by ip (process {remover.pid}), ")
    assert row.message.endswith("stop it from doing so, or remove these destinations")
    assert engine.count("flapping_routes") == 1
    # At once each time it would be sixty.
    assert engine.count("operations_total", action="add") < 3 + 20
    assert sum("StaticRoute fought: Failed" in each.getMessage() for each in caplog.records) <= 4
    machine.ip("route del 192.0.2.9")
    await engine.until(lambda: "192.0.2.9/32" in machine.routes(), "the other route is back")
    assert (await engine.state_is("quiet", "Programmed")).message == ""

    await engine.state_is("fought", "Programmed")
    assert engine.count("flapping_routes") == 0
    await engine.routes_are({f"192.0.2.{last}/32": "10.0.0.1 eth0" for last in (1, 2, 9)})


async def test_change_of_the_object_is_not_held_up(machine: Machine, engine: Engine, remover: Remover) -> None:
    """Also what is fought for follows its object at once."""
    engine.put(route())
    engine.complete()
    await engine.state_is("nat", "Programmed")
    await remover.fight(3, "route del 192.0.2.1 proto 245")
    await engine.state_is("nat", "Failed")
    engine.put(route(gateway="10.1.0.1", generation=2))

    async with asyncio.timeout(1):
        await engine.routes_are({"192.0.2.1/32": "10.1.0.1 eth1"})


async def test_flush_again_and_again(machine: Machine, engine: Engine, remover: Remover) -> None:
    """A program that keeps flushing thousands of routes is reported for all of them, in a short message."""
    hosts = [f"198.18.{each // 250}.{each % 250}" for each in range(2000)]
    engine.put(route(destinations=hosts))
    engine.complete()
    await engine.state_is("nat", "Programmed")
    for _ in range(12):
        remover.do("route flush proto 245")
        await asyncio.sleep(0.3)

    row = await engine.state_is("nat", "Failed")
    assert row.reason == Reason.KEEPS_BEING_REMOVED
    assert f"removed by ip (process {remover.pid})" in row.message
    assert engine.count("flapping_routes") > 1000
    await engine.until(lambda: len(machine.routes()) == 2000, "all routes are back")


async def test_two_operators_with_different_wishes(machine: Machine, engine: Engine) -> None:
    """Two operators that undo each other's work all the time say so, and do it ever more seldom."""
    other = Engine(machine, Node("node1", {}))
    other.start()
    engine.put(route())
    engine.complete()
    await engine.state_is("nat", "Programmed")
    other.put(route(gateway="10.1.0.1"))
    other.complete()
    for each in (engine, other):
        row = await each.state_is("nat", "Failed")
        assert row.message.endswith("two operators work against each other on this host: run one")
        assert "replaced (proto 245) by " in row.message
    before = engine.count("operations_total", action="replace")
    await asyncio.sleep(2)

    # Until they noticed it was a hundred a second.
    assert engine.count("operations_total", action="replace") - before < 20
    await other.stop()


async def test_link_that_flaps_is_no_contest(machine: Machine, engine: Engine) -> None:
    """Routes that go with their interface come back with it at once, however often, in both families."""
    engine.put(route(), route("v6", "fd00::1", ["2001:db8::1"]))
    engine.complete()
    await engine.state_is("v6", "Programmed")
    for _ in range(2 * damping.FLAPPING):
        machine.ip("link set eth0 down")
        await engine.routes_are({})
        machine.ip("link set eth0 up", "address add fd00::2/64 dev eth0 nodad")
        await engine.routes_are({"192.0.2.1/32": "10.0.0.1 eth0", "2001:db8::1/128": "fd00::1 eth0"})

    assert engine.count("flapping_routes") == 0
    await engine.state_is("nat", "Programmed")
    await engine.state_is("v6", "Programmed")
