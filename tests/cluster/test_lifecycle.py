"""The life of StaticRoutes on three nodes: create, change, delete."""

import json
import time
from collections.abc import Callable

import pytest

from tests.cluster.agent import NAMESPACE, SERVICE_ACCOUNT, Agent, eventually, everywhere
from tests.lab.audit import AuditLog
from tests.lab.cluster import Cluster

AGENTS = f"system:serviceaccount:{NAMESPACE}:{SERVICE_ACCOUNT}"
GATEWAY, OTHER = "10.116.0.5", "10.116.0.12"
SITE, OTHER_SITE = "203.0.113.145", "203.0.113.59"


def test_create_change_delete(agents: list[Agent], apply: Callable[..., str], cluster: Cluster) -> None:
    """Creating, changing gateway and destinations in place, and deleting reach the kernel of every node."""
    apply("site", [SITE], GATEWAY)
    everywhere(agents, {SITE: GATEWAY})
    apply("site", [SITE], OTHER)
    everywhere(agents, {SITE: OTHER})
    apply("site", [OTHER_SITE, "10.9.0.0/16"], OTHER)
    everywhere(agents, {OTHER_SITE: OTHER, "10.9.0.0/16": OTHER})
    cluster.kubectl("delete", "staticroute", "site")
    everywhere(agents, {})


def test_ipv6(agents: list[Agent], apply: Callable[..., str]) -> None:
    """IPv6 destinations are routed like IPv4 ones."""
    apply("six", ["2001:db8:113::145", "2001:db8:9::/48"], "fd00:116::5")
    desired = {"2001:db8:113::145": "fd00:116::5", "2001:db8:9::/48": "fd00:116::5"}
    everywhere(agents, desired)


def test_node_selector(agents: list[Agent], apply: Callable[..., str], cluster: Cluster) -> None:
    """Only selected nodes route, and a node follows the labels it is given and loses."""

    def selector(value: str) -> dict[str, object]:
        term = {"matchExpressions": [{"key": "number", "operator": "In", "values": [value]}]}
        return {"nodeSelectorTerms": [term]}

    apply("one", [SITE], GATEWAY, nodeSelector=selector("2"))
    everywhere([agents[1]], {SITE: GATEWAY})
    assert agents[0].routes() == agents[2].routes() == {}
    cluster.kubectl("label", "node", "node2", "number=9", "--overwrite")
    try:
        everywhere([agents[1]], {})
    finally:
        cluster.kubectl("label", "node", "node2", "number=2", "--overwrite")
    everywhere([agents[1]], {SITE: GATEWAY})


def test_standby_takes_over(agents: list[Agent], apply: Callable[..., str], cluster: Cluster) -> None:
    """If two objects name one destination, the one with precedence routes; the other takes over when it goes."""
    apply("primary", [SITE], GATEWAY, priority=10)
    apply("secondary", [SITE], OTHER)
    everywhere([agents[0]], {SITE: GATEWAY})
    eventually("stands by", lambda: agents[0].row("secondary").get("state") == "Standby")
    assert "primary has precedence" in agents[0].row("secondary")["message"]
    cluster.kubectl("delete", "staticroute", "primary")
    everywhere(agents, {SITE: OTHER})


def test_two_thousand_destinations(agents: list[Agent], apply: Callable[..., str], cluster: Cluster) -> None:
    """An object with 2,000 destinations is routed whole on every node, moved whole, and removed whole."""
    destinations = [f"20.0.{number // 256}.{number % 256}" for number in range(2000)]
    for gateway in (GATEWAY, OTHER):
        apply("many", destinations, gateway)
        everywhere(agents, dict.fromkeys(destinations, gateway))
    cluster.kubectl("delete", "staticroute", "many")
    everywhere(agents, {})


def test_ten_thousand_destinations_in_one_object(agents: list[Agent], apply: Callable[..., str]) -> None:
    """One object may hold 10,000 destinations."""
    destinations = [f"21.{number // 65536}.{number // 256 % 256}.{number % 256}" for number in range(10_000)]
    apply("most", destinations, GATEWAY)
    eventually("all", lambda: len(agents[2].routes()) == 10_000)


def test_agents_write_once_per_change_and_nothing_at_rest(
    agents: list[Agent], apply: Callable[..., str], cluster: Cluster, audit: AuditLog
) -> None:
    """Each change of a StaticRoute is one write per node, of that node's own object; and then there is none."""

    def ready() -> str:
        return cluster.kubectl("get", "noderoutestates", "-o", "jsonpath={.items[*].status.summary}")

    def changes(what: str, summary: str) -> None:
        before = len(audit.writes(AGENTS))
        eventually(what, lambda: ready().split() == [summary] * len(agents))
        time.sleep(20)
        written = [request["objectRef"] for request in audit.writes(AGENTS)[before:]]
        assert len(written) <= len(agents)
        assert {(each["resource"], each["name"]) for each in written} <= own

    own = {("noderoutestates", f"node{number}") for number in range(1, len(agents) + 1)}
    changes("all have said that there is nothing", "0/0")
    apply("quiet", [SITE], GATEWAY)
    changes("all have said that it is there", "1/1")
    before = len(audit.writes(AGENTS))
    time.sleep(20)
    assert len(audit.writes(AGENTS)) == before
    cluster.kubectl("delete", "staticroute", "quiet")
    changes("all have said that it is gone", "0/0")


@pytest.mark.parametrize("verb", ["create", "patch", "delete"])
def test_rights(cluster: Cluster, verb: str) -> None:
    """An agent has no right to write a StaticRoute."""
    assert cluster.kubectl("auth", "can-i", verb, "staticroutes", "--as", AGENTS, check=False).strip() == "no"


def test_nothing_is_added_to_the_object(agents: list[Agent], apply: Callable[..., str], cluster: Cluster) -> None:
    """No agent puts a finalizer, an annotation or a status into a StaticRoute."""
    apply("plain", [SITE], GATEWAY)
    everywhere(agents, {SITE: GATEWAY})
    body = json.loads(cluster.kubectl("get", "staticroute", "plain", "-o", "json"))
    assert body["metadata"].keys().isdisjoint({"finalizers", "annotations"})
    assert "status" not in body


def test_an_object_of_the_retired_operator(agents: list[Agent], apply: Callable[..., str], cluster: Cluster) -> None:
    """An object with the retired operator's finalizer is followed like any other, and the finalizer is left to people.

    Its deletion takes the routes away at once, though the object stays until the finalizer is taken off.
    """
    apply("old", [SITE], GATEWAY)
    finalizer = {"metadata": {"finalizers": ["kopf.zalando.org/KopfFinalizerMarker"]}}
    cluster.kubectl("patch", "staticroute", "old", "--type=merge", "-p", json.dumps(finalizer))
    try:
        everywhere(agents, {SITE: GATEWAY})
        apply("old", [SITE], OTHER)
        everywhere(agents, {SITE: OTHER})
        cluster.kubectl("delete", "staticroute", "old", "--wait=false")
        everywhere(agents, {})
        assert "KopfFinalizerMarker" in cluster.kubectl("get", "staticroute", "old", "-o", "yaml")
    finally:
        cluster.kubectl("patch", "staticroute", "old", "--type=merge", "-p", '{"metadata": {"finalizers": null}}')
    apply("old", [SITE], GATEWAY)
    everywhere(agents, {SITE: GATEWAY})
