"""A dry run: every node says what it would do, and does nothing."""

import json

import pytest

from tests.cluster.agent import Agent, eventually, everywhere
from tests.cluster.conftest import Manifest
from tests.lab.cluster import Cluster

SITE, OTHER_SITE = "203.0.113.145", "203.0.113.146"
GATEWAY, OTHER_GATEWAY = "10.116.0.5", "10.116.0.6"
PATIENCE = 60.0


@pytest.mark.usefixtures("controller")
def test_dry_run_is_told_and_not_done(agents: list[Agent], cluster: Cluster, apply: Manifest) -> None:
    """`kubectl get sr` shows it, each node has its words, routes stay as they are; taken off, it is done."""
    apply("ip", [SITE], GATEWAY)
    everywhere(agents, {SITE: GATEWAY})
    agents[2].ip("route", "add", OTHER_SITE, "via", OTHER_GATEWAY, "proto", "static")
    apply("ip", [SITE, OTHER_SITE], OTHER_GATEWAY, dryRun=True)

    eventually("the status says so", lambda: "2/3     DryRun" in cluster.kubectl("get", "sr", "ip"), PATIENCE)
    state = json.loads(cluster.kubectl("get", "nrs", "node1", "-o", "json"))["status"]
    (row,) = state["rows"]
    assert (row["state"], row["reason"], row["message"]) == ("DryRun", "Programmed", "would add 1, change 1")
    (failing,) = json.loads(cluster.kubectl("get", "sr", "ip", "-o", "json"))["status"]["failingNodes"]
    assert (failing["node"], failing["reason"]) == ("node3", "ForeignRoute")
    everywhere(agents, {SITE: GATEWAY})

    agents[2].ip("route", "del", OTHER_SITE)
    apply("ip", [SITE, OTHER_SITE], OTHER_GATEWAY, dryRun=False)
    everywhere(agents, {SITE: OTHER_GATEWAY, OTHER_SITE: OTHER_GATEWAY})
    cluster.kubectl("wait", "--for=condition=Ready", "sr/ip", "--timeout=60s")
