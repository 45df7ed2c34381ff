"""Faults of machines, one by one, on a real kernel, with an engine that has to survive them.

After each of them all routes of ours are as wanted, and nothing of others was touched: a neighbour's routes, of every
kind there is, stand on an interface of their own, and are looked at in the end.

Faults of the whole program (killed at any point, two at once, a full disk) are in `test_program`, programs that take
routes away again and again in `test_contention`, conflicts with foreign routes in `test_reconciler`.
"""

import asyncio
import contextlib
import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from static_route_operator.api.noderoutestate import Reason
from static_route_operator.kernel.netlink import SO_RCVBUFFORCE
from tests.kernel import capabilities
from tests.kernel.crowd import disperse_crowd, make_crowd
from tests.kernel.engine import Engine
from tests.kernel.machine import Machine, wait_until
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


async def test_carrier_loss_moves_no_route(machine: Machine, engine: Engine) -> None:
    """A cable that is pulled takes no route away, since the kernel keeps them too."""
    engine.put(route(), route("v6", "fd00::1", ["2001:db8::1"]))
    engine.complete()
    await engine.state_is("v6", "Programmed")
    before = machine.routes()
    machine.ip("link set eth0-peer down")
    await engine.rest()
    machine.ip("link set eth0-peer up")
    await engine.rest()

    assert machine.routes() == before
    assert engine.count("operations_total", action="delete") == 0
    assert [each.state for each in engine.reconciler.rows] == ["Programmed", "Programmed"]


async def test_interface_down_and_up(machine: Machine, engine: Engine) -> None:
    """Routes that the kernel drops with an interface are reported as missing, and back when it is up again."""
    engine.put(
        route("v4", "10.0.0.1"), route("v6", "fd00::1", ["2001:db8::1"]), route("other", "10.1.0.1", ["192.0.2.9"])
    )
    engine.complete()
    for name in ("v4", "v6", "other"):
        await engine.state_is(name, "Programmed")
    machine.ip("link set eth0 down")

    row = await engine.state_is("v4", "Failed")
    assert row.reason == Reason.GATEWAY_UNREACHABLE
    assert "is on 10.0.0.0/24 of eth0, which is down: bring it up (ip link set eth0 up)" in row.message
    await engine.state_is("v6", "Failed")
    await engine.routes_are({"192.0.2.9/32": "10.1.0.1 eth1"})

    # The kernel drops IPv6 addresses of a link that goes down; who configures the network adds them again.
    machine.ip("link set eth0 up", "address add fd00::2/64 dev eth0 nodad")
    await engine.state_is("v6", "Programmed")
    await engine.routes_are(
        {"192.0.2.1/32": "10.0.0.1 eth0", "192.0.2.9/32": "10.1.0.1 eth1", "2001:db8::1/128": "fd00::1 eth0"}
    )


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


async def test_renamed_interface_changes_nothing(machine: Machine, engine: Engine) -> None:
    """A rename moves no route, and the report has the new name."""
    engine.put(route())
    engine.complete()
    await engine.state_is("nat", "Programmed")
    before = engine.count("operations_total", action="replace"), engine.count("operations_total", action="add")
    machine.ip("link set eth0 name wan0")
    await engine.until(lambda: engine.questions.routes()["routes"][0]["interface"] == "wan0", "the name is known")

    assert machine.routes() == {"192.0.2.1/32": "10.0.0.1 wan0"}
    assert (
        engine.count("operations_total", action="replace"),
        engine.count("operations_total", action="add"),
    ) == before


async def test_interface_made_anew(machine: Machine, engine: Engine) -> None:
    """An interface that is deleted and comes back with another index is used again."""
    engine.put(route())
    engine.complete()
    await engine.state_is("nat", "Programmed")
    machine.ip("link del eth0")
    await engine.state_is("nat", "Failed")
    machine.ip(
        "link add eth0 type veth peer name eth0-peer",
        "link set eth0-peer up",
        "link set eth0 up",
        "address add 10.0.0.2/24 dev eth0",
    )

    await engine.routes_are({"192.0.2.1/32": "10.0.0.1 eth0"})


async def test_subnet_that_moves_to_another_interface(machine: Machine, engine: Engine) -> None:
    """Routes follow their gateway to the interface that its subnet is on now."""
    engine.put(route())
    engine.complete()
    await engine.state_is("nat", "Programmed")
    machine.ip("address add 10.0.0.9/24 dev eth1", "address del 10.0.0.2/24 dev eth0")

    await engine.routes_are({"192.0.2.1/32": "10.0.0.1 eth1"})


