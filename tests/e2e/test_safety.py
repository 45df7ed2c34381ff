"""Nobody is cut off: what would capture the cluster is refused, and a default route leaves it where it is."""

import difflib
import json
import sys
import time
from collections.abc import Iterator

import pytest

from static_route_operator.api.clusteraddresses import NAME as ADDRESSES
from tests.e2e.conftest import NODES, ROOT, everywhere, own_routes
from tests.lab import web
from tests.lab.cluster import Cluster
from tests.lab.commands import wait_until
from tests.lab.errors import LabError
from tests.lab.network import SERVICE_NETWORK
from tests.lab.release import NAMESPACE

GATEWAY, OTHER = "10.116.0.5", "10.116.0.12"
SITE, CALLER = "203.0.113.59", "203.0.113.145"
API = "10.116.0.1"


def staticroute(name: str, *destinations: str, gateway: str = GATEWAY, **spec: object) -> str:
    """A StaticRoute as JSON."""
    return json.dumps(
        {
            "apiVersion": "networking.digitalocean.com/v1",
            "kind": "StaticRoute",
            "metadata": {"name": name},
            "spec": {"destinations": list(destinations), "gateway": gateway, **spec},
        }
    )


def readiness(cluster: Cluster) -> dict[str, tuple[str, str]]:
    """Return the Ready condition of each node, and the time of its last change."""
    nodes = json.loads(cluster.kubectl("get", "nodes", "-o", "json"))["items"]
    return {
        node["metadata"]["name"]: (condition["status"], condition["lastTransitionTime"])
        for node in nodes
        for condition in node["status"]["conditions"]
        if condition["type"] == "Ready"
    }


def tables(cluster: Cluster, node: str) -> str:
    """All routes and rules of a node, as `ip` shows them."""
    commands = [
        ["ip", "-d", family, *what]
        for family in ("-4", "-6")
        for what in (["route", "show", "table", "all"], ["rule", "show"])
    ]
    return "\n".join(cluster.run_in(node, command).stdout for command in commands)


def settled(cluster: Cluster, node: str) -> str:
    """The same, once they have stayed so: a new pod's IPv6 addresses appear seconds after the pod is ready."""
    deadline = time.monotonic() + 60
    shown, since = tables(cluster, node), time.monotonic()
    while time.monotonic() - since < 5 and time.monotonic() < deadline:
        time.sleep(0.5)
        if (now := tables(cluster, node)) != shown:
            shown, since = now, time.monotonic()
    return shown


@pytest.fixture
def pods(operator: Cluster) -> Iterator[Cluster]:
    """A pod with curl on each node."""
    pod = (ROOT / "examples/curl-test.yaml").read_text()
    for node in NODES:
        named = pod.replace("name: curl-test", f"name: curl-{node}").replace("spec:", f"spec:\n  nodeName: {node}", 1)
        operator.kubectl("apply", "-f", "-", input=named)
    names = [f"pod/curl-{node}" for node in NODES]
    operator.kubectl("wait", "--for=condition=Ready", *names, "--timeout=90s")
    yield operator
    operator.kubectl("delete", *names, "--grace-period=0", "--force", check=False)


def from_host(cluster: Cluster, node: str) -> str:
    """The address that the site sees a node's own request come from."""
    return cluster.run_in(node, ["curl", "-s", "-m", "10", f"http://{SITE}/"], check=False).stdout.strip()


def from_pod(cluster: Cluster, node: str) -> str:
    """The address that the site sees a request of a pod on a node come from."""
    curl = ["curl", "-s", "-m", "10", f"http://{SITE}/"]
    return cluster.kubectl("exec", f"curl-{node}", "--", *curl, check=False).strip()


def _name_api_server(cluster: Cluster) -> None:
    """Make the endpoint of the `kubernetes` Service, as this API server does not, and wait until it is known."""
    body = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "kubernetes", "namespace": "default"},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [API]}],
        "ports": [{"name": "https", "port": 443}],
    }
    cluster.kubectl("apply", "--server-side", "-f", "-", input=json.dumps(body))
    told = ["get", "configmap", ADDRESSES, "-n", NAMESPACE, "-o", "jsonpath={.data.apiServers}"]
    wait_until(lambda: API in cluster.kubectl(*told), "the controller tells the API server's address", timeout=60)


