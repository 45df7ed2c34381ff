"""Addresses of the cluster that no route may capture, published by the controller to all agents."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from static_route_operator.api.clusteraddresses import NAME
from tests.cluster.agent import NAMESPACE, Agent, eventually, everywhere
from tests.cluster.conftest import API, Manifest
from tests.cluster.controller import USER, Controller
from tests.lab.audit import AuditLog
from tests.lab.cluster import Cluster

GATEWAY, SITE = "10.116.0.5", "203.0.113.145"
# An address of the subnet of the nodes' default route.
PUBLIC = "198.51.100.1"


@pytest.fixture
def controller(controller: Controller, cluster: Cluster) -> Iterator[Controller]:
    """The controller; afterwards the nodes are those that there were."""
    yield controller
    cluster.kubectl("delete", "node", "node9", "--ignore-not-found", check=False)
    cluster.kubectl("delete", "endpointslice", "kubernetes", "-n", "default", "--ignore-not-found", check=False)


def _add_node(cluster: Cluster, address: str, pods: str) -> None:
    node = {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": "node9"},
        "spec": {"podCIDRs": [pods], "podCIDR": pods},
    }
    cluster.kubectl("create", "-f", "-", input=json.dumps(node))
    status = {"status": {"addresses": [{"type": "InternalIP", "address": address}]}}
    cluster.kubectl("patch", "node", "node9", "--subresource=status", "-p", json.dumps(status))


def _told(cluster: Cluster, key: str) -> list[str]:
    data: dict[str, str] = json.loads(cluster.kubectl("get", "cm", NAME, "-n", NAMESPACE, "-o", "json")).get("data", {})
    return data.get(key, "").split()


def test_a_new_node_is_protected_everywhere(
    agents: list[Agent], controller: Controller, apply: Manifest, cluster: Cluster, audit: AuditLog
) -> None:
    """A destination that captures a joining node is refused on all nodes with its name, until that node goes.

    At rest nothing is written.
    """
    apply("broad", ["192.0.2.0/24", "198.18.0.0/16", SITE], GATEWAY)
    everywhere(agents, dict.fromkeys(["192.0.2.0/24", "198.18.0.0/16", SITE], GATEWAY))

    _add_node(cluster, "192.0.2.9", "198.18.9.0/24")

    everywhere(agents, {SITE: GATEWAY}, seconds=60)
    row = agents[0].row("broad")
    assert (row["state"], row["reason"]) == ("Refused", "ProtectedDestination")
    assert row["message"].startswith(
        "192.0.2.0/24 would capture 192.0.2.9 (InternalIP of a node);"
        " 198.18.0.0/16 would capture 198.18.9.0/24 (pods of the cluster);"
    )
    words = "would capture 192.0.2.9 (InternalIP of a node)"
    eventually("described", lambda: words in cluster.kubectl("describe", "sr", "broad"), 60)
    before = len([each for each in audit.writes(USER) if each["objectRef"]["resource"] == "configmaps"])

    cluster.kubectl("delete", "node", "node9")
    everywhere(agents, dict.fromkeys(["192.0.2.0/24", "198.18.0.0/16", SITE], GATEWAY), seconds=60)
    after = len([each for each in audit.writes(USER) if each["objectRef"]["resource"] == "configmaps"])
    assert after == before + 1


def test_services_and_endpoints_of_the_api_server_are_protected(
    agents: list[Agent], controller: Controller, apply: Manifest, cluster: Cluster
) -> None:
    """The CIDR of Services, parts of it and the endpoint of the API server are refused; so is one that it moves to."""
    _move_endpoint(cluster, "192.0.2.101")
    eventually("the controller tells", lambda: _told(cluster, "apiServers") == ["192.0.2.101"], 60)
    (services,) = _told(cluster, "services")
    virtual = cluster.kubectl("get", "svc", "kubernetes", "-o", "jsonpath={.spec.clusterIP}")

    apply("capture", [services, "192.0.2.101", "192.0.2.102"], GATEWAY)
    apply("virtual", [virtual], GATEWAY)
    everywhere(agents, {"192.0.2.102": GATEWAY})
    for agent in agents:
        eventually("refused", lambda agent=agent: agent.row("capture").get("state") == "Refused")  # type: ignore[misc]
        message = agent.row("capture")["message"]
        assert f"{services} would capture {services} (Services of the cluster)" in message
        assert "192.0.2.101/32 would capture 192.0.2.101 (API server)" in message
        assert f"{virtual}/32 is in {services} (Services of the cluster)" in agent.row("virtual")["message"]

    _move_endpoint(cluster, "192.0.2.102")
    everywhere(agents, {"192.0.2.101": GATEWAY}, seconds=60)


def _move_endpoint(cluster: Cluster, address: str) -> None:
    body = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "kubernetes", "namespace": "default"},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [address]}],
        "ports": [{"name": "https", "port": 443}],
    }
    cluster.kubectl("apply", "--server-side", "-f", "-", input=json.dumps(body))


def test_agents_know_what_is_protected_when_they_start(
    cluster: Cluster, controller: Controller, apply: Manifest, tmp_path: Path
) -> None:
    """An agent that starts, with the controller gone, never programs what captures a node: not even for a moment."""
    _add_node(cluster, "192.0.2.9", "198.18.9.0/24")
    eventually("the controller tells", lambda: "192.0.2.9" in _told(cluster, "nodes"), 60)
    controller.kill()
    apply("capture", ["192.0.2.9", SITE], GATEWAY)
    agent = Agent(cluster, 1, API, tmp_path / "agent1.log")
    argv = ["timeout", "60", "ip", "monitor", "route"]
    monitor = cluster.popen_in("node1", argv, stdout=subprocess.PIPE)
    try:
        agent.start_and_sync()
        everywhere([agent], {SITE: GATEWAY})
    finally:
        agent.kill()
        agent.ip("route", "flush", "proto", "245")
        cluster.kubectl("delete", "staticroutes", "--all")
        monitor.terminate()
    seen, _ = monitor.communicate()
    assert SITE in seen
    assert "192.0.2.9" not in seen


def test_pins_follow_the_api_server(
    agents: list[Agent], controller: Controller, apply: Manifest, cluster: Cluster
) -> None:
    """With a default route the API server keeps the way that it has, also when its address changes."""
    _move_endpoint(cluster, "192.0.2.101")
    eventually("the controller tells", lambda: _told(cluster, "apiServers") == ["192.0.2.101"], 60)
    before = [agent.ip("rule", "show") for agent in agents]
    apply("all", ["0.0.0.0/0"], GATEWAY, allowDefaultRoute=True)

    def leads(agent: Agent, server: str, other: str) -> bool:
        """Report whether the default route is there, with a bypass route for one API server beside this host's DNS."""
        routes = agent.routes()
        # A bypass route has no gateway: the kernel goes on to main.
        desired = {"default": GATEWAY, "169.254.169.254": "", server: ""}
        return desired.items() <= routes.items() and other not in routes

    for agent in agents:
        eventually("the first is pinned", lambda agent=agent: leads(agent, "192.0.2.101", "192.0.2.102"))  # type: ignore[misc]
    _move_endpoint(cluster, "192.0.2.102")
    for agent in agents:
        eventually("the second is", lambda agent=agent: leads(agent, "192.0.2.102", "192.0.2.101"), 60)  # type: ignore[misc]
        eventually("rules lead there", lambda agent=agent: f"via {GATEWAY}" in agent.ip("route", "get", SITE))  # type: ignore[misc]
        assert f"via {PUBLIC}" in agent.ip("route", "get", "192.0.2.102")

    cluster.kubectl("delete", "staticroute", "all")
    everywhere(agents, {})
    assert [agent.ip("rule", "show") for agent in agents] == before
