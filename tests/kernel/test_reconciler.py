"""The reconcile loop on a real machine: what it makes of objects, and of what others do to the machine."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest

from static_route_operator.api.noderoutestate import Reason
from static_route_operator.api.nodeselector import Node
from static_route_operator.api.resolution import Version
from static_route_operator.kernel.fib import Fib
from static_route_operator.node import installed, retries
from static_route_operator.routing.foreign import Lookup
from static_route_operator.routing.nexthops import PROTOCOL
from static_route_operator.routing.prefixes import pack_address
from static_route_operator.routing.protection import Protection
from tests.kernel.engine import Engine
from tests.kernel.machine import Machine
from tests.unit.builders import protection, route

FAMILIES = pytest.mark.parametrize(
    ("destination", "gateway", "other"),
    [("192.0.2.1/32", "10.0.0.1", "10.0.0.3"), ("2001:db8::1/128", "fd00::1", "fd00::3")],
    ids=["IPv4", "IPv6"],
)


def _hosts(count: int) -> list[str]:
    return [f"198.18.{each // 250}.{each % 250}" for each in range(count)]


async def test_held_object_keeps_what_it_has(machine: Machine, engine: Engine) -> None:
    """A version that is not to be used yet leaves the routes of the last one, which are repaired as ever."""
    await engine.settle(route(destinations=["192.0.2.1"]))
    engine.inventory.put(route(gateway="10.0.0.3", destinations=["192.0.2.2"], generation=2), 2, released=False)
    await engine.rest()
    machine.ip("route del 192.0.2.1")
    await engine.routes_are({"192.0.2.1/32": "10.0.0.1 eth0"})

    engine.inventory.release(Version("uid-nat", 2))
    await engine.routes_are({"192.0.2.2/32": "10.0.0.3 eth0"})


async def test_what_was_there_is_spared_while_its_owner_is_held(machine: Machine, engine: Engine) -> None:
    """An agent that starts amid a roll-out leaves what it finds, and removes only what was in force since then."""
    machine.ip("route add 192.0.2.1 via 10.0.0.1 proto 245")
    engine.inventory.put(route("held", destinations=["192.0.2.2"], generation=2), 1, released=False)
    engine.put(route("other", destinations=["192.0.2.3"]))
    engine.inventory.replace({"uid-held": 1, "uid-other": 1}, 1)
    await engine.routes_are({"192.0.2.1/32": "10.0.0.1 eth0", "192.0.2.3/32": "10.0.0.1 eth0"})
    await engine.until(lambda: engine.reconciler.synced, "it is in sync")
    engine.remove("other")
    await engine.routes_are({"192.0.2.1/32": "10.0.0.1 eth0"})

    engine.inventory.release(Version("uid-held", 2))
    await engine.routes_are({"192.0.2.2/32": "10.0.0.1 eth0"})


@pytest.fixture
def _no_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is tried again just because time has passed."""
    monkeypatch.setattr(retries, "FIRST_RETRY", 3600.0)


@pytest.mark.usefixtures("_no_retries")
@FAMILIES
async def test_foreign_replacement_is_a_conflict_and_left_alone(
    machine: Machine, engine: Engine, destination: str, gateway: str, other: str
) -> None:
    """Another program that replaces our route gets to keep it: reported with its words, healed when it goes."""
    engine.put(route("nat", gateway, [destination]))
    engine.complete()
    await engine.state_is("nat", "Programmed")
    machine.ip(f"route replace {destination} via {other} proto static")

    row = await engine.state_is("nat", "Conflict")
    assert (row.reason, row.programmed) == (Reason.FOREIGN_ROUTE, 0)
    assert f"{destination} (via {other} proto static)" in row.message
    await engine.rest()
    assert (machine.routes("static"), machine.routes()) == ({destination: f"{other} eth0"}, {})

    machine.ip(f"route del {destination}")
    await engine.state_is("nat", "Programmed")
    assert machine.routes() == {destination: f"{gateway} eth0"}