@pytest.mark.parametrize("mtu", [1400, 9000])
async def test_mtu_change_moves_no_route(machine: Machine, engine: Engine, mtu: int) -> None:
    """Routes stay as they are when the MTU of their interface changes."""
    expected = await _program_both(engine)
    machine.ip(f"link set eth0 mtu {mtu}")
    await engine.rest()

    assert machine.routes() == expected
    assert engine.count("operations_total", action="add") == 2
    assert engine.count("operations_total", action="replace") == 0


async def test_mtu_too_small_for_ipv6(machine: Machine, engine: Engine) -> None:
    """An MTU below 1280 takes IPv6 off the interface; when it is mended the route is back."""
    expected = await _program_both(engine)
    machine.ip("link set eth0 mtu 1200")
    await engine.state_is("v6", "Failed")
    await engine.routes_are({"192.0.2.1/32": "10.0.0.1 eth0"})

    machine.ip("link set eth0 mtu 1500", "address add fd00::2/64 dev eth0 nodad")
    await engine.state_is("v6", "Programmed")
    await engine.routes_are(expected)


async def test_carrier_loss_where_routes_without_carrier_are_ignored(machine: Machine, engine: Engine) -> None:
    """Routes of links without carrier are kept, if the kernel ignores such routes, for the return of the cable."""
    machine.switch("ipv4/conf/all/ignore_routes_with_linkdown", "1")
    machine.switch("ipv6/conf/all/ignore_routes_with_linkdown", "1")
    expected = await _program_both(engine)
    machine.ip("link set eth0-peer down")
    row = await engine.state_is("v4", "Failed")
    assert row.reason == Reason.GATEWAY_UNREACHABLE
    assert machine.routes() == expected

    machine.ip("link set eth0-peer up")
    await engine.state_is("v4", "Programmed")
    await engine.state_is("v6", "Programmed")
    assert machine.routes() == expected


async def test_one_of_two_interfaces_down(machine: Machine, engine: Engine) -> None:
    """If a gateway's interface goes down, the next StaticRoute takes over, until the interface is up again."""
    engine.put(route("first", "10.0.0.1", priority=1), route("second", "10.1.0.1", ["192.0.2.1", "192.0.2.9"]))
    engine.complete()
    expected = {"192.0.2.1/32": "10.0.0.1 eth0", "192.0.2.9/32": "10.1.0.1 eth1"}
    await engine.routes_are(expected)
    machine.ip("link set eth0 down")
    await engine.routes_are(dict.fromkeys(expected, "10.1.0.1 eth1"))

    machine.ip("link set eth0 up")
    await engine.routes_are(expected)
    await engine.state_is("first", "Programmed")


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


# Addresses and what the kernel makes of them.


async def test_address_removed_and_added(machine: Machine, engine: Engine) -> None:
    """Routes that the kernel drops with the last address of an interface are back when it has one again."""
    engine.put(route())
    engine.complete()
    await engine.state_is("nat", "Programmed")
    machine.ip("address del 10.0.0.2/24 dev eth0")

    row = await engine.state_is("nat", "Failed")
    assert "is not on any subnet of this node" in row.message
    assert machine.routes() == {}

    machine.ip("address add 10.0.0.2/24 dev eth0")
    await engine.state_is("nat", "Programmed")
    assert machine.routes() == {"192.0.2.1/32": "10.0.0.1 eth0"}


@pytest.fixture
def _promoting(machine: Machine) -> None:
    """The kernel makes a second address the first one when that is removed, as systemd sets it up."""
    machine.switch("ipv4/conf/eth0/promote_secondaries", "1")
    machine.ip("address add 10.0.0.7/24 dev eth0")


@pytest.mark.usefixtures("_promoting")
async def test_one_address_of_several_removed(machine: Machine, engine: Engine) -> None:
    """The routes stay if another address still makes the gateway's subnet reachable."""
    engine.put(route())
    engine.complete()
    await engine.state_is("nat", "Programmed")
    machine.ip("address del 10.0.0.2/24 dev eth0")
    await engine.rest()

    assert machine.routes() == {"192.0.2.1/32": "10.0.0.1 eth0"}


