"""Addresses of the cluster that no route may capture, published by the controller to all agents."""

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from static_route_operator.api.clusteraddresses import NAME
from static_route_operator.controller.addresspublisher import INTERVAL
from static_route_operator.node.protected import LINGER
from tests.cluster.agent import NAMESPACE, Agent, eventually, everywhere
from tests.cluster.conftest import API, Manifest, clean
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


def _add_node(cluster: Cluster, address: str, pods: str, *, external: str = "") -> None:
    node = {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": "node9"},
        "spec": {"podCIDRs": [pods], "podCIDR": pods},
    }
    cluster.kubectl("create", "-f", "-", input=json.dumps(node))
    addresses = [{"type": "InternalIP", "address": address}]
    addresses += [{"type": "ExternalIP", "address": external}] if external else []
    status = {"status": {"addresses": addresses}}
    cluster.kubectl("patch", "node", "node9", "--subresource=status", "-p", json.dumps(status))


def _told(cluster: Cluster, key: str) -> list[str]:
    """Return what the controller has published, by key; nothing while the ConfigMap does not exist."""
    found = cluster.kubectl("get", "cm", NAME, "-n", NAMESPACE, "--ignore-not-found", "-o", "json") or "{}"
    text: str = (json.loads(found).get("data") or {}).get(key, "")
    return text.split()


def _states(agents: list[Agent], name: str) -> set[tuple[str, str]]:
    """Return state and reason of a StaticRoute on all nodes."""
    return {(row.get("state", ""), row.get("reason", "")) for row in (agent.row(name) for agent in agents)}