@pytest.mark.usefixtures("_no_retries")
@FAMILIES
async def test_conflict_touches_nothing_else_and_heals(
    machine: Machine, engine: Engine, destination: str, gateway: str, other: str
) -> None:
    """A foreign route that was there first stays; other destinations are programmed; when it goes ours comes."""
    second = "192.0.2.2/32" if "." in destination else "2001:db8::2/128"
    machine.ip(f"route add {destination} via {other} proto static")
    engine.put(route("nat", gateway, [destination, second]))
    engine.complete()

    row = await engine.state_is("nat", "Conflict")
    assert (row.programmed, row.destinations) == (1, 2)
    assert machine.routes() == {second: f"{gateway} eth0"}
    assert machine.routes("static") == {destination: f"{other} eth0"}
    assert engine.count("failed_routes") == engine.count("conflicting_routes") == 1

    machine.ip(f"route del {destination}")
    await engine.state_is("nat", "Programmed")
    assert machine.routes() == {destination: f"{gateway} eth0", second: f"{gateway} eth0"}
    assert engine.count("failed_routes") == engine.count("conflicting_routes") == 0


@pytest.mark.usefixtures("_no_retries")
async def test_conflict_that_goes_unsaid_heals_too(machine: Machine, engine: Engine) -> None:
    """A foreign route that vanishes with its interface, without a notification, no longer stands in the way."""
    machine.ip("route add 192.0.2.1 via 10.1.0.1 proto static")
    engine.put(route())
    engine.complete()
    await engine.state_is("nat", "Conflict")
    machine.ip("link set eth1 down")

    await engine.routes_are({"192.0.2.1/32": "10.0.0.1 eth0"})


