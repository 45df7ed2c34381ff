"""Several gateways on a real kernel: choice, weights, failover by health, and what is done when none is left."""

import asyncio
import ipaddress
import time
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import pytest

from static_route_operator.api.noderoutestate import Reason
from static_route_operator.api.nodeselector import Node
from static_route_operator.api.staticroute import StaticRoute
from tests.kernel.engine import Engine
from tests.kernel.flows import Flows
from tests.kernel.gateway import Gateway
from tests.kernel.machine import Machine
from tests.unit.builders import route

FAST = {"interval": "50ms"}


class Family(NamedTuple):
    """A gateway that can die, on eth0; one that lives on, on eth1; and a destination."""

    mortal: str
    other: str
    destination: str


FAMILIES = pytest.mark.parametrize(
    "family",
    [Family("10.9.0.1", "10.8.0.1", "192.0.2.1/32"), Family("fd09::1", "fd08::1", "2001:db8::1/128")],
    ids=["IPv4", "IPv6"],
)


@pytest.fixture
async def engine(gateway: Gateway) -> AsyncIterator[Engine]:
    """A reconciler at work on that node."""
    engine = Engine(Machine(), Node("node1", {"zone": "a"}))
    engine.start()
    yield engine
    await engine.stop()


def _object(
    gateways: list[dict[str, Any]], destinations: list[str], *, name: str = "nat", generation: int = 1, **spec: Any
) -> StaticRoute:
    return route(name, None, destinations, generation=generation, gateways=gateways, **spec)


def _tiers(family: Family) -> list[dict[str, Any]]:
    return [{"address": family.mortal}, {"address": family.other, "priority": 1}]


def _weighted(family: Family, mortal: int, other: int) -> list[dict[str, Any]]:
    return [{"address": family.other, "weight": other}, {"address": family.mortal, "weight": mortal}]


def _via(engine: Engine) -> dict[str, int]:
    """Return the number of routes by next hops."""
    counts: dict[str, int] = {}
    for path in engine.machine.routes().values():
        counts[path] = counts.get(path, 0) + 1
    return counts


async def _until_via(engine: Engine, expected: dict[str, int]) -> None:
    await engine.until(lambda: _via(engine) == expected, f"routes are by {expected}")


@FAMILIES
async def test_thousands_of_routes_fail_over_and_come_back(gateway: Gateway, engine: Engine, family: Family) -> None:
    """After the silent death of the active gateway each route moves once to the standby, and back on its return."""
    network = ipaddress.ip_network("198.18.0.0/15" if "." in family.mortal else "2001:db8::/64")
    destinations = [str(network[index + 1]) for index in range(2000)]
    await engine.settle(_object(_tiers(family), destinations, healthCheck=FAST))
    assert _via(engine) == {f"{family.mortal} eth0": 2000}
    await engine.rest()

    died = gateway.die()
    await engine.until(lambda: engine.operations()["replace"] == 2000, "all have moved")
    assert time.monotonic() - died < 2
    assert _via(engine) == {f"{family.other} eth1": 2000}
    row = await engine.state_is("nat", "Programmed")
    assert (row.reason, row.gateway) == (Reason.GATEWAYS_NOT_USED, family.other)
    assert row.message == f"gateway {family.mortal} is down"

    gateway.live()
    await _until_via(engine, {f"{family.mortal} eth0": 2000})
    done = {"add": 2000, "replace": 4000, "delete": 0}
    await engine.until(lambda: engine.operations() == done, "each route was replaced twice")
    await engine.until(lambda: engine.row("nat").message == "", "nothing is to be said")  # type: ignore[union-attr]


@FAMILIES
async def test_only_the_share_of_a_dead_gateway_suffers(gateway: Gateway, engine: Engine, family: Family) -> None:
    """Among 1,000 flows at 3:1 only those of a dead gateway are lost, until its withdrawal; they return to it."""
    check = {"interval": "500ms"}  # this leaves time to look before the verdict
    await engine.settle(_object(_weighted(family, 3, 1), [family.destination], healthCheck=check))

    def up() -> set[str]:
        row = engine.row("nat")
        return set(row.up if row else ())

    await engine.until(lambda: up() == {family.mortal, family.other}, "both are up")
    flows = Flows(gateway, family.destination.split("/")[0])
    try:
        before = flows.send()
        assert 650 < sum(each == "gw0" for each in before.values()) < 850
        assert len(before) == 1000

        gateway.die()
        await engine.until(lambda: len(flows.send()) < 1000, "the gateway is dead")
        assert flows.send() == {flow: interface for flow, interface in before.items() if interface == "gw1"}
        assert len(engine.machine.routes()[family.destination].split(" + ")) == 2

        await engine.routes_are({family.destination: f"{family.other} eth1"})
        assert flows.send() == dict.fromkeys(before, "gw1")

        gateway.live()
        await engine.until(lambda: " + " in engine.machine.routes()[family.destination], "both are used")
        assert flows.send() == before
    finally:
        flows.close()


async def test_health_is_told_and_still_at_rest(gateway: Gateway, engine: Engine) -> None:
    """The row, the node's state, the report and the metrics name the live gateways; at rest nothing is written."""
    told: list[object] = []
    engine.reconciler._report._on_change = lambda: told.append(None)
    await engine.settle(_object(_tiers(Family("10.9.0.1", "10.8.0.1", "")), ["192.0.2.1"], healthCheck=FAST))

    def up() -> set[str]:
        row = engine.row("nat")
        return set(row.up if row else ())

    await engine.until(lambda: up() == {"10.9.0.1", "10.8.0.1"}, "both are up")
    check = "ICMP every 0.05 s"
    states = {(each.address, each.interface, each.check, each.state) for each in engine.reconciler.gateways}
    assert states == {("10.9.0.1", "eth0", check, "Up"), ("10.8.0.1", "eth1", check, "Up")}
    labels = {"gateway": "10.9.0.1", "interface": "eth0", "check": check}
    assert engine.count("gateway_up", **labels) == 1
    assert 0 < engine.count("gateway_rtt_seconds", **labels) < 1
    told.clear()
    runs = engine.count("reconcile_duration_seconds_count")
    await asyncio.sleep(0.5)
    assert not told
    assert engine.count("reconcile_duration_seconds_count") == runs

    gateway.die()
    await engine.until(lambda: up() == {"10.8.0.1"}, "one is down")
    row = engine.row("nat")
    assert row is not None
    assert row.down == ("10.9.0.1",)
    assert engine.count("gateway_up", **labels) == 0
    down = next(each for each in engine.questions.summary()["gateways"] if each["state"] == "Down")
    assert down["address"] == "10.9.0.1"
    assert down["message"].startswith("no answer in")
