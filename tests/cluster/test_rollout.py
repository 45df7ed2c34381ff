"""Staged roll-outs: a change goes from node to node, and one that fails goes no further."""

import json
import time
from typing import Any

import pytest

from static_route_operator.api.rollout import rank
from tests.cluster.agent import Agent, eventually, everywhere
from tests.cluster.conftest import NAMES, Manifest
from tests.lab.cluster import Cluster

SITE, OTHER_SITE = "203.0.113.145", "203.0.113.146"
GATEWAY, OTHER_GATEWAY = "10.116.0.5", "10.116.0.6"
# No node has its subnet.
NOWHERE = "10.99.0.1"

# In this a stage that were to be widened would be: reports of nodes and statuses take some seconds.
QUIET = 8.0
PATIENCE = 90.0

pytestmark = pytest.mark.usefixtures("controller")


@pytest.fixture
def in_order(agents: list[Agent]) -> list[Agent]:
    """The agents in the order of roll-outs."""
    return [agents[NAMES.index(name)] for name in sorted(NAMES, key=rank)]


def _status(cluster: Cluster) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(cluster.kubectl("get", "sr", "ip", "-o", "json")).get("status", {})
    return found


def _is(cluster: Cluster, phase: str, nodes: str) -> None:
    """Wait until the roll-out is so far."""
    eventually(
        f"the roll-out is {phase} {nodes}",
        lambda: [_status(cluster).get("rollout", {}).get(key) for key in ("phase", "nodes")] == [phase, nodes],
        PATIENCE,
    )


def test_good_change_reaches_all_in_turn(in_order: list[Agent], cluster: Cluster, apply: Manifest) -> None:
    """Each node gets a change once the node before has reported success; until then it keeps the old version."""
    apply("ip", [SITE], GATEWAY)
    everywhere(in_order, {SITE: GATEWAY})
    apply("ip", [SITE], OTHER_GATEWAY, rollout={"maxUnavailable": 1})
    moved: list[int] = []
    deadline = time.monotonic() + PATIENCE
    while len(moved) < len(in_order):
        assert time.monotonic() < deadline, f"only {moved} have it: {_status(cluster)}"
        # The last first: so none is seen before those that came before it.
        for number in reversed(range(len(in_order))):
            (gateway,) = in_order[number].routes().values()
            if gateway == OTHER_GATEWAY and number not in moved:
                moved.append(number)
    assert moved == [0, 1, 2]
    _is(cluster, "Complete", "3/3")
    cluster.kubectl("wait", "--for=condition=Ready", "sr/ip", "--timeout=60s")


def test_change_that_fails_reaches_no_further(in_order: list[Agent], cluster: Cluster, apply: Manifest) -> None:
    """A version that fails on the first node pauses there: other nodes keep theirs, even new agents without an API."""
    first, second, third = in_order
    apply("ip", [SITE], GATEWAY)
    everywhere(in_order, {SITE: GATEWAY})
    apply("ip", [SITE, OTHER_SITE], NOWHERE, rollout={})
    _is(cluster, "Paused", "1/3")

    second.kill()
    second.start()
    eventually(f"the new agent is ready\n{second.log()}", second.ready, PATIENCE)
    cluster.stop_api()
    try:
        third.ip("route", "del", SITE)
        everywhere([third], {SITE: GATEWAY})
    finally:
        cluster.start_api()
    time.sleep(QUIET)
    assert first.row("ip")["reason"] == "GatewayUnreachable"
    everywhere([second, third], {SITE: GATEWAY})
    assert third.row("ip")["generation"] == 1
    assert _status(cluster)["rollout"]["nodes"] == "1/3"
    assert "RolloutPaused" in cluster.kubectl("get", "sr", "ip")
    named = "--field-selector=involvedObject.name=ip"
    eventually("an Event tells it", lambda: "RolloutPaused" in cluster.kubectl("get", "events", "-A", named))

    apply("ip", [OTHER_SITE], OTHER_GATEWAY, rollout={"maxUnavailable": "50%"})
    everywhere(in_order, {OTHER_SITE: OTHER_GATEWAY}, PATIENCE)
