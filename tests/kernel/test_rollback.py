"""On a real kernel: changes that cut a node off are rolled back, if need be by the next process, and state is kept."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from static_route_operator.api import gateways
from static_route_operator.api.noderoutestate import Reason
from static_route_operator.api.nodeselector import Node
from static_route_operator.api.resolution import ResolvedRoute, resolve
from static_route_operator.api.staticroute import StaticRoute
from static_route_operator.node.inventory import Inventory
from static_route_operator.node.rollback.confirmation import Confirmation
from static_route_operator.node.rollback.endpoints import Endpoint, TcpEndpoint
from static_route_operator.node.rollback.reachability import Reachability
from static_route_operator.node.state.directory import StateDirectory
from static_route_operator.observability.metrics import Metrics
from static_route_operator.routing.prefixes import pack_address
from tests.kernel.engine import Engine
from tests.kernel.gateway import PORT, Gateway
from tests.kernel.machine import Machine
from tests.kernel.namespaces import new_network_namespace
from tests.unit.builders import keys, route

# The required endpoint, behind the gateway that never dies.
SERVER = "198.51.100.10"
# On the same network as a gateway, but nobody has it: it swallows all that is sent to it.
NOBODY = "10.9.0.77"
GOOD = "10.8.0.1"
NODE = Node("node1", {"zone": "a"})

NewEngine = Callable[[], Engine]


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    """A node that this process is on; its default route leads to what must be reached."""
    with new_network_namespace():
        gateway = Gateway()
        gateway.add_second()
        gateway.far(f"ip address add {SERVER}/32 dev gw1")
        gateway.run(f"ip route add default via {GOOD}")
        yield gateway
        gateway.stop()


@pytest.fixture
async def new_engine(gateway: Gateway, tmp_path: Path) -> AsyncIterator[NewEngine]:
    """Starts a reconciler on that node, as a process does that finds the state of the one before it."""
    engines = []

    async def endpoints() -> list[Endpoint]:
        return [TcpEndpoint("server", SERVER, PORT)]

    def confirmation(inventory: Inventory, metrics: Metrics) -> Confirmation:
        state = StateDirectory(tmp_path / "state", "node1")
        made = Confirmation(inventory, metrics, reach=Reachability(endpoints), state=state, seconds=4.0)
        known = made.recall()
        inventory.remember(known.node, known.routes)
        return made

    def new() -> Engine:
        engine = Engine(Machine(), None, confirmation)
        engine.start()
        engines.append(engine)
        return engine

    yield new
    for engine in engines:
        await engine.stop()


@pytest.fixture
async def engine(new_engine: NewEngine) -> Engine:
    """The first of them."""
    engine = new_engine()
    engine.inventory.set_node(NODE)
    return engine


def _capturing(gateway: str, generation: int = 1, name: str = "nat") -> StaticRoute:
    return route(name, gateway, ["198.51.100.0/24"], generation=generation)


async def test_new_revision(engine: Engine, new_engine: NewEngine) -> None:
    """Another gateway and prefix under the same generation are rolled back like a new spec, and stay so."""
    good = route("nat", GOOD, ["198.51.100.0/25"])
    await engine.settle(good)
    bad = replace(
        resolve(good), keys=keys("198.51.100.0/24"), gateways=(gateways.Gateway(pack_address(NOBODY)),), revision="2"
    )

    _use(engine, bad)
    await engine.until(lambda: f"{NOBODY} eth0" in engine.machine.routes().get("198.51.100.0/24", ""), "it is tried")
    row = await engine.state_is("nat", "Failed", 1)

    assert row.reason is Reason.ROLLED_BACK
    assert engine.machine.routes() == {"198.51.100.0/25": f"{GOOD} eth1"}
    await engine.until(lambda: not engine.confirmation.open, "the cause is found")
    await engine.stop()
    following = new_engine()
    _use(following, bad)
    await following.rest()
    assert following.machine.routes() == {"198.51.100.0/25": f"{GOOD} eth1"}

    _use(following, replace(bad, keys=keys("198.51.100.0/26"), gateways=resolve(good).gateways, revision="3"))
    await following.until(lambda: "198.51.100.0/26" in following.machine.routes(), "a newer one is in force")


async def test_coincidence(engine: Engine, gateway: Gateway, caplog: pytest.LogCaptureFixture) -> None:
    """A change stays when what is not reached with it is not reached without it either."""
    caplog.set_level(logging.WARNING)
    await engine.settle(route("other", GOOD, ["192.0.2.1"]))
    gateway.far(f"ip address del {SERVER}/32 dev gw1")
    engine.put(route("nat", NOBODY, ["203.0.113.0/24"]))

    await engine.until(
        lambda: "203.0.113.0/24" not in engine.machine.routes() and engine.confirmation.open, "it is reverted"
    )
    await engine.state_is("nat", "Programmed", 1)

    assert engine.machine.routes() == {"192.0.2.1/32": f"{GOOD} eth1", "203.0.113.0/24": f"{NOBODY} eth0"}
    assert "reinstated: without the change this node does not reach server" in caplog.text
    assert engine.count("rollbacks_total") == 0


async def test_killed_in_between(new_engine: NewEngine, engine: Engine, tmp_path: Path) -> None:
    """Changes unconfirmed when a process was killed are rolled back by the next, before it hears of any object."""
    await engine.settle(_capturing(GOOD))
    engine.put(_capturing(NOBODY, 2), route("new", NOBODY, ["203.0.113.0/24"]))
    await engine.until(lambda: len(engine.machine.routes()) == 2 and engine.confirmation.open, "both are unconfirmed")
    await _kill(engine, tmp_path)

    following = new_engine()
    await following.routes_are({"198.51.100.0/24": f"{GOOD} eth1"})
    following.inventory.set_node(NODE)
    following.put(_capturing(NOBODY, 2), route("new", NOBODY, ["203.0.113.0/24"]))
    following.complete()
    rows = [await following.state_is(name, "Failed") for name in ("nat", "new")]

    assert [row.reason for row in rows] == [Reason.ROLLED_BACK] * 2
    assert following.machine.routes() == {"198.51.100.0/24": f"{GOOD} eth1"}


async def test_killed_twice(new_engine: NewEngine, engine: Engine, tmp_path: Path) -> None:
    """An unconfirmed change is rolled back once: a version confirmed after that stays, whatever comes."""
    await engine.settle(_capturing(GOOD))
    engine.put(_capturing(NOBODY, 2))
    await engine.until(lambda: engine.confirmation.open, "it is unconfirmed")
    await _kill(engine, tmp_path)

    following = new_engine()
    following.inventory.set_node(NODE)
    newer = route("nat", GOOD, ["198.51.100.0/25"], generation=3)
    await following.settle(newer)
    await following.stop()
    third = new_engine()

    await third.routes_are({"198.51.100.0/25": f"{GOOD} eth1"})
    assert third.inventory.routes["uid-nat"] == resolve(newer)
    await third.rest()
    assert third.operations() == {"add": 0, "replace": 0, "delete": 0}


async def test_not_for_this_node_any_more(engine: Engine, gateway: Gateway) -> None:
    """A version that takes away from its node the route to a required endpoint is rolled back."""
    gateway.run(f"ip route replace default via {NOBODY}")
    engine.put(_capturing(GOOD))
    engine.complete()
    await engine.routes_are({"198.51.100.0/24": f"{GOOD} eth1"})
    reach = engine.confirmation._reach
    assert reach is not None
    reach.look_again()
    await engine.until(lambda: reach.answering and not engine.confirmation.open, "the server is reached")

    terms = [{"matchExpressions": [{"key": "zone", "operator": "In", "values": ["b"]}]}]
    elsewhere = route("nat", GOOD, ["198.51.100.0/24"], generation=2, nodeSelector={"nodeSelectorTerms": terms})
    engine.put(elsewhere)
    await engine.until(lambda: engine.confirmation.open and not engine.machine.routes(), "it is unconfirmed")

    await engine.routes_are({"198.51.100.0/24": f"{GOOD} eth1"})
    await engine.until(lambda: not engine.confirmation.open, "the cause is found")
    assert engine.machine.routes() == {"198.51.100.0/24": f"{GOOD} eth1"}


async def test_remembered(new_engine: NewEngine, engine: Engine) -> None:
    """A new process knows what was rolled back: it does not try it again."""
    await engine.settle(_capturing(GOOD))
    engine.put(_capturing(NOBODY, 2))
    await engine.state_is("nat", "Failed", 2)
    await engine.until(lambda: not engine.confirmation.open, "the cause is found")
    await engine.stop()

    following = new_engine()
    following.inventory.set_node(NODE)
    following.put(_capturing(NOBODY, 2))
    following.complete()

    row = await following.state_is("nat", "Failed", 2)
    assert row.reason is Reason.ROLLED_BACK
    assert following.operations() == {"add": 0, "replace": 0, "delete": 0}


async def test_after_a_reboot(new_engine: NewEngine, engine: Engine) -> None:
    """The last known good routes are there before any object is heard of; what was deleted meanwhile goes then."""
    gone = route("gone", GOOD, ["192.0.2.0/24"])
    stays = route("stays", GOOD, ["203.0.113.0/24", "203.0.113.7"], excludes=["203.0.113.128/25"])
    await engine.settle(gone, stays)
    await engine.stop()
    engine.machine.ip("route flush table main proto 245")

    following = new_engine()
    both = {"192.0.2.0/24": f"{GOOD} eth1", "203.0.113.0/25": f"{GOOD} eth1", "203.0.113.7/32": f"{GOOD} eth1"}
    await following.routes_are(both)
    assert not following.reconciler.synced

    following.inventory.set_node(NODE)
    following.put(stays)
    following.inventory.replace({stays.uid: 9}, 9)
    await following.routes_are({prefix: path for prefix, path in both.items() if prefix != "192.0.2.0/24"})


def _use(engine: Engine, version: ResolvedRoute) -> None:
    """Put a version in force, as a source beside the spec would."""
    engine.inventory._use(version)
    engine.inventory._changed()


async def _kill(engine: Engine, directory: Path) -> None:
    """It ends without another word, some moments after a change: nothing is written any more."""
    await engine.until((directory / "state" / "node1.journal").exists, "it is written down")
    for task in engine._tasks:
        task.cancel()
    checking = engine.confirmation._checking
    assert checking is not None
    checking.cancel()
    await asyncio.wait([*engine._tasks, checking])
    engine._tasks.clear()