async def test_second_address_removed(machine: Machine, engine: Engine) -> None:
    """A further address of the interface comes and goes without any effect."""
    expected = await _program_both(engine)
    machine.ip("address add 10.0.0.7/24 dev eth0", "address add fd00::7/64 dev eth0 nodad")
    await engine.rest()
    machine.ip("address del 10.0.0.7/24 dev eth0", "address del fd00::7/64 dev eth0")
    await engine.rest()

    assert machine.routes() == expected
    assert engine.count("operations_total", action="add") == 2
    assert engine.count("operations_total", action="replace") == 0


async def test_duplicate_address(machine: Machine, engine: Engine) -> None:
    """The same address on a second interface moves no route, until it is the only one."""
    engine.put(route())
    engine.complete()
    await engine.routes_are({"192.0.2.1/32": "10.0.0.1 eth0"})
    machine.ip("address add 10.0.0.2/24 dev eth1")
    await engine.rest()
    assert machine.routes() == {"192.0.2.1/32": "10.0.0.1 eth0"}
    assert engine.count("operations_total", action="replace") == 0

    machine.ip("address del 10.0.0.2/24 dev eth0")
    await engine.routes_are({"192.0.2.1/32": "10.0.0.1 eth1"})
    machine.ip("address del 10.0.0.2/24 dev eth1", "address add 10.0.0.2/24 dev eth0")
    await engine.routes_are({"192.0.2.1/32": "10.0.0.1 eth0"})


async def test_ipv6_is_switched_off_and_on(machine: Machine, engine: Engine, neighbour: set[str]) -> None:
    """Without IPv6 the IPv4 routes are in place and the others reported as failed; they come with IPv6."""
    # The kernel takes everybody's IPv6 routes.
    neighbour -= {each for each in neighbour if "2001:db8" in each}
    expected = await _program_both(engine)
    machine.switch("ipv6/conf/all/disable_ipv6", "1")
    row = await engine.state_is("v6", "Failed")
    assert row.reason == Reason.GATEWAY_UNREACHABLE
    await engine.routes_are({"192.0.2.1/32": "10.0.0.1 eth0"})
    machine.ip("route del 192.0.2.1 proto 245")
    await engine.routes_are({"192.0.2.1/32": "10.0.0.1 eth0"})

    machine.switch("ipv6/conf/all/disable_ipv6", "0")
    machine.ip("address add fd00::2/64 dev eth0 nodad")
    await engine.state_is("v6", "Programmed")
    await engine.routes_are(expected)


@pytest.mark.parametrize(
    "setting",
    ["ipv4/conf/all/rp_filter", "ipv4/ip_forward", "ipv6/conf/all/forwarding", "ipv4/fib_multipath_use_neigh"],
)
async def test_settings_of_the_kernel_move_no_route(machine: Machine, engine: Engine, setting: str) -> None:
    """A setting that decides which packets the kernel takes or passes on changes nothing for our routes."""
    expected = await _program_both(engine)
    machine.switch(setting)
    await engine.rest()

    assert machine.routes() == expected
    machine.ip("route del 192.0.2.1 proto 245", "route del 2001:db8::1 proto 245")
    await engine.routes_are(expected)


# Other programs.


@pytest.mark.parametrize(
    "harm",
    ["route del 192.0.2.1", "route flush proto 245", "route replace 192.0.2.1 via 10.0.0.9 proto 245"],
)
async def test_drift_is_repaired(machine: Machine, engine: Engine, harm: str) -> None:
    """A route of ours that somebody deletes or changes is put right at once, and counted."""
    engine.put(route(destinations=["192.0.2.1", "192.0.2.2"]))
    engine.complete()
    await engine.state_is("nat", "Programmed")
    machine.ip(harm)

    await engine.until(lambda: engine.count("drift_total"), "drift is noticed")
    await engine.routes_are({"192.0.2.1/32": "10.0.0.1 eth0", "192.0.2.2/32": "10.0.0.1 eth0"})
    await engine.until(lambda: engine.count("drift_repairs_total"), "the repair is counted")
    assert engine.count("operations_duration_seconds_count") >= 2


async def test_drift_of_ipv6_is_repaired(machine: Machine, engine: Engine) -> None:
    """An IPv6 route of ours that is deleted is as wanted again."""
    engine.put(route("nat", "fd00::1", ["2001:db8::1"]))
    engine.complete()
    await engine.state_is("nat", "Programmed")
    machine.ip("route del 2001:db8::1")

    await engine.until(lambda: engine.count("drift_total"), "drift is noticed")
    await engine.routes_are({"2001:db8::1/128": "fd00::1 eth0"})


