"""Default routes: the traffic that follows them, the bypass routes, and removal without a trace."""

import json
import subprocess

import pytest

from static_route_operator.cli.host.differences import rule_differences
from static_route_operator.kernel.fib import Fib
from static_route_operator.kernel.ruleset import RuleSet
from static_route_operator.planning.desired import parse_desired
from tests.kernel.engine import Engine
from tests.kernel.machine import Machine
from tests.unit.builders import protection, route

API, NAMESERVER, PODS = "203.0.113.6", "192.0.2.53", "10.244.0.0/16"


def dump() -> str:
    """All routes and rules of this machine, as `ip` shows them."""
    commands = [
        [*family, *what]
        for family in (["-4"], ["-6"])
        for what in (["route", "show", "table", "all"], ["rule", "show"])
    ]
    shown = [subprocess.run(["ip", "-d", *each], capture_output=True, text=True, check=True) for each in commands]
    # The time left to an expiring route is no difference.
    return "\n".join(each.stdout for each in shown)


def way(machine: Machine, address: str, *options: str) -> str:
    """Return the kernel's path of a packet of this machine: gateway, interface and source."""
    (found,) = machine.query("route", "get", address, *options)
    return " ".join(found[key] for key in ("gateway", "dev", "prefsrc") if key in found)


@pytest.fixture
def node(machine: Machine, engine: Engine) -> Engine:
    """A node whose default routes lead through eth1, with something protected behind them; gateways are on eth0."""
    machine.ip("route add default via 10.1.0.1 proto dhcp metric 100", "route add 10.244.1.0/24 via 10.1.0.7")
    machine.ip("route add default via fd00:1::1 metric 512", ipv6=True)
    engine.protected = lambda: protection(
        {API: "API server", NAMESERVER: "DNS server", PODS: "pods", "2001:db8::6": "API server", "10.1.0.9": "a node"}
    )
    return engine


async def test_bypass_routes_follow(machine: Machine, node: Engine) -> None:
    """Bypass routes follow the old default route and the addresses of the API server."""
    await node.settle(route(destinations=["0.0.0.0/0"], allowDefaultRoute=True))

    machine.ip(
        "route replace default via 10.1.0.2 dev lo proto dhcp metric 100 onlink".replace(
            "10.1.0.2 dev lo", "10.1.0.77 dev eth1"
        )
    )
    await node.until(lambda: way(machine, API) == "10.1.0.77 eth1 10.1.0.2", "the bypass route has moved")
    assert way(machine, "198.51.100.1") == "10.0.0.1 eth0 10.0.0.2"

    node.protected = lambda: protection({"203.0.113.7": "API server"})
    node.reconciler.wake()
    await node.until(
        lambda: way(machine, "203.0.113.7") == "10.1.0.77 eth1 10.1.0.2", "the new address has a bypass route"
    )
    assert way(machine, API) == "10.0.0.1 eth0 10.0.0.2"

    machine.ip("route del default via 10.1.0.77", "route add default dev eth1 scope link metric 9")
    await node.until(lambda: way(machine, "203.0.113.7") == "eth1 10.1.0.2", "the bypass route leads to a neighbour")


async def test_bypass_routes_follow_at_once(machine: Machine, node: Engine) -> None:
    """The kernel itself chooses among main's default routes, also while no agent runs."""
    await node.settle(route(destinations=["0.0.0.0/0"], allowDefaultRoute=True))
    await node.stop()

    machine.ip("route add default via 10.1.0.88 metric 50")
    assert way(machine, API) == "10.1.0.88 eth1 10.1.0.2"
    machine.ip("route del default via 10.1.0.88", "route replace default via inet6 fd00:1::1 dev eth1 metric 100")
    assert way(machine, API).endswith("eth1 10.1.0.2")
    assert way(machine, "198.51.100.1") == "10.0.0.1 eth0 10.0.0.2"


@pytest.mark.parametrize("protected", [True, False], ids=["protected addresses", "none"])
async def test_default_route_behind_one_that_drops_packets_is_reported(
    machine: Machine, node: Engine, protected: bool
) -> None:
    """The kernel does not pass over main's default route if that drops packets: nothing is programmed."""
    if not protected:
        node.protected = lambda: protection({})
    machine.ip("route del default", "route add unreachable default")
    before = dump()
    node.put(route(destinations=["0.0.0.0/0"], allowDefaultRoute=True))
    node.complete()

    row = await node.state_is("nat", "Conflict")
    assert "another program's unreachable default route in table main drops packets" in row.message
    assert row.programmed == 0
    assert dump() == before

    machine.ip("route del unreachable default")
    await node.state_is("nat", "Programmed")


async def test_uninstalling_leaves_nothing(machine: Machine, node: Engine) -> None:
    """Removing the operator restores routes and rules as they were before it came."""
    before = dump()
    await node.settle(route(destinations=["0.0.0.0/0"], allowDefaultRoute=True))
    assert dump() != before
    await node.reconciler.remove_all()

    assert dump() == before


async def test_diff_shows_a_missing_and_a_surplus_rule(machine: Machine, node: Engine) -> None:
    """A rule that is gone is missing, with the object that needs it; one of ours that no object needs is surplus."""
    await node.settle(route(destinations=["0.0.0.0/0"], allowDefaultRoute=True))
    desired = parse_desired(json.loads(json.dumps(node.questions.desired())))
    await node.stop()
    fib = Fib()
    try:
        assert rule_differences(desired, await RuleSet(fib).read()) == []
        machine.ip("rule del pref 32701", "rule add pref 9 from 10.9.0.0/16 iif eth1 lookup 7 proto 245")
        machine.ip("rule add pref 32701 lookup main suppress_prefixlength 0 proto static")
        found = rule_differences(desired, await RuleSet(fib).read())
    finally:
        fib.close()

    assert [(each["kind"], each["rule"], each["objects"]) for each in found] == [
        ("Missing", "32701: from all lookup main suppress_prefixlength 0", ["nat"]),
        ("Surplus", "9: from 10.9.0.0/16 iif eth1 lookup 7", []),
    ]


async def test_rule_of_ours_that_no_object_needs_goes(machine: Machine, node: Engine) -> None:
    """Whatever fields a rule with our protocol has, it is deleted; equal rules of other programs stay."""
    await node.settle(route(destinations=["0.0.0.0/0"], allowDefaultRoute=True))
    there = dump()
    fields = "from 10.9.0.0/16 to 192.0.2.0/24 iif eth1 fwmark 1/0xff ipproto tcp dport 80-81 uidrange 1-2"
    machine.ip(f"rule add pref 9 {fields} lookup 7 proto 245", "rule add pref 10 goto 32702 proto 245")
    machine.ip("rule add not from 10.9.0.0/16 pref 11 blackhole proto 245")
    await node.until(lambda: dump() == there, "they are gone")

    machine.ip(f"rule add pref 9 {fields} lookup 7 proto static")
    others = dump()
    machine.ip(f"rule add pref 9 {fields} lookup 7 proto 245")
    await node.until(lambda: dump() == others, "ours is gone, and the other stays")
