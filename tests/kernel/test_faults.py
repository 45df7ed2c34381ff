"""Faults of a machine that need many routes, or a hand inside the engine: lost notifications, rights, sockets, time.

After each of them all routes of ours are as desired, and nothing of others was touched: a neighbour's routes, of every
kind there is, stand on an interface of their own, and are looked at in the end. The other faults are scenarios, in the
folders `addresses`, `conflicts`, `drift` and `links`.
"""

import asyncio
import json
import os
import subprocess
import time
from collections.abc import Iterator

import pytest

from static_route_operator.api.noderoutestate import Reason
from static_route_operator.kernel.netlink import SO_RCVBUFFORCE
from tests.kernel import capabilities
from tests.kernel.crowd import disperse_crowd, make_crowd
from tests.kernel.engine import Engine
from tests.kernel.machine import Machine
from tests.unit.builders import route

# The number that the neighbour's routes carry.
NEIGHBOUR = "80"

_NEIGHBOUR = """
link add eth2 type veth peer name eth2-peer
link set eth2 addrgenmode none
link set eth2-peer addrgenmode none
link set eth2-peer up
link set eth2 up
address add 10.2.0.2/24 dev eth2
address add fd00:2::2/64 dev eth2 nodad
route add 192.0.2.1 via 10.2.0.1 proto 80 metric 4000
route add 192.0.2.0/24 via 10.2.0.1 proto 80
route add 192.0.2.1 via 10.2.0.1 proto 80 table 100
route add blackhole 203.0.113.0/25 proto 80
route add 203.0.113.128/25 proto 80 nexthop via 10.2.0.1 nexthop via 10.2.0.3
nexthop add id 4711 via 10.2.0.1 dev eth2
route add 203.0.114.0/24 nhid 4711 proto 80
route add 203.0.115.0/24 dev eth2 proto 80
route add 2001:db8::1 via fd00:2::1 proto 80 metric 4000
route add 2001:db8::/32 via fd00:2::1 proto 80
rule add fwmark 77 lookup 100 pref 1000
"""


@pytest.fixture(autouse=True)
def neighbour(machine: Machine) -> Iterator[set[str]]:
    """Another program's routes, none of which may be missing or changed in the end."""
    machine.ip(*_NEIGHBOUR.strip().splitlines())
    routes, rules = _foreign(machine), machine.query("rule")
    yield routes
    assert (routes - _foreign(machine), machine.query("rule")) == (set(), rules)


def _foreign(machine: Machine) -> set[str]:
    routes = [
        each
        for family in ("-4", "-6")
        for each in machine.query("-d", family, "route", "show", "table", "all", "proto", NEIGHBOUR)
    ]
    return {json.dumps(each, sort_keys=True) for each in routes}


def _hosts(count: int) -> list[str]:
    return [f"198.18.{each // 250}.{each % 250}" for each in range(count)]


async def _program_both(engine: Engine) -> dict[str, str]:
    """Have a route of each family through eth0 programmed; all routes there are."""
    engine.put(route("v4"), route("v6", "fd00::1", ["2001:db8::1"]))
    engine.complete()
    await engine.state_is("v4", "Programmed")
    await engine.state_is("v6", "Programmed")
    expected = {"192.0.2.1/32": "10.0.0.1 eth0", "2001:db8::1/128": "fd00::1 eth0"}
    assert engine.machine.routes() == expected
    return expected


# Links.


async def test_interface_that_is_down_for_a_moment(machine: Machine, engine: Engine) -> None:
    """Down and up within a moment loses no route for good, however the notifications are grouped."""
    engine.put(route(destinations=_hosts(500)))
    engine.complete()
    await engine.state_is("nat", "Programmed")
    for _ in range(5):
        machine.ip("link set eth0 down", "link set eth0 up")
        await asyncio.sleep(0.02)

    await engine.until(lambda: len(machine.routes()) == 500, "all routes are back")
    assert (await engine.state_is("nat", "Programmed")).programmed == 500


async def test_interface_made_anew_in_a_moment(machine: Machine, engine: Engine) -> None:
    """An interface that is deleted and made again under its name, with another index, has its routes at once."""
    engine.put(route(destinations=_hosts(500)))
    engine.complete()
    await engine.state_is("nat", "Programmed")
    machine.ip(
        "link del eth0",
        "link add eth0 type veth peer name eth0-peer",
        "link set eth0-peer up",
        "link set eth0 up",
        "address add 10.0.0.2/24 dev eth0",
    )

    await engine.until(lambda: set(machine.routes().values()) == {"10.0.0.1 eth0"}, "routes are back")
    await engine.until(lambda: len(machine.routes()) == 500, "all of them are back")
    await engine.state_is("nat", "Programmed")


# Other programs.


async def test_flush_of_thousands(machine: Machine, engine: Engine) -> None:
    """`ip route flush proto 245` of 2,000 routes takes none of them away for long."""
    engine.put(route(destinations=_hosts(2000)), route("v6", "fd00::1", ["2001:db8::1"]))
    engine.complete()
    await engine.state_is("nat", "Programmed")
    await engine.state_is("v6", "Programmed")
    machine.ip("route flush proto 245")
    machine.ip("route flush proto 245", ipv6=True)

    await engine.until(lambda: len(machine.routes()) == 2001, "all routes are back")
    assert set(machine.routes().values()) == {"10.0.0.1 eth0", "fd00::1 eth0"}


