"""Several gateways on a real kernel: choice, weights, failover by health, and what is done when none is left."""

import asyncio
import ipaddress
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any, NamedTuple

import pytest

from static_route_operator.api.noderoutestate import Reason
from static_route_operator.api.nodeselector import Node
from static_route_operator.api.staticroute import StaticRoute
from tests.kernel.engine import Engine
from tests.kernel.flows import Flows
from tests.kernel.gateway import Gateway
from tests.kernel.machine import Machine
from tests.kernel.namespaces import new_network_namespace
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
def gateway() -> Iterator[Gateway]:
    """A node that this process is on, with both gateways."""
    with new_network_namespace():
        gateway = Gateway()
        gateway.add_second()
        yield gateway
        gateway.stop()


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


def _in(zone: str) -> dict[str, Any]:
    terms = [{"matchExpressions": [{"key": "zone", "operator": "In", "values": [zone]}]}]
    return {"nodeSelector": {"nodeSelectorTerms": terms}}


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
async def test_traffic_is_shared_by_weight(gateway: Gateway, engine: Engine, family: Family) -> None:
    """Gateways of one priority are next hops of one route with their weights; one that dies leaves it to the other."""
    await engine.settle(_object(_weighted(family, 3, 1), [family.destination], healthCheck=FAST))
    both = {family.other: 1, family.mortal: 3}

    def weights() -> dict[str, int]:
        version = "-6" if ":" in family.mortal else "-4"
        (found,) = engine.machine.query(version, "route", "show", "proto", "245")
        return {hop["gateway"]: hop["weight"] for hop in found.get("nexthops", ())}

    assert weights() == both
    before = engine.operations()
    engine.reconciler._read_again()
    await engine.rest()
    assert engine.operations() == before

    gateway.die()
    await engine.routes_are({family.destination: f"{family.other} eth1"})
    gateway.live()
    await engine.until(lambda: weights() == both, "both are used")

    engine.put(_object(_weighted(family, 1, 256), [family.destination], generation=2, healthCheck=FAST))
    await engine.until(lambda: weights() == {family.other: 256, family.mortal: 1}, "the weights are new")
    assert engine.operations() == {"add": 1, "replace": 3, "delete": 0}

    engine.remove("nat")
    await engine.routes_are({})


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


@FAMILIES
async def test_restart_moves_no_route(gateway: Gateway, engine: Engine, family: Family) -> None:
    """The next process finds the routes of several next hops as they should be, with all gateways unknown yet."""
    spec = _object(_weighted(family, 2, 1), [family.destination], healthCheck=FAST)
    await engine.settle(spec)
    await engine.stop()

    successor = Engine(engine.machine, Node("node1", {"zone": "a"}))
    successor.start()
    try:
        await successor.settle(spec)
        await successor.rest()
        assert successor.operations() == {"add": 0, "replace": 0, "delete": 0}
    finally:
        await successor.stop()


@FAMILIES
async def test_restart_after_a_change_of_gateways(gateway: Gateway, engine: Engine, family: Family) -> None:
    """Next hops of a former process that are not wanted any more go, though nobody remembers whose they are."""
    gateway.add("10.9.0.3/24", "fd09::3/64")
    third = family.mortal[:-1] + "3"
    await engine.settle(_object(_weighted(family, 1, 1), [family.destination]))
    await engine.stop()

    successor = Engine(engine.machine, Node("node1", {"zone": "a"}))
    successor.start()
    try:
        await successor.settle(_object([{"address": third}, {"address": family.other}], [family.destination]))
        expected = sorted((f"{family.other} eth1", f"{third} eth0"))
        await successor.routes_are({family.destination: " + ".join(expected)})
    finally:
        await successor.stop()


@FAMILIES
async def test_drained_gateway_gets_no_traffic(gateway: Gateway, engine: Engine, family: Family) -> None:
    """Weight 0 moves all routes to the others by one REPLACE; when all are drained the routes stay as they were."""
    await engine.settle(_object(_weighted(family, 1, 1), [family.destination]))
    await engine.settle(_object(_weighted(family, 0, 1), [family.destination], generation=2))
    assert engine.machine.routes() == {family.destination: f"{family.other} eth1"}
    assert engine.operations() == {"add": 1, "replace": 1, "delete": 0}

    engine.put(_object(_weighted(family, 0, 0), [family.destination], generation=3))
    row = await engine.state_is("nat", "Failed", 3)
    assert row.reason == Reason.ALL_GATEWAYS_DOWN
    assert f"gateway {family.mortal} is drained" in row.message
    assert engine.machine.routes() == {family.destination: f"{family.other} eth1"}


