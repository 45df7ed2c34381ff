"""Several gateways on three nodes with an API server: what each node does, and what the StaticRoute says of them."""

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from tests.cluster.agent import Agent, eventually, everywhere
from tests.cluster.conftest import NODES
from tests.cluster.controller import Controller
from tests.lab.cluster import Cluster
from tests.lab.network import EXAMPLE_SITES, GATEWAYS, SITES
from tests.lab.stream import ask

GATEWAY = "10.116.0.5"
# The addresses that the site sees: the first gateway's, and those of the nodes' own paths.
GATEWAY_ANSWER = "198.51.100.5"
OWN_ANSWERS = [f"198.51.100.{20 + number}" for number in range(1, NODES + 1)]
CHECK = {"interval": "100ms"}
# Statuses may be this late: the pauses between writes that nobody waits for, and some. Seconds.
LATE = 60.0

Put = Callable[..., None]


@pytest.fixture
def put(cluster: Cluster) -> Put:
    """Apply a StaticRoute with several gateways."""

    def put(name: str, destinations: Sequence[str], gateways: Sequence[str | dict[str, Any]], **spec: Any) -> None:
        several = [each if isinstance(each, dict) else {"address": each} for each in gateways]
        body = {
            "apiVersion": "networking.digitalocean.com/v1",
            "kind": "StaticRoute",
            "metadata": {"name": name},
            "spec": {"destinations": destinations, "gateways": several, **spec},
        }
        cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", input=json.dumps(body))

    return put


@pytest.fixture
def network(cluster: Cluster) -> Iterator[Cluster]:
    """The lab, whose gateways work again afterwards."""
    yield cluster
    for gateway in GATEWAYS:
        cluster.end_silence(gateway)


def status(cluster: Cluster, name: str) -> dict[str, Any]:
    """The status of a StaticRoute; empty when it has none yet."""
    found: dict[str, Any] = json.loads(cluster.kubectl("get", "sr", name, "-o", "json")).get("status", {})
    return found


def condition(cluster: Cluster, name: str, kind: str) -> tuple[str, str, str]:
    """Status, reason and message of a condition; empty while it is not there."""
    found = [each for each in status(cluster, name).get("conditions", ()) if each["type"] == kind]
    return (found[0]["status"], found[0]["reason"], found[0]["message"]) if found else ("", "", "")


def counts(cluster: Cluster, name: str) -> list[tuple[str, int, int]]:
    """The gateways in the status of a StaticRoute, with the numbers of nodes that they answer, and do not."""
    found = status(cluster, name).get("gateways", ())
    return [(each["address"], each["healthyNodes"], each["unhealthyNodes"]) for each in found]


def test_all_gateways_down(agents: list[Agent], network: Cluster, put: Put) -> None:
    """Each policy does to traffic what it says, while its only gateway is silent, and heals by itself."""
    sites = {"keep": SITES[0], "withdraw": SITES[1], "blackhole": EXAMPLE_SITES["ifconfig.me"]}
    for name, site in sites.items():
        put(name, [site], [GATEWAY], healthCheck=CHECK, whenAllGatewaysDown=name.capitalize())
    routed = dict.fromkeys(sites.values(), GATEWAY)
    everywhere(agents, routed)
    node1 = network.namespace("node1").enter
    assert {ask(node1, site) for site in sites.values()} == {GATEWAY_ANSWER}

    network.silence("gw1")
    dropped = {sites["keep"]: GATEWAY, sites["blackhole"]: ""}
    everywhere(agents, dropped)
    for agent in agents:
        (blackhole,) = json.loads(agent.ip("-j", "route", "show", "type", "blackhole", "proto", "245"))
        assert blackhole["dst"] == sites["blackhole"]
    assert {name: ask(node1, site) for name, site in sites.items()} == {
        "keep": "TimeoutError",
        "withdraw": OWN_ANSWERS[0],
        "blackhole": "OSError",
    }
    for name, words in {"keep": "stays as it was", "withdraw": "withdrawn", "blackhole": "dropped"}.items():
        row = agents[0].row(name)
        assert (row["state"], row["reason"]) == ("Failed", "AllGatewaysDown")
        assert f"gateway {GATEWAY} is down" in row["message"]
        assert words in row["message"], row

    network.end_silence("gw1")
    everywhere(agents, routed)
    states = dict.fromkeys(sites, "Programmed")
    eventually("all have healed", lambda: {name: agents[0].row(name)["state"] for name in sites} == states)
    assert {ask(node1, site) for site in sites.values()} == {GATEWAY_ANSWER}


@pytest.mark.parametrize("ipv6", [False, True], ids=["IPv4", "IPv6"])
def test_gateways_of_different_subnets(
    agents: list[Agent], controller: Controller, network: Cluster, put: Put, ipv6: bool
) -> None:
    """Each node uses the gateway on its own subnet and is content; the status has no error and counts who asks whom."""
    form, destination = ("fd00:{0}::{1}", "2001:db8:113::/64") if ipv6 else ("10.{0}.0.{1}", "192.0.2.0/24")
    length = 64 if ipv6 else 24
    # node1 is on the subnet of the first gateway, the others on that of the second.
    subnets = [98, 99, 99]
    addresses = [
        *((f"gw{number}", form.format(subnet, 1)) for number, subnet in ((1, 98), (2, 99))),
        *((f"node{number}", form.format(subnet, 20 + number)) for number, subnet in enumerate(subnets, 1)),
    ]
    nodad = " nodad" if ipv6 else ""
    for machine, address in addresses:
        network.namespace(machine).configure([f"addr add {address}/{length} dev eth1{nodad}"])
    try:
        gateways = [form.format(98, 1), form.format(99, 1)]
        put("zones", [destination], gateways, healthCheck=CHECK)
        for agent, subnet in zip(agents, subnets, strict=True):
            everywhere([agent], {destination: form.format(subnet, 1)})
        network.kubectl("wait", "--for=condition=GatewaysHealthy", "sr/zones", f"--timeout={LATE:.0f}s")
        network.kubectl("wait", "--for=condition=Ready", "sr/zones", f"--timeout={LATE:.0f}s")
        found = status(network, "zones")
        assert (found["summary"], found["failingNodes"]) == ("3/3", [])
        assert condition(network, "zones", "Ready")[1] == "AllNodesReady"
        expected = [(gateways[0], 1, 0), (gateways[1], 2, 0)]
        eventually("all have told", lambda: counts(network, "zones") == expected, LATE)
        assert {agent.row("zones")["message"] for agent in agents} == {""}
    finally:
        for machine, address in addresses:
            network.namespace(machine).configure([f"addr del {address}/{length} dev eth1"])