@pytest.mark.usefixtures("_no_retries")
async def test_conflict_that_lasts_costs_no_dump_in_each_run(
    machine: Machine, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A conflict that only a dump can name is named once, however many routes of others are repaired afterwards."""
    # A look-up finds the better route only, not the one that holds the place.
    machine.ip(
        "route add 192.0.2.1 via 10.0.0.9 proto static metric 7", "route add 192.0.2.1 via 10.0.0.3 proto static"
    )
    others = [f"198.51.100.{last}" for last in range(1, 6)]
    engine.put(route("hidden", metric=7), route("others", destinations=others))
    engine.complete()
    row = await engine.state_is("hidden", "Conflict")
    assert "via 10.0.0.9" in row.message
    await engine.rest()
    dumps: list[int] = []
    dump = engine.reconciler._fib._dump

    def counted(kind: int, *arguments: Any) -> AsyncIterator[Any]:
        dumps.append(kind)
        return dump(kind, *arguments)

    monkeypatch.setattr(engine.reconciler._fib, "_dump", counted)
    for number, destination in enumerate(others, start=1):
        machine.ip(f"route del {destination}")
        await engine.until(lambda: engine.count("drift_repairs_total") == number, "it is back")  # noqa: B023  used at once

    assert dumps == []
    assert engine.row("hidden") == row


async def test_refusal_is_tried_again_without_any_sign(machine: Machine, engine: Engine) -> None:
    """A change that the kernel refused is tried again after a while, even without any event."""
    machine.ip("route add 192.0.2.1 via 10.0.0.3 proto static")
    engine.put(route())
    engine.complete()
    await engine.state_is("nat", "Conflict")
    engine.reconciler._monitor.stop()
    machine.ip("route del 192.0.2.1")

    await engine.routes_are({"192.0.2.1/32": "10.0.0.1 eth0"})


async def test_gateway_change_leaves_no_window(machine: Machine, engine: Engine) -> None:
    """While 2,000 routes move to another gateway and back, no look-up of any of them ever fails."""
    hosts = _hosts(2000)
    addresses = [pack_address(host) for host in hosts]
    engine.put(route("nat", "10.0.0.1", hosts))
    engine.complete()
    await engine.state_is("nat", "Programmed")
    counts = {"looked up": 0, "missed": 0}
    end = threading.Event()

    def look_up() -> None:
        with contextlib.closing(Fib()) as other:
            while not end.is_set():
                counts["looked up"] += len(addresses)
                counts["missed"] += len(addresses) - len(other.look_up(addresses))

    thread = threading.Thread(target=look_up)
    thread.start()
    try:
        for generation, gateway in enumerate(["10.1.0.1", "10.0.0.1"] * 5, 2):
            engine.put(route("nat", gateway, hosts, generation=generation))
            await engine.state_is("nat", "Programmed", generation)
            assert {hop.partition(" ")[0] for hop in machine.routes().values()} == {gateway}
    finally:
        end.set()
        thread.join()

    assert counts["missed"] == 0
    assert counts["looked up"] > 10_000
    assert engine.count("operations_total", action="replace") == 20_000
    assert engine.count("operations_total", action="delete") == 0


async def test_nothing_is_removed_before_all_is_known(machine: Machine, engine: Engine) -> None:
    """Until a complete list is there routes are added and changed, but none is removed; then the leftovers go."""
    machine.ip(
        "route add 203.0.113.1 via 10.0.0.1 proto 245",
        "route add 192.0.2.1 via 10.0.0.9 proto 245",
        "route add blackhole 203.0.113.2 proto 245",
        "route add 203.0.113.3 via 10.0.0.1 proto 245 table 100",
        "route add 2001:db8::9 via fd00::1 proto 245 metric 7",
        "route add 203.0.113.4 via 10.0.0.1 proto static",
    )
    engine.put(route(destinations=["192.0.2.1", "192.0.2.2"]))
    leftovers = {
        "203.0.113.1/32": "10.0.0.1 eth0",
        "203.0.113.2/32": "type 6",
        "2001:db8::9/128": "fd00::1 eth0 metric 7",
    }
    desired = {"192.0.2.1/32": "10.0.0.1 eth0", "192.0.2.2/32": "10.0.0.1 eth0"}
    await engine.routes_are({**leftovers, **desired})
    await engine.rest()
    assert (machine.routes(), engine.reconciler.synced) == ({**leftovers, **desired}, False)

    engine.complete()
    await engine.routes_are(desired)
    await engine.until(lambda: engine.reconciler.synced, "it is in sync")
    assert machine.routes(table="100") == {}
    assert machine.routes("static") == {"203.0.113.4/32": "10.0.0.1 eth0"}


async def test_remove_all_is_final(machine: Machine, engine: Engine) -> None:
    """After an uninstall every route of ours is gone, none comes back, and all others are there."""
    machine.ip(
        "route add 203.0.113.4 via 10.0.0.1 proto static", "route add 203.0.113.5 via 10.0.0.1 proto 245 table 9"
    )
    engine.put(route(destinations=_hosts(1000)), route("v6", "fd00::1", ["2001:db8::/32"]))
    await engine.state_is("v6", "Programmed")

    assert await engine.reconciler.remove_all() == 1002
    engine.put(route("late", destinations=["192.0.2.9"]))
    machine.ip("link set eth1 down")
    await asyncio.sleep(0.3)
    assert (machine.routes(), machine.routes(table="9")) == ({}, {})
    assert machine.routes("static") == {"203.0.113.4/32": "10.0.0.1 eth0"}


async def test_protected_addresses_are_asked_for_in_each_run(machine: Machine, engine: Engine) -> None:
    """An address that becomes protected loses the route that captures it, and only that one."""
    engine.put(route(destinations=["192.0.2.0/24", "198.51.100.1"]))
    engine.complete()
    await engine.state_is("nat", "Programmed")
    engine.protected = lambda: protection({"192.0.2.7": "API server"})
    engine.reconciler.wake()

    row = await engine.state_is("nat", "Refused")
    assert row.message.startswith("192.0.2.0/24 would capture 192.0.2.7 (API server); remove it from")
    await engine.routes_are({"198.51.100.1/32": "10.0.0.1 eth0"})


async def test_node_selector_follows_the_labels(machine: Machine, engine: Engine) -> None:
    """An object that does not select this node has no row and no routes here; a change of labels is enough."""
    selector = {"nodeSelectorTerms": [{"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a"]}]}]}
    engine.put(route(nodeSelector=selector))
    engine.complete()
    await engine.state_is("nat", "Programmed")
    engine.inventory.set_node(Node("node1", {"zone": "b"}))
    await engine.routes_are({})
    await engine.until(lambda: not engine.reconciler.rows, "there is no row")

    engine.inventory.set_node(Node("node1", {"zone": "a"}))
    await engine.routes_are({"192.0.2.1/32": "10.0.0.1 eth0"})


async def test_node_without_known_labels_waits(machine: Machine) -> None:
    """Until the labels are known an object with a selector is pending and keeps what it has; others are programmed."""
    machine.ip("route add 192.0.2.1 via 10.0.0.1 proto 245")
    engine = Engine(machine, None)
    engine.start()
    selector = {"nodeSelectorTerms": [{"matchExpressions": [{"key": "zone", "operator": "Exists"}]}]}
    engine.put(route("some", nodeSelector=selector), route("all", destinations=["192.0.2.2"]))
    engine.complete()
    row = await engine.state_is("some", "Pending")
    assert row.message == "the labels of this node are not known yet"
    await engine.routes_are({"192.0.2.1/32": "10.0.0.1 eth0", "192.0.2.2/32": "10.0.0.1 eth0"})

    engine.inventory.set_node(Node("node1", {"zone": "a"}))
    await engine.state_is("some", "Programmed")
    await engine.stop()


async def test_burst_of_changes_is_few_runs(machine: Machine, engine: Engine) -> None:
    """A thousand changes while it works become a few runs, with the last state as their result."""
    engine.complete()
    await engine.rest()
    before = engine.count("reconcile_duration_seconds_count")
    for number in range(1000):
        engine.put(route(f"r{number % 10}", destinations=[f"198.18.0.{number % 250}"], generation=number))
        if number % 100 == 0:
            await asyncio.sleep(0)
    await engine.routes_are({f"198.18.0.{number}/32": "10.0.0.1 eth0" for number in range(240, 250)})

    assert engine.count("reconcile_duration_seconds_count") - before < 100


async def test_nothing_is_done_at_rest(machine: Machine, engine: Engine) -> None:
    """In a steady state nothing is run or written, until an event."""
    engine.put(route(destinations=_hosts(1000)))
    engine.complete()
    await engine.state_is("nat", "Programmed")
    # Many new routes are followed by a search for foreign ones.
    await asyncio.sleep(installed.SURVEY_PAUSE)
    await engine.rest()
    before = engine.count("reconcile_duration_seconds_count"), engine.count("operations_total", action="add")
    await asyncio.sleep(1)

    assert before == (engine.count("reconcile_duration_seconds_count"), 1000)


async def test_lost_route_needs_no_look_at_the_node(
    machine: Machine, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A route that others remove is put back with what is known of the node: nothing says that it has changed."""
    engine.put(route())
    engine.complete()
    await engine.state_is("nat", "Programmed")
    await engine.rest()
    looks: list[object] = []
    look_up = engine.reconciler._fib.look_up

    def noted(*words: Any) -> dict[bytes, Lookup]:
        looks.append(words)
        return look_up(*words)

    monkeypatch.setattr(engine.reconciler._fib, "look_up", noted)
    machine.ip("route del 192.0.2.1")
    await engine.routes_are({"192.0.2.1/32": "10.0.0.1 eth0"})
    assert looks == []

    engine.reconciler.wake()
    await engine.until(lambda: looks, "it looks when it is asked to")


async def test_foreign_changes_cost_no_writes(machine: Machine, engine: Engine) -> None:
    """The routes of others come and go by the thousand without a change to ours, and without a run for each."""
    engine.put(route())
    engine.complete()
    await engine.state_is("nat", "Programmed")
    await engine.rest()
    before = engine.count("reconcile_duration_seconds_count")
    machine.ip(*(f"route add {host} via 10.0.0.9 proto bird" for host in _hosts(2000)))
    await engine.rest()

    assert engine.count("operations_total", action="add") == 1
    assert engine.count("reconcile_duration_seconds_count") - before < 50
    assert machine.routes() == {"192.0.2.1/32": "10.0.0.1 eth0"}


async def test_defect_does_not_end_the_care_for_routes(
    machine: Machine, engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    """An unforeseen error in a run is logged in full, and the next run does what it should."""
    asked = []

    def protected() -> Protection:
        asked.append(1)
        if len(asked) == 1:
            raise RuntimeError("told so")
        return Protection()

    engine.protected = protected
    engine.put(route())
    engine.complete()

    await engine.routes_are({"192.0.2.1/32": "10.0.0.1 eth0"})
    assert "RuntimeError: told so" in caplog.text
    assert engine.count("reconcile_errors_total") == 1


async def test_transitions_are_logged_once(machine: Machine, engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
    """One line tells when the state of an object changes, however many runs there are."""
    caplog.set_level("INFO")
    engine.put(route())
    engine.complete()
    await engine.state_is("nat", "Programmed")
    for _ in range(5):
        engine.reconciler.wake()
        await asyncio.sleep(0.05)

    lines = [each.getMessage() for each in caplog.records if "StaticRoute nat" in each.getMessage()]
    assert lines == ["StaticRoute nat: Programmed: 1 of 1 destinations via 10.0.0.1 (generation 1)"]


async def test_protocol_is_the_documented_one(machine: Machine, engine: Engine) -> None:
    """Users and other programs know our routes by protocol 245."""
    engine.put(route())
    await engine.routes_are({"192.0.2.1/32": "10.0.0.1 eth0"})

    assert PROTOCOL == 245
