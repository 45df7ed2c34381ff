"""The NodeRouteState of a node, and the protection against others who would write it."""

import json
import time
from collections.abc import Callable
from typing import Any

from tests.cluster.agent import NAMESPACE, SERVICE_ACCOUNT, Agent, add_pod, eventually, pod_token
from tests.cluster.conftest import ApplyAs
from tests.lab.cluster import Cluster

GATEWAY, UNREACHABLE = "10.116.0.5", "10.99.0.1"
SITE = "203.0.113.145"


def _state(cluster: Cluster, name: str) -> dict[str, Any]:
    text = cluster.kubectl("get", "noderoutestate", name, "-o", "json", "--ignore-not-found")
    state: dict[str, Any] = json.loads(text or "{}")
    return state


def _manifest(kind: str, name: str) -> dict[str, Any]:
    manifest: dict[str, Any] = {
        "apiVersion": "networking.digitalocean.com/v1",
        "kind": kind,
        "metadata": {"name": name},
    }
    if kind == "StaticRoute":
        manifest["spec"] = {"destinations": [SITE], "gateway": GATEWAY}
    return manifest


def test_a_node_says_how_its_routes_fare(agents: list[Agent], apply: Callable[..., str], cluster: Cluster) -> None:
    """The object has counts, a row for each StaticRoute with what is wrong, and its columns; it is the Node's."""
    apply("good", [SITE, "203.0.113.59"], GATEWAY)
    apply("unreachable", ["203.0.113.60"], UNREACHABLE)
    eventually("said", lambda: _state(cluster, "node1").get("status", {}).get("summary") == "1/2", 30)

    state = _state(cluster, "node1")
    status = state["status"]
    uid = cluster.kubectl("get", "node", "node1", "-o", "jsonpath={.metadata.uid}")
    assert [(each["kind"], each["name"], each["uid"]) for each in state["metadata"]["ownerReferences"]] == [
        ("Node", "node1", uid)
    ]
    assert (status["staticRoutes"], status["ready"], status["failed"], status["routes"]) == (2, 1, 1, 2)
    good, bad = status["rows"]
    assert (good["name"], good["state"], good["programmed"], good["observedGeneration"]) == ("good", "Programmed", 2, 1)
    assert (bad["name"], bad["state"], bad["gateway"]) == ("unreachable", "Failed", UNREACHABLE)
    assert bad["message"]
    header, line = cluster.kubectl("get", "nrs", "node1").splitlines()
    assert header.split() == ["NAME", "READY", "ROUTES", "FAILED", "AGE"]
    assert line.split()[:4] == ["node1", "1/2", "2", "1"]


def test_an_object_that_somebody_deleted_comes_again(
    agents: list[Agent], apply: Callable[..., str], cluster: Cluster
) -> None:
    """It is written whole with the next change."""
    eventually("said", lambda: _state(cluster, "node2").get("status", {}).get("summary") == "0/0", 30)
    cluster.kubectl("delete", "noderoutestate", "node2")
    apply("site", [SITE], GATEWAY)
    eventually("said again", lambda: _state(cluster, "node2").get("status", {}).get("summary") == "1/1", 30)


def test_a_node_writes_its_own_object(cluster: Cluster, apply_as: ApplyAs) -> None:
    """The token of a pod on node 1 is good for node 1's object."""
    answer = apply_as(pod_token(cluster, "node1"), _manifest("NodeRouteState", "node1"))
    assert answer == "noderoutestate.networking.digitalocean.com/node1 serverside-applied\n"


def test_a_node_can_not_write_for_another(cluster: Cluster, apply_as: ApplyAs) -> None:
    """The token of a pod on node 1 is refused for node 2's object, with the reason."""
    answer = apply_as(pod_token(cluster, "node1"), _manifest("NodeRouteState", "node2"))
    assert 'agent on node "node1" may write only the NodeRouteState of its own node, not "node2"' in answer


def test_a_token_without_a_pod_writes_nothing(cluster: Cluster, apply_as: ApplyAs) -> None:
    """A token of the agents' account that is bound to no pod belongs to no node."""
    token = cluster.kubectl("create", "token", SERVICE_ACCOUNT, "-n", NAMESPACE).strip()
    answer = apply_as(token, _manifest("NodeRouteState", "node1"))
    assert 'agent on node "" may write only the NodeRouteState of its own node, not "node1"' in answer


def test_a_node_can_not_write_a_static_route(cluster: Cluster, apply_as: ApplyAs) -> None:
    """The token of an agent is refused for any StaticRoute."""
    answer = apply_as(pod_token(cluster, "node1"), _manifest("StaticRoute", "stolen"))
    assert 'cannot patch resource "staticroutes"' in answer


def test_a_state_goes_with_its_node(cluster: Cluster, apply_as: ApplyAs) -> None:
    """Deleting a Node deletes what it said."""
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node9"}}
    cluster.kubectl("apply", "-f", "-", input=json.dumps(node))
    add_pod(cluster, "node9")
    uid = cluster.kubectl("get", "node", "node9", "-o", "jsonpath={.metadata.uid}")
    manifest = _manifest("NodeRouteState", "node9")
    manifest["metadata"]["ownerReferences"] = [{"apiVersion": "v1", "kind": "Node", "name": "node9", "uid": uid}]
    apply_as(pod_token(cluster, "node9"), manifest)
    time.sleep(1)
    assert _state(cluster, "node9")
    cluster.kubectl("delete", "pod", "agent-node9", "-n", NAMESPACE, "--force", "--grace-period=0")
    cluster.kubectl("delete", "node", "node9")
    eventually("gone", lambda: not _state(cluster, "node9"), 60)