@FAMILIES
@pytest.mark.parametrize("policy", ["Keep", "Withdraw", "Blackhole"])
async def test_all_gateways_down(gateway: Gateway, engine: Engine, family: Family, policy: str) -> None:
    """Without any gateway left, each policy acts as documented, reports it, and recovers."""
    gateways = [{"address": family.mortal}]
    await engine.settle(_object(gateways, [family.destination], healthCheck=FAST, whenAllGatewaysDown=policy))
    plain = {family.destination: f"{family.mortal} eth0"}
    assert engine.machine.routes() == plain

    gateway.die()
    row = await engine.state_is("nat", "Failed")
    assert row.reason == Reason.ALL_GATEWAYS_DOWN
    assert row.message.startswith(f"gateway {family.mortal} is down; ")
    expected = {"Keep": plain, "Withdraw": {}, "Blackhole": {family.destination: "type 6"}}[policy]
    found = engine.machine.routes()
    assert {key: value.split(" dev")[0] for key, value in found.items()} == expected
    engine.reconciler._read_again()
    await engine.rest()
    assert engine.machine.routes() == found

    gateway.live()
    await engine.state_is("nat", "Programmed")
    assert engine.machine.routes() == plain


async def test_gateways_of_other_subnets_and_nodes_are_no_error(gateway: Gateway, engine: Engine) -> None:
    """Each node uses the gateways that are for it and on its subnets; the others are no matter here."""
    gateways = [
        {"address": "10.77.0.1"},
        {"address": "10.9.0.1", **_in("a")},
        {"address": "10.8.0.1", **_in("b")},
    ]
    await engine.settle(_object(gateways, ["192.0.2.1"]))
    assert engine.machine.routes() == {"192.0.2.1/32": "10.9.0.1 eth0"}
    assert engine.row("nat").message == ""  # type: ignore[union-attr]

    engine.inventory.set_node(Node("node1", {"zone": "b"}))
    await engine.routes_are({"192.0.2.1/32": "10.8.0.1 eth1"})

    engine.put(_object(gateways[1:2], ["192.0.2.1"], generation=2))
    row = await engine.state_is("nat", "Failed", 2)
    assert row.reason == Reason.NO_GATEWAY
    await engine.routes_are({})


@FAMILIES
async def test_interface_of_a_gateway_is_taken_as_given(gateway: Gateway, engine: Engine, family: Family) -> None:
    """A gateway with an interface needs no subnet there; without the interface it can't be reached."""
    elsewhere = "10.66.0.1" if "." in family.mortal else "fd66::1"
    gateways = [{"address": elsewhere, "interface": "eth1"}, {"address": family.mortal, "interface": "eth0"}]
    await engine.settle(_object(gateways[:1], [family.destination]))
    assert engine.machine.routes() == {family.destination: f"{elsewhere} eth1 onlink"}

    await engine.settle(_object(gateways, [family.destination], generation=2))
    await engine.rest()
    assert engine.operations() == {"add": 1, "replace": 1, "delete": 0}

    engine.machine.ip("link set eth1 down")
    await engine.routes_are({family.destination: f"{family.mortal} eth0"})
    engine.put(_object([{"address": elsewhere, "interface": "eth7"}], [family.destination], generation=3))
    row = await engine.state_is("nat", "Failed", 3)
    assert f"gateway {elsewhere} is on eth7, which this node does not have" in row.message


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


@FAMILIES
async def test_link_that_goes_down_counts_at_once(gateway: Gateway, engine: Engine, family: Family) -> None:
    """Nobody waits for probes when the link tells: the standby is used at once, at an interval of minutes."""
    await engine.settle(_object(_tiers(family), [family.destination], healthCheck={"interval": "1m"}))

    engine.machine.ip("link set eth0 down")
    await engine.routes_are({family.destination: f"{family.other} eth1"})


async def test_foreign_next_hop_outlives_ours(gateway: Gateway, engine: Engine) -> None:
    """A next hop that another program merged into our IPv6 route of several stays, whatever happens to ours."""
    family = Family("fd09::1", "fd08::1", "2001:db8::1/128")
    await engine.settle(_object(_weighted(family, 1, 1), [family.destination]))
    engine.machine.ip("route append 2001:db8::1 via fd09::9 proto static")
    await engine.state_is("nat", "Conflict")

    engine.remove("nat")
    await engine.routes_are({})
    assert engine.machine.routes("static") == {family.destination: "fd09::9 eth0"}
