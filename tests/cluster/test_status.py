"""The user's view of a StaticRoute: in `kubectl get`, in `kubectl describe`, and in Events."""

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.cluster.agent import Agent, eventually, everywhere
from tests.cluster.conftest import NAMES, Manifest
from tests.cluster.controller import USER, Controller, Kubelets
from tests.lab.audit import AuditLog
from tests.lab.cluster import Cluster

SITE, GATEWAY = "203.0.113.145", "10.116.0.5"
# A gateway on a subnet that each test gives to the nodes that it needs.
SERVICE_GATEWAY = "10.99.0.1"
WORDS = f"gateway {SERVICE_GATEWAY} is not on any subnet of this node"

# Statuses may be this late: the pause between writes that nobody waits for, and some. Seconds.
LATE = 45.0

Say = Callable[..., None]


@pytest.fixture
def say(cluster: Cluster) -> Say:
    """Report for a node that has no agent."""

    def say(node: str, route: str, state: str = "Programmed", reason: str = "Programmed", message: str = "") -> None:
        generation = json.loads(cluster.kubectl("get", "sr", route, "-o", "json"))["metadata"]["generation"]
        row = {"name": route, "observedGeneration": generation, "state": state, "reason": reason, "message": message}
        body = {
            "apiVersion": "networking.digitalocean.com/v1",
            "kind": "NodeRouteState",
            "metadata": {"name": node},
            "status": {"rows": [row]},
        }
        cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", input=json.dumps(body))

    return say


def shown(cluster: Cluster, name: str, *options: str) -> dict[str, str]:
    """Return the cells by column that `kubectl get` shows of an object."""
    header, line = cluster.kubectl("get", "sr", name, *options).splitlines()
    return dict(zip(header.split(), line.split(), strict=True))


def becomes(cluster: Cluster, name: str, ready: str, status: str, seconds: float = 10) -> None:
    """Wait until `kubectl get` shows this of an object."""

    def so() -> bool:
        cells = cluster.kubectl("get", "sr", name, "--no-headers").split()
        return cells[3:5] == [ready, status]

    eventually(f"{name} is {ready} {status}\n{cluster.kubectl('get', 'sr')}", so, seconds)


def events(cluster: Cluster, name: str) -> list[dict[str, Any]]:
    """The Events about an object that there is now."""
    uid = json.loads(cluster.kubectl("get", "sr", name, "-o", "json"))["metadata"]["uid"]
    selector = f"--field-selector=involvedObject.uid={uid}"
    items: list[dict[str, Any]] = json.loads(cluster.kubectl("get", "events", selector, "-o", "json"))["items"]
    return items


def writes(audit: AuditLog, resource: str) -> int:
    """Return the number of the controller's writes of objects of a kind so far."""
    return sum(
        isinstance(ref := each["objectRef"], dict) and ref["resource"] == resource for each in audit.writes(USER)
    )


def test_a_gateway_that_one_node_lacks(
    controller: Controller, apply: Manifest, cluster: Cluster, say: Say, audit: AuditLog
) -> None:
    """It says 2/3, the node and its words, in `get`, `describe` and one Event, at 2 writes; and heals to 3/3."""
    before = writes(audit, "staticroutes"), writes(audit, "events")
    apply("site", [SITE], SERVICE_GATEWAY)
    becomes(cluster, "site", "0/3", "RollingOut")
    for node in NAMES[:2]:
        say(node, "site")
    say("node3", "site", "Failed", "GatewayUnreachable", WORDS)
    becomes(cluster, "site", "2/3", "NodesFailing")

    wide = shown(cluster, "site", "-o", "wide")
    assert list(wide) == ["NAME", "DESTINATIONS", "GATEWAY", "ROUTES", "READY", "STATUS", "AGE"]
    assert list(shown(cluster, "site")) == ["NAME", "GATEWAY", "ROUTES", "READY", "STATUS", "AGE"]
    assert (wide["DESTINATIONS"], wide["GATEWAY"], wide["ROUTES"]) == (f'["{SITE}"]', SERVICE_GATEWAY, "1")
    sentence = f"2 of 3 nodes ready; node3: {WORDS}"
    eventually("described", lambda: "Warning  NodesFailing" in cluster.kubectl("describe", "sr", "site"))
    status, _, told = cluster.kubectl("describe", "sr", "site").partition("Events:")
    assert sentence in status
    assert sentence in told
    assert sentence in cluster.kubectl("events", "--for", "staticroute/site")
    assert [each["reason"] for each in events(cluster, "site")] == ["NodesFailing"]
    assert (writes(audit, "staticroutes"), writes(audit, "events")) == (before[0] + 2, before[1] + 1)

    say("node3", "site")
    cluster.kubectl("wait", "--for=condition=Ready", "staticroute/site", f"--timeout={LATE:.0f}s")
    assert shown(cluster, "site")["READY"] == "3/3"
    eventually("told", lambda: {each["reason"] for each in events(cluster, "site")} == {"NodesFailing", "Ready"})
    assert (writes(audit, "staticroutes"), writes(audit, "events")) == (before[0] + 3, before[1] + 2)


