"""The status of a StaticRoute, from real agents and a real controller, as a person asks for it at 3 a.m."""

import json
from collections.abc import Iterator

import pytest

from tests.e2e.conftest import NODES, everywhere
from tests.e2e.test_readme import FIRST, example
from tests.lab.cluster import Cluster
from tests.lab.release import NAMESPACE

CONTROLLER = "k8s-staticroute-operator-controller"
SUBNET_GATEWAY = "10.99.0.1"


def test_controller_says_when_every_node_is_ready(operator: Cluster) -> None:
    """The controller runs as one pod of its own, and `kubectl wait` ends once every node has the example's routes."""
    operator.kubectl("rollout", "status", f"deployment/{CONTROLLER}", "-n", NAMESPACE, "--timeout=100s")
    operator.kubectl("apply", "-f", "-", input=example("static-route-ifconfig.me.yaml"))
    operator.kubectl("wait", "--for=condition=Ready", "staticroute/static-route-ifconfig.me", "--timeout=30s")

    everywhere(operator, {"34.160.111.145": FIRST})
    header, row = operator.kubectl("get", "sr").splitlines()
    assert header.split() == ["NAME", "GATEWAY", "ROUTES", "READY", "STATUS", "AGE"]
    assert row.split()[:5] == ["static-route-ifconfig.me", FIRST, "1", "3/3", "AllNodesReady"]
    listed = operator.kubectl("get", "pods", "-n", NAMESPACE, "-l", f"name={CONTROLLER}", "-o", "json")
    (pod,) = json.loads(listed)["items"]
    assert pod["status"]["containerStatuses"][0]["restartCount"] == 0
    assert "Traceback" not in operator.kubectl("logs", f"deployment/{CONTROLLER}", "-n", NAMESPACE)


@pytest.fixture
def subnet(operator: Cluster) -> Iterator[Cluster]:
    """A second private network, which node 3 is on by an interface that is down."""
    for number in (1, 2):
        operator.run_in(f"node{number}", ["ip", "addr", "add", f"10.99.0.2{number}/24", "dev", "eth1"])
    node = operator.namespace("node3")
    node.configure(["link add eth2 type veth peer name eth2-peer", "addr add 10.99.0.23/24 dev eth2"])
    yield operator
    for number in (1, 2):
        operator.run_in(f"node{number}", ["ip", "addr", "del", f"10.99.0.2{number}/24", "dev", "eth1"])
    node.configure(["link del eth2"])


def test_a_gateway_that_two_of_three_nodes_reach(subnet: Cluster) -> None:
    """It says 2/3 and names the third node with its words, in `get`, `describe` and one Event; and heals by itself."""
    body = {
        "apiVersion": "networking.digitalocean.com/v1",
        "kind": "StaticRoute",
        "metadata": {"name": "partners"},
        "spec": {"destinations": ["192.0.2.0/25", "192.0.2.128/25"], "gateway": SUBNET_GATEWAY},
    }
    words = "gateway 10.99.0.1 is on 10.99.0.0/24 of eth2, which is down: bring it up (ip link set eth2 up)"
    subnet.kubectl("apply", "-f", "-", input=json.dumps(body))
    reason = 'jsonpath={.status.conditions[?(@.type=="Ready")].reason}=NodesFailing'
    subnet.kubectl("wait", f"--for={reason}", "staticroute/partners", "--timeout=30s")

    assert subnet.kubectl("get", "sr", "partners").splitlines()[1].split()[2:5] == ["2", "2/3", "NodesFailing"]
    described = subnet.kubectl("describe", "sr", "partners")
    assert f"2 of 3 nodes ready; node3: {words}" in described
    events = [line for line in described.partition("Events:")[2].splitlines() if "NodesFailing" in line]
    assert len(events) == 1
    assert words in events[0]
    rows = {line.split()[0]: line.split()[1] for line in subnet.kubectl("get", "nrs").splitlines()[1:]}
    assert rows == {"node1": "1/1", "node2": "1/1", "node3": "0/1"}

    subnet.namespace("node3").configure(["link set eth2-peer up", "link set eth2 up"])
    everywhere(subnet, {"192.0.2.0/25": SUBNET_GATEWAY, "192.0.2.128/25": SUBNET_GATEWAY})
    subnet.kubectl("wait", "--for=condition=Ready", "staticroute/partners", "--timeout=60s")
    assert subnet.kubectl("get", "sr", "partners").splitlines()[1].split()[3:5] == ["3/3", "AllNodesReady"]


def test_a_node_that_is_deleted_is_not_counted(operator: Cluster) -> None:
    """Deleting a Node takes its NodeRouteState along, and the counts follow."""
    node = _idle_node(operator)
    number = int(node.removeprefix("node"))
    operator.kubectl("apply", "-f", "-", input=example("static-route-ifconfig.me.yaml"))
    name = "staticroute/static-route-ifconfig.me"
    operator.kubectl("wait", "--for=condition=Ready", name, "--timeout=30s")
    operator.kill_node(number)
    operator.kubectl("delete", "node", node)
    try:
        operator.kubectl("wait", "--for=delete", f"nrs/{node}", "--timeout=60s")
        operator.kubectl("wait", "--for=jsonpath={.status.summary}=2/2", name, "--timeout=60s")
    finally:
        operator.start_node(number)
        operator.kubectl("wait", "--for=create", f"node/{node}", "--timeout=60s")
        operator.kubectl("wait", "--for=condition=Ready", "node", *NODES, "--timeout=60s")
    operator.kubectl("wait", "--for=jsonpath={.status.summary}=3/3", name, "--timeout=90s")


def _idle_node(cluster: Cluster) -> str:
    """Return a node that can go without a loss: neither the controller nor a pod of another test runs on it.

    Pods are where the scheduler put them. The controller would be away as long as its node is taken for alive, and the
    next test would take a dead pod for a ready one.
    """
    cluster.kubectl("rollout", "status", f"deployment/{CONTROLLER}", "-n", NAMESPACE, "--timeout=100s")
    pods = json.loads(cluster.kubectl("get", "pods", "--all-namespaces", "-o", "json"))["items"]
    busy = {
        pod["spec"].get("nodeName")
        for pod in pods
        if all(owner["kind"] != "DaemonSet" for owner in pod["metadata"].get("ownerReferences", ()))
    }
    idle = [node for node in NODES if node not in busy]
    assert idle, f"no node is idle: {busy}"
    return idle[0]