@pytest.mark.parametrize("how", ["append", "prepend"])
async def test_foreign_route_beside_ours_outlives_a_gateway_change(machine: Machine, engine: Engine, how: str) -> None:
    """A foreign IPv4 route put before or behind ours, with the same key, is not replaced when our gateway changes."""
    engine.put(route())
    engine.complete()
    await engine.state_is("nat", "Programmed")
    machine.ip(f"route {how} 192.0.2.1 via 10.0.0.9 proto static")
    await engine.rest()
    engine.put(route(gateway="10.0.0.3", generation=2))
    await engine.rest()
    assert machine.routes("static") == {"192.0.2.1/32": "10.0.0.9 eth0"}

    engine.remove("nat")
    await engine.routes_are({})
    assert machine.routes("static") == {"192.0.2.1/32": "10.0.0.9 eth0"}


async def test_gateway_that_a_foreign_route_hides(machine: Machine, engine: Engine) -> None:
    """A foreign route to the gateway itself makes it unreachable; when it goes all is well again."""
    engine.put(route())
    engine.complete()
    await engine.state_is("nat", "Programmed")
    machine.ip("route add 10.0.0.1 via 10.1.0.1 proto static")
    await engine.state_is("nat", "Failed")
    machine.ip("route del 10.0.0.1")

    await engine.state_is("nat", "Programmed")
    assert machine.routes() == {"192.0.2.1/32": "10.0.0.1 eth0"}


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


async def test_flush_of_an_interface(machine: Machine, engine: Engine) -> None:
    """`ip route flush dev`, as NetworkManager does it, takes the subnet too; when that is back all routes are."""
    expected = await _program_both(engine)
    machine.ip("route flush dev eth0")
    machine.ip("route flush dev eth0", ipv6=True)
    row = await engine.state_is("v4", "Failed")
    assert row.reason == Reason.GATEWAY_UNREACHABLE

    machine.ip(
        "route add 10.0.0.0/24 dev eth0 proto kernel scope link src 10.0.0.2",
        "route add fd00::/64 dev eth0 proto kernel",
    )
    await engine.state_is("v4", "Programmed")
    await engine.state_is("v6", "Programmed")
    assert machine.routes() == expected


async def test_program_that_removes_unknown_routes_on_link_events(machine: Machine, engine: Engine) -> None:
    """The routes are back after systemd-networkd has removed all unknown routes on a link change."""
    expected = await _program_both(engine)
    script = "ip monitor link | while read -r _; do ip route flush proto 245; ip -6 route flush proto 245; done"
    with _program(["sh", "-c", script]):
        wait_until(lambda: _listeners() > 1, "it listens")
        for mtu in (1400, 1450, 1500):
            before = engine.count("drift_total")
            machine.ip(f"link set eth1 mtu {mtu}")
            await engine.until(lambda: engine.count("drift_total") > before, "it has flushed")  # noqa: B023  used at once
            await engine.routes_are(expected)
    await engine.state_is("v4", "Programmed")


@contextlib.contextmanager
def _program(words: list[str]) -> Iterator[None]:
    """A program at work, with all that it starts."""
    process = subprocess.Popen(words, start_new_session=True, stdout=subprocess.DEVNULL)
    try:
        yield
    finally:
        subprocess.run(["kill", "-KILL", "--", f"-{process.pid}"], check=True)
        process.wait()


def _listeners() -> int:
    """Return the number of sockets of this network namespace that listen to link changes."""
    lines = Path("/proc/thread-self/net/netlink").read_text().splitlines()[1:]
    sockets = [line.split() for line in lines]
    return sum(words[1] == "0" and int(words[3], 16) & 1 for words in sockets)


NEXTHOP = pytest.mark.parametrize(
    ("destination", "gateway", "other"),
    [("192.0.2.1/32", "10.0.0.1", "10.0.0.3"), ("2001:db8::1/128", "fd00::1", "fd00::3")],
    ids=["IPv4", "IPv6"],
)