def _stay(agents: list[Agent], routes: dict[str, str], seconds: float) -> None:
    """Verify that the routes stay for some time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        everywhere(agents, routes, seconds=0)
        time.sleep(0.2)


def test_a_new_node_is_protected_everywhere(
    agents: list[Agent], controller: Controller, apply: Manifest, cluster: Cluster, audit: AuditLog
) -> None:
    """A destination that captures a joining node is refused on all nodes with its name, until that node goes.

    Routes in force stay. At rest nothing is written.
    """
    force = dict.fromkeys(["192.0.2.0/24", "198.18.0.0/16", SITE], GATEWAY)
    apply("broad", list(force), GATEWAY)
    everywhere(agents, force)

    _add_node(cluster, "192.0.2.9", "198.18.9.0/24", external="198.19.0.9")

    kept = {("Programmed", "NewlyProtected")}
    eventually("the claim is told", lambda: _states(agents, "broad") == kept, 60)
    words = (
        "192.0.2.0/24 would capture 192.0.2.9 (InternalIP of a node);"
        " 198.18.0.0/16 would capture 198.18.9.0/24 (pods of the cluster);"
    )
    # The node and its address may be published one after the other.
    eventually("both are told", lambda: all(agent.row("broad")["message"].startswith(words) for agent in agents), 30)
    assert "static_route_operator_newly_protected_routes 2.0" in agents[0].get("/metrics")
    everywhere(agents, force, seconds=0)

    apply("late", ["192.0.2.8/29", "198.18.9.128/25", "198.19.0.9"], GATEWAY)
    eventually("refused", lambda: _states(agents, "late") == {("Refused", "ProtectedDestination")}, 60)
    words = "would capture 192.0.2.9 (InternalIP of a node)"
    eventually("described", lambda: words in cluster.kubectl("describe", "sr", "late"), 60)
    assert "198.19.0.9/32 would capture 198.19.0.9 (ExternalIP of a node)" in agents[0].row("late")["message"]
    everywhere(agents, force, seconds=0)
    before = len([each for each in audit.writes(USER) if each["objectRef"]["resource"] == "configmaps"])

    cluster.kubectl("delete", "node", "node9")
    late = dict.fromkeys(["192.0.2.8/29", "198.18.9.128/25", "198.19.0.9"], GATEWAY)
    everywhere(agents, force | late, seconds=60 + 2 * LINGER)
    after = len([each for each in audit.writes(USER) if each["objectRef"]["resource"] == "configmaps"])
    assert after == before + 1


def test_a_claim_counts_after_the_grace_time(
    controller: Controller, apply: Manifest, cluster: Cluster, tmp_path: Path
) -> None:
    """A claim that nobody corrects ends routes that were in force; an agent that restarts before keeps them."""
    agent = Agent(cluster, 1, API, tmp_path / "agent1.log")
    agent.start_and_sync()
    try:
        apply("broad", ["192.0.2.0/24", SITE], GATEWAY)
        everywhere([agent], {"192.0.2.0/24": GATEWAY, SITE: GATEWAY})
        _add_node(cluster, "192.0.2.9", "198.18.9.0/24")
        eventually("the claim is told", lambda: agent.row("broad").get("reason") == "NewlyProtected", 60)
        agent.kill()
        agent.start_and_sync("--daemonset=", "--claim-grace-seconds=15")
        _stay([agent], {"192.0.2.0/24": GATEWAY, SITE: GATEWAY}, 5)
        assert agent.row("broad")["reason"] == "NewlyProtected"

        everywhere([agent], {SITE: GATEWAY}, seconds=60)
        assert agent.row("broad")["reason"] == "ProtectedDestination"
    finally:
        clean(cluster, [agent])


LIES = {
    "everything": [{"type": "InternalIP", "address": "0.0.0.0/0"}, {"type": "ExternalIP", "address": "::/0"}],
    "half of everything": [
        {"type": "InternalIP", "address": "0.0.0.0/1"},
        {"type": "InternalIP", "address": "128.0.0.0/1"},
    ],
    "a site in use": [{"type": "InternalIP", "address": SITE}, {"type": "ExternalIP", "address": "203.0.113.59"}],
    "the gateway": [{"type": "InternalIP", "address": GATEWAY}],
    "thousands of addresses": [
        {"type": "InternalIP", "address": f"203.0.{n >> 8}.{n & 255}"} for n in range(113 << 8, 114 << 8)
    ],
    "no addresses": [{"type": "InternalIP", "address": "x" * 100_000}, {"type": "ExternalIP", "address": "\u001b[31m"}],
}


@pytest.mark.parametrize("lie", LIES)
def test_one_node_can_not_decide_for_all(
    agents: list[Agent], controller: Controller, apply: Manifest, cluster: Cluster, lie: str
) -> None:
    """Whatever a kubelet writes into its Node, no route goes on any node, and a wrong claim is told on that Node."""
    force = dict.fromkeys([SITE, "203.0.113.59", "192.0.2.128/25", "100.65.0.0/16"], GATEWAY)
    apply("nat", list(force), GATEWAY)
    everywhere(agents, force)

    _claim(cluster, LIES[lie])
    try:
        _stay(agents, force, 5)
        if lie in {"everything", "half of everything", "thousands of addresses", "no addresses"}:
            eventually("told", lambda: "WrongAddresses" in cluster.kubectl("describe", "node", "node3"), 30)
        told = _told(cluster, "nodes") + _told(cluster, "externalIPs")
        assert len(told) <= 16
        assert not any("/" in each for each in told)
        assert all(len(each) < 50 for each in told)
    finally:
        _claim(cluster, [])


def _claim(cluster: Cluster, addresses: list[dict[str, str]]) -> None:
    """Write the addresses of node3, as its kubelet would."""
    node = json.loads(cluster.kubectl("get", "node", "node3", "-o", "json"))
    # Heartbeats change the version.
    del node["metadata"]["resourceVersion"]
    node["status"]["addresses"] = addresses
    cluster.kubectl("replace", "--subresource=status", "-f", "-", input=json.dumps(node))


@pytest.mark.parametrize("pods", ["0.0.0.0/0", "200.0.0.0/5", "203.0.0.0/16"])
def test_pod_ranges_are_bounded(
    agents: list[Agent], controller: Controller, apply: Manifest, cluster: Cluster, pods: str
) -> None:
    """A Node with a broad pod range neither takes a route away nor prevents new ones, and is warned."""
    apply("nat", [SITE], GATEWAY)
    everywhere(agents, {SITE: GATEWAY})
    _add_node(cluster, "192.0.2.9", pods)
    eventually("the node is known", lambda: "192.0.2.9" in _told(cluster, "nodes"), 60)
    eventually("told", lambda: "WrongAddresses" in cluster.kubectl("describe", "node", "node9"), 30)

    apply("later", ["203.0.113.59"], GATEWAY)
    everywhere(agents, {SITE: GATEWAY, "203.0.113.59": GATEWAY})
    assert pods not in _told(cluster, "pods")


def test_other_claims_take_no_route_away(
    agents: list[Agent], controller: Controller, apply: Manifest, cluster: Cluster
) -> None:
    """A range of Services, an endpoint of the API server and the ConfigMap itself take no route away either."""
    force = dict.fromkeys([SITE, "203.0.113.59", "203.0.113.60"], GATEWAY)
    apply("nat", list(force), GATEWAY)
    everywhere(agents, force)
    services = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "ServiceCIDR",
        "metadata": {"name": "red"},
        "spec": {"cidrs": ["203.0.113.128/25"]},
    }
    cluster.kubectl("create", "-f", "-", input=json.dumps(services))
    _move_endpoint(cluster, "203.0.113.59")
    try:
        eventually("the range is published", lambda: "203.0.113.128/25" in _told(cluster, "services"), 60)
        eventually("the endpoint is published", lambda: "203.0.113.59" in _told(cluster, "apiServers"), 60)
        controller.kill()
        lines = f"203.0.113.60\n0.0.0.0/0\n203.0.113.0/24\n{SITE}"
        data = {"data": {"nodes": lines, "pods": lines, "services": lines}}
        cluster.kubectl("patch", "cm", NAME, "-n", NAMESPACE, "-p", json.dumps(data))
        _stay(agents, force, 5)
        eventually("told", lambda: {reason for _, reason in _states(agents, "nat")} == {"NewlyProtected"})
    finally:
        cluster.kubectl("delete", "servicecidr", "red", "--wait=false")
        cluster.kubectl(
            "patch", "servicecidr", "red", "--type=merge", "-p", '{"metadata": {"finalizers": null}}', check=False
        )
        cluster.kubectl("delete", "cm", NAME, "-n", NAMESPACE)


EMPTY = json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": NAME, "namespace": NAMESPACE}})
WIPES: dict[str, tuple[tuple[str, ...], str]] = {
    "replaced by an empty one": (("replace", "-f", "-"), EMPTY),
    "deleted": (("delete", "cm", NAME, "-n", NAMESPACE), ""),
    "truncated": (("patch", "cm", NAME, "-n", NAMESPACE, "-p", '{"data": {"nodes": "10.0.0.99"}}'), ""),
    "too large": (
        ("replace", "-f", "-"),
        json.dumps(json.loads(EMPTY) | {"data": {"nodes": "10.0.0.99\n" * 80_000, "other": "x" * 200_000}}),
    ),
}


@pytest.mark.parametrize("wipe", WIPES)
def test_wiped_list_unprotects_nothing_and_is_mended(
    agents: list[Agent], controller: Controller, apply: Manifest, cluster: Cluster, wipe: str
) -> None:
    """A list that a tool empties or deletes unprotects nothing on any node, and is whole again in the next round."""
    _add_node(cluster, "192.0.2.9", "198.18.9.0/24")
    eventually("the controller tells", lambda: "192.0.2.9" in _told(cluster, "nodes"), 60)
    apply("capture", ["192.0.2.9", "198.18.9.7", SITE], GATEWAY)
    eventually("refused", lambda: _states(agents, "capture") == {("Refused", "ProtectedDestination")}, 60)

    arguments, stdin = WIPES[wipe]
    cluster.kubectl(*arguments, input=stdin)
    wiped = time.monotonic()
    apply("while", ["192.0.2.9/32", "198.18.9.0/24"], GATEWAY)
    while time.monotonic() < wiped + INTERVAL + 5:
        everywhere(agents, {SITE: GATEWAY}, seconds=0)
        time.sleep(0.2)
    assert "192.0.2.9" in _told(cluster, "nodes")
    assert "198.18.9.0/24" in _told(cluster, "pods")


def test_list_in_another_namespace_does_not_count(
    agents: list[Agent], controller: Controller, apply: Manifest, cluster: Cluster
) -> None:
    """ConfigMaps of the same name in other namespaces, large and many, concern no agent."""
    apply("nat", [SITE], GATEWAY)
    everywhere(agents, {SITE: GATEWAY})
    body = json.loads(EMPTY)
    body["data"] = {"nodes": "203.0.113.59\n" + "x" * 900_000}
    names = [f"tenant{number}" for number in range(3)]
    before = [agent.memory() for agent in agents]
    try:
        for name in names:
            cluster.kubectl("create", "namespace", name)
            body["metadata"]["namespace"] = name
            cluster.kubectl("create", "-f", "-", input=json.dumps(body))
        apply("later", ["203.0.113.59"], GATEWAY)
        everywhere(agents, {SITE: GATEWAY, "203.0.113.59": GATEWAY})
        assert all(agent.memory() < known + 2 for agent, known in zip(agents, before, strict=True))
    finally:
        for name in names:
            cluster.kubectl("delete", "namespace", name, "--wait=false")


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
    words = "192.0.2.102/32 would capture 192.0.2.102 (API server)"
    for agent in agents:
        eventually("told", lambda agent=agent: words in agent.row("capture")["message"], 60)  # type: ignore[misc]
    everywhere(agents, {"192.0.2.102": GATEWAY}, seconds=0)
    apply("late", ["192.0.2.102/32"], "10.116.0.6", metric=7)
    eventually("refused", lambda: _states(agents, "late") == {("Refused", "ProtectedDestination")})


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
        clean(cluster, [agent])
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
        """Report whether the default route is there, with bypass routes for one API server and link-local addresses."""
        routes = agent.routes()
        # A bypass route has no gateway: the kernel goes on to main.
        desired = {"default": GATEWAY, "169.254.0.0/16": "", server: ""}
        return desired.items() <= routes.items() and other not in routes

    for agent in agents:
        eventually("the first is pinned", lambda agent=agent: leads(agent, "192.0.2.101", "192.0.2.102"))  # type: ignore[misc]
    _move_endpoint(cluster, "192.0.2.102")
    for agent in agents:
        eventually("the second is", lambda agent=agent: leads(agent, "192.0.2.102", "-"), 60)  # type: ignore[misc]
        eventually("rules lead there", lambda agent=agent: f"via {GATEWAY}" in agent.ip("route", "get", SITE))  # type: ignore[misc]
        assert f"via {PUBLIC}" in agent.ip("route", "get", "192.0.2.102")

    cluster.kubectl("delete", "staticroute", "all")
    everywhere(agents, {})
    assert [agent.ip("rule", "show") for agent in agents] == before