async def test_crowd_of_foreign_routes(machine: Machine, engine: Engine) -> None:
    """Beside 400,000 routes of others ours are put back, moved and removed as ever, and theirs are all there."""
    count = 400_000
    make_crowd(count, machine.interface("eth1"))
    expected = await _program_both(engine)
    machine.ip("route del 192.0.2.1 proto 245")
    await engine.routes_are(expected)
    engine.put(route("v4", "10.0.0.3", generation=2))
    await engine.routes_are({**expected, "192.0.2.1/32": "10.0.0.3 eth0"})
    engine.reconciler._read_again()
    await engine.rest()
    engine.remove("v4")
    engine.remove("v6")
    await engine.routes_are({})

    assert _lines("ip", "route", "show", "via", "10.1.0.9") == count


def _lines(*words: str) -> int:
    """Return the number of lines that a program writes."""
    return subprocess.run(words, capture_output=True, check=True).stdout.count(b"\n")


# Sockets, rights and time.


async def test_lost_notifications_are_made_up_for(
    machine: Machine, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All routes come back after a deletion so large that notifications are lost."""
    monkeypatch.setattr(engine.reconciler._monitor._listener, "_buffer", 8192)
    engine.reconciler._monitor.stop()
    engine.reconciler._monitor.start()
    engine.put(route(destinations=_hosts(2000)))
    engine.complete()
    await engine.state_is("nat", "Programmed")
    machine.ip("route flush proto 245")

    await engine.until(lambda: engine.count("monitor_overflows_total"), "the loss is noticed")
    await engine.until(lambda: len(machine.routes()) == 2000, "all routes are back")


async def test_request_socket_that_breaks_is_replaced(machine: Machine, engine: Engine) -> None:
    """A run that fails as a whole is counted and tried again with a new socket, and the routes come."""
    engine.complete()
    await engine.rest()
    no_socket = os.open("/dev/null", os.O_RDONLY)
    os.dup2(no_socket, engine.reconciler._fib._socket.fileno())
    os.close(no_socket)
    engine.put(route())

    await engine.routes_are({"192.0.2.1/32": "10.0.0.1 eth0"})
    assert engine.count("reconcile_errors_total") >= 1


async def test_burst_of_others_overruns_the_monitor(
    machine: Machine, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A loss whose notification is lost in a burst of 20,000 changes by others is found all the same."""
    monkeypatch.setattr(engine.reconciler._monitor._listener, "_buffer", 8192)
    engine.reconciler._monitor.stop()
    engine.reconciler._monitor.start()
    expected = await _program_both(engine)
    interface = machine.interface("eth1")
    # All in one go, so that nothing of it is read before the buffer is full.
    make_crowd(20_000, interface)
    machine.ip("route del 192.0.2.1 proto 245", "route del 2001:db8::1 proto 245")
    disperse_crowd(20_000, interface)

    await engine.until(lambda: engine.count("monitor_overflows_total"), "the loss is noticed")
    await engine.routes_are(expected)


async def test_answers_of_the_kernel_that_are_lost(machine: Machine, engine: Engine) -> None:
    """If the kernel drops answers to changes, all is read again, and each conflict is reported correctly in the end."""
    hosts = _hosts(2000)
    machine.ip(*(f"route add {host} via 10.1.0.9 proto static" for host in hosts[:1000]))
    engine.complete()
    await engine.rest()
    engine.reconciler._fib._socket._socket.setsockopt(1, SO_RCVBUFFORCE, 2048)
    engine.put(route(destinations=hosts))

    row = await engine.state_is("nat", "Conflict")
    assert (row.programmed, row.destinations) == (1000, 2000)
    assert engine.count("reconcile_errors_total") >= 1
    assert machine.routes() == {f"{host}/32": "10.0.0.1 eth0" for host in hosts[1000:]}
    assert len(machine.routes("static")) == 1000


async def test_right_to_change_routes_is_taken_away(machine: Machine, engine: Engine) -> None:
    """Without CAP_NET_ADMIN the failures have the kernel's words; the changes follow once the right is back."""
    engine.put(route())
    engine.complete()
    await engine.state_is("nat", "Programmed")
    with capabilities.without(capabilities.NET_ADMIN):
        machine.ip("route del 192.0.2.1 proto 245")
        row = await engine.state_is("nat", "Failed")
        assert row.reason == Reason.KERNEL_REFUSED
        assert "the kernel refused 192.0.2.1/32: Operation not permitted; it is tried again" in row.message
        assert machine.routes() == {}

    await engine.routes_are({"192.0.2.1/32": "10.0.0.1 eth0"})
    await engine.state_is("nat", "Programmed")


@pytest.mark.parametrize("jump", [-10 * 365 * 86400.0, 10 * 365 * 86400.0], ids=["back", "forth"])
async def test_clock_jumps(machine: Machine, engine: Engine, monkeypatch: pytest.MonkeyPatch, jump: float) -> None:
    """A clock that is set by years neither stops repairs nor retries."""
    machine.ip("route add 192.0.2.9 via 10.0.0.9 proto static")
    engine.put(route("held", destinations=["192.0.2.9"]))
    expected = await _program_both(engine)
    await engine.state_is("held", "Conflict")
    true_time = time.time
    monkeypatch.setattr(time, "time", lambda: true_time() + jump)
    machine.ip("route del 192.0.2.1 proto 245")
    await engine.routes_are(expected)
    # Unseen, so that only the next try finds it.
    engine.reconciler._monitor.stop()
    machine.ip("route del 192.0.2.9 proto static")

    await engine.routes_are({**expected, "192.0.2.9/32": "10.0.0.1 eth0"})