@NEXTHOP
@pytest.mark.parametrize("expanded", [True, False], ids=["expanded", "by id alone"])
async def test_route_by_nexthop_object_in_our_place(
    machine: Machine, engine: Engine, destination: str, gateway: str, other: str, *, expanded: bool
) -> None:
    """Another program's route through a nexthop object holds our place: reported, left alone, healed when it goes."""
    if not expanded:
        machine.switch("ipv4/nexthop_compat_mode", "0")
    engine.put(route("nat", gateway, [destination]))
    engine.complete()
    await engine.state_is("nat", "Programmed")
    machine.ip(f"nexthop add id 7 via {other} dev eth0", f"route replace {destination} nhid 7 proto static")
    row = await engine.state_is("nat", "Conflict")
    assert row.reason == Reason.FOREIGN_ROUTE
    await engine.rest()
    assert [each["protocol"] for each in _by_object(machine, 7)] == ["4"]
    assert machine.routes() == {}

    # With the object goes its route; for an IPv4 one there is no notification of that.
    machine.ip("nexthop del id 7")
    await engine.state_is("nat", "Programmed")
    assert machine.routes() == {destination: f"{gateway} eth0"}
    # As `ip` showed them before.
    machine.switch("ipv4/nexthop_compat_mode", "1")


@NEXTHOP
async def test_route_by_nexthop_object_beside_ours(
    machine: Machine, engine: Engine, destination: str, gateway: str, other: str
) -> None:
    """Another program's route through a nexthop object with another metric disturbs nothing, nor is it disturbed."""
    engine.put(route("nat", gateway, [destination]))
    engine.complete()
    await engine.state_is("nat", "Programmed")
    machine.ip(f"nexthop add id 7 via {other} dev eth0", f"route add {destination} nhid 7 proto static metric 3000")
    machine.ip(f"route del {destination} proto 245")
    await engine.routes_are({destination: f"{gateway} eth0"})
    assert (await engine.state_is("nat", "Programmed")).message == ""

    engine.remove("nat")
    await engine.routes_are({})
    assert [each["metric"] for each in _by_object(machine, 7)] == [3000]


def _by_object(machine: Machine, number: int) -> list[dict[str, Any]]:
    """The routes through a nexthop object."""
    shown = [each for family in ("-4", "-6") for each in machine.query("-d", family, "route", "show", "table", "main")]
    return [each for each in shown if each.get("nhid") == number]


async def test_rule_of_others_that_hides_the_gateway(machine: Machine, engine: Engine) -> None:
    """A policy rule that leads packets to the gateway elsewhere is reported; all recovers at once when it goes."""
    engine.put(route())
    engine.complete()
    await engine.state_is("nat", "Programmed")
    machine.ip("route add 10.0.0.1 via 10.1.0.1 table 200", "rule add to 10.0.0.1 lookup 200 pref 900")
    row = await engine.state_is("nat", "Failed")
    assert row.reason == Reason.GATEWAY_UNREACHABLE
    machine.ip("rule del pref 900")

    await engine.state_is("nat", "Programmed")
    assert machine.routes() == {"192.0.2.1/32": "10.0.0.1 eth0"}


_BIRD = """
router id 10.0.0.2;
protocol device { scan time 1; }
protocol kernel { learn; scan time 1; ipv4 { import all; export all; }; }
protocol static { ipv4; route 192.0.2.1/32 via 10.1.0.9; route 198.51.100.0/24 via 10.1.0.9; }
"""


async def test_bird_beside(machine: Machine, engine: Engine, tmp_path: Path) -> None:
    """BIRD, which learns our routes and has one to the same destination, neither loses its routes nor takes ours."""
    configuration = tmp_path / "bird.conf"
    configuration.write_text(_BIRD)
    words = ["bird", "-f", "-c", str(configuration), "-s", str(tmp_path / "bird.ctl"), "-P", str(tmp_path / "bird.pid")]
    expected = await _program_both(engine)
    theirs = {"192.0.2.1/32": "10.1.0.9 eth1 metric 32", "198.51.100.0/24": "10.1.0.9 eth1 metric 32"}

    def bird_has_its_routes() -> bool:
        return theirs.items() <= machine.routes("12").items()

    with _program(words):
        await engine.until(bird_has_its_routes, "BIRD has its routes")
        machine.ip("route del 192.0.2.1 proto 245", "route del 2001:db8::1 proto 245")
        await engine.routes_are(expected)
        # Two scans of BIRD's.
        await asyncio.sleep(2.5)
        assert bird_has_its_routes()
        assert machine.routes() == expected
        assert (await engine.state_is("v4", "Programmed")).message == ""
        engine.put(route("v4", "10.0.0.3", generation=2))
        await engine.routes_are({**expected, "192.0.2.1/32": "10.0.0.3 eth0"})
        assert bird_has_its_routes()


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