def test_nothing_is_written_at_rest(
    controller: Controller, apply: Manifest, cluster: Cluster, say: Say, audit: AuditLog
) -> None:
    """Without changes nothing is written, also by a controller that has just started; its end is clean."""
    apply("site", [SITE], GATEWAY)
    for node in NAMES:
        say(node, "site")
    becomes(cluster, "site", "3/3", "AllNodesReady")
    eventually("told", lambda: len(events(cluster, "site")) == 1)
    before = len(audit.writes(USER))
    time.sleep(10)
    assert controller.stop() == 0
    controller.start()
    time.sleep(35)
    assert len(audit.writes(USER)) == before
    assert "Traceback" not in controller.log()


def test_nodes_that_are_gone_or_not_ready(
    controller: Controller, apply: Manifest, cluster: Cluster, say: Say, kubelets: Kubelets
) -> None:
    """A NotReady node is distinguished from a failing one; a deleted one is no longer counted."""
    cluster.kubectl("create", "-f", "-", input='{"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node4"}}')
    try:
        kubelets.report("node4", "False")
        apply("site", [SITE], GATEWAY)
        for node in NAMES:
            say(node, "site")
        becomes(cluster, "site", "3/4", "NodesNotReady")
        assert "unknown on node4 (NotReady in Kubernetes)" in cluster.kubectl("describe", "sr", "site")
        # So that the next write needs no pause.
        time.sleep(30)
    finally:
        cluster.kubectl("delete", "node", "node4")
    becomes(cluster, "site", "3/3", "AllNodesReady", seconds=5)


def test_objects_of_the_retired_operator(controller: Controller, apply: Manifest, cluster: Cluster, say: Say) -> None:
    """The controller's own status is no obstacle; at a deletion its finalizer is taken off, and others' stay."""
    apply("site", [SITE], GATEWAY)
    patch = {"metadata": {"finalizers": ["example.com/other", "kopf.zalando.org/KopfFinalizerMarker"]}}
    cluster.kubectl("patch", "sr", "site", "--type=merge", "-p", json.dumps(patch))
    retired = {"status": {"create_fn": [{"destination": SITE, "status": "Ready"}]}}
    cluster.kubectl("patch", "sr", "site", "--type=merge", "--subresource=status", "-p", json.dumps(retired))
    for node in NAMES:
        say(node, "site")

    def finalizers() -> list[str]:
        body = json.loads(cluster.kubectl("get", "sr", "site", "-o", "json"))
        found: list[str] = body["metadata"].get("finalizers", [])
        return found

    try:
        becomes(cluster, "site", "3/3", "AllNodesReady")
        assert len(finalizers()) == 2, "as long as it may be in use it stays"
        cluster.kubectl("delete", "sr", "site", "--wait=false")
        eventually("off", lambda: finalizers() == ["example.com/other"])
    finally:
        cluster.kubectl("patch", "sr", "site", "--type=merge", "-p", '{"metadata": {"finalizers": null}}')


def test_events_do_not_grow_with_destinations_or_changes(
    controller: Controller, apply: Manifest, cluster: Cluster, say: Say
) -> None:
    """Changed again and again, with hundreds of destinations: one Event, with a count."""
    for change in range(3):
        apply("site", [f"20.0.{change}.{number}" for number in range(200)], GATEWAY)
        for node in NAMES:
            say(node, "site")
        becomes(cluster, "site", "3/3", "AllNodesReady")
    eventually("counted", lambda: [each["series"]["count"] for each in events(cluster, "site")] == [3])


def test_routes_do_not_need_the_controller(agents: list[Agent], apply: Manifest, cluster: Cluster) -> None:
    """Without a controller routes come, change and go as ever."""
    apply("site", [SITE], GATEWAY)
    everywhere(agents, {SITE: GATEWAY})
    cluster.kubectl("delete", "sr", "site")
    everywhere(agents, {})


def test_agents_and_controller(
    agents: list[Agent], controller: Controller, apply: Manifest, cluster: Cluster, audit: AuditLog
) -> None:
    """With real agents: a gateway that two nodes of three reach is 2/3, and 3/3 once the third has the subnet."""
    before = writes(audit, "staticroutes"), writes(audit, "events")
    for number, agent in enumerate(agents[:2], 1):
        agent.ip("addr", "add", f"10.99.0.2{number}/24", "dev", "eth1")
    try:
        apply("site", [SITE], SERVICE_GATEWAY)
        everywhere(agents[:2], {SITE: SERVICE_GATEWAY})
        becomes(cluster, "site", "2/3", "NodesFailing", LATE)
        described = cluster.kubectl("describe", "sr", "site")
        assert f"2 of 3 nodes ready; node3: {WORDS}" in described
        eventually("told", lambda: [each["reason"] for each in events(cluster, "site")] == ["NodesFailing"])
        agents[2].ip("addr", "add", "10.99.0.23/24", "dev", "eth1")
        everywhere(agents, {SITE: SERVICE_GATEWAY})
        cluster.kubectl("wait", "--for=condition=Ready", "staticroute/site", f"--timeout={LATE:.0f}s")
        assert shown(cluster, "site")["READY"] == "3/3"
        assert writes(audit, "staticroutes") - before[0] <= 3
        assert writes(audit, "events") - before[1] <= 2
    finally:
        for number, agent in enumerate(agents, 1):
            if f"10.99.0.2{number}/" in agent.ip("addr", "show", "dev", "eth1"):
                agent.ip("addr", "del", f"10.99.0.2{number}/24", "dev", "eth1")