def test_what_would_capture_the_cluster_is_refused_everywhere(operator: Cluster) -> None:
    """The API server's address, its subnet and the Services are refused on all nodes and named; all stay Ready."""
    before = readiness(operator)
    _name_api_server(operator)
    with pytest.raises(LabError, match="needs allowDefaultRoute: true"):
        operator.kubectl("apply", "-f", "-", input=staticroute("halves", "0.0.0.0/1", "128.0.0.0/1"))

    captures = {"api": f"{API}/32", "subnet": "10.116.0.0/24", "services": SERVICE_NETWORK}
    for name, destination in captures.items():
        operator.kubectl("apply", "-f", "-", input=staticroute(name, destination, SITE))
    everywhere(operator, {SITE: GATEWAY}, seconds=60)

    for name, destination in captures.items():
        failing = 'jsonpath={.status.conditions[?(@.type=="Ready")].reason}=NodesFailing'
        operator.kubectl("wait", f"--for={failing}", f"staticroute/{name}", "--timeout=60s")
        assert operator.kubectl("get", "sr", name, "--no-headers").split()[3] == "0/3"

        def described(name: str = name, destination: str = destination) -> bool:
            words = operator.kubectl("describe", "sr", name)
            _, _, events = words.partition("Events:")
            return destination in events and all(f"{node}" in words for node in NODES)

        wait_until(described, f"{name} is described", timeout=60)
    words = operator.kubectl("describe", "sr", "services")
    assert f"{SERVICE_NETWORK} would capture {SERVICE_NETWORK} (Services of the cluster)" in words
    why = f"{API}/32 is in 10.116.0.0/24, a subnet that eth1 of this node is connected to, and would capture {API}"
    assert f"{why} (API server)" in operator.kubectl("describe", "sr", "api")
    # A node that were cut off would say nothing for 40 s before anybody took it for NotReady.
    time.sleep(45)
    assert readiness(operator) == before
    assert all(status == "True" for status, _ in before.values())


def test_everything_through_the_gateway(pods: Cluster) -> None:
    """With the opt-in web traffic of pods and hosts leaves by the gateway, and the cluster goes on as before.

    Kubelets stay Ready, `kubectl logs` and `exec` work, a connection to a node's public address is answered through it,
    and what deletes the object leaves routes and rules as they were.
    """
    cluster = pods
    ready, before = readiness(cluster), {node: settled(cluster, node) for node in NODES}
    own = {node: from_host(cluster, node) for node in NODES}
    assert own == {f"node{number}": f"198.51.100.{20 + number}" for number in (1, 2, 3)}

    cluster.kubectl("apply", "-f", "-", input=staticroute("all", "0.0.0.0/0", allowDefaultRoute=True))
    cluster.kubectl("wait", "--for=condition=Ready", "staticroute/all", "--timeout=60s")

    for node in NODES:
        assert from_host(cluster, node) == "198.51.100.5"
        assert from_pod(cluster, node) == "198.51.100.5"
        assert "default" in own_routes(cluster, node)
    agents = cluster.kubectl(
        "get", "pods", "-n", NAMESPACE, "-l", "name=k8s-staticroute-operator", "-o", "name"
    ).split()
    assert len(agents) == len(NODES)
    for agent in agents:
        assert "StaticRoute all: Programmed" in cluster.kubectl("logs", "-n", NAMESPACE, agent)
        routes = cluster.kubectl("exec", "-n", NAMESPACE, agent, "--", "static-route-operator", "routes")
        assert "0.0.0.0/0" in routes
        # The metadata service goes by the default route, and is pinned to it.
        assert "169.254.0.0/16" in routes
    for number, node in enumerate(NODES, 1):
        assert _answers_from_outside(cluster, node, f"198.51.100.{20 + number}")

    cluster.kubectl("apply", "-f", "-", input=staticroute("all", "0.0.0.0/0", gateway=OTHER, allowDefaultRoute=True))
    for node in NODES:
        wait_until(lambda node=node: from_host(cluster, node) == "198.51.100.12", f"{node} has moved", timeout=30)  # type: ignore[misc]
    time.sleep(45)
    assert readiness(cluster) == ready

    cluster.kubectl("delete", "staticroute", "all")
    for node in NODES:
        deadline = time.monotonic() + 30
        while (now := tables(cluster, node)) != before[node]:
            differing = "\n".join(difflib.unified_diff(before[node].splitlines(), now.splitlines(), lineterm="", n=0))
            assert time.monotonic() < deadline, f"{node} is not as before:\n{differing}"
            time.sleep(0.2)
        assert from_host(cluster, node) == own[node]


def _answers_from_outside(cluster: Cluster, node: str, address: str) -> bool:
    """Report whether a server on a node answers a client outside its subnets, at its public address."""
    server = cluster.popen_in(node, [sys.executable, "-I", web.__file__])
    try:
        argv = ["curl", "-s", "-m", "5", "--interface", CALLER, f"http://{address}/"]
        wait_until(
            lambda: cluster.run_in("web", argv, check=False).stdout.strip() == CALLER, f"{node} answers", timeout=30
        )
    finally:
        server.kill()
        server.wait()
    return True
