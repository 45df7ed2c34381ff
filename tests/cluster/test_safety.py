"""Nodes that are cut off from the API server by a change, or start without it."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cluster.agent import Agent, eventually, everywhere
from tests.cluster.conftest import clean
from tests.lab.cluster import Cluster
from tests.lab.network import KUBERNETES_SERVICE

GATEWAY = "10.116.0.5"
# On the nodes' subnet, but nobody has it: it swallows all that is sent to it.
NOBODY = "10.116.0.99"
SITE, OTHER_SITE = "203.0.113.145", "203.0.113.59"

# The API server, where the Service's address is translated to: no agent can know that.
HIDDEN = "10.200.0.1"
NETWORK = "10.200.0.0/24"
TRANSLATION = f"""
table ip translation {{
  chain output {{
    type nat hook output priority -100
    ip daddr {KUBERNETES_SERVICE} dnat to {HIDDEN}
  }}
}}
"""


@pytest.fixture
def behind(cluster: Cluster, tmp_path: Path) -> Iterator[Agent]:
    """An agent on node 1 that reaches the API server through an address that no guard knows of."""
    cluster.run_in("cp", ["ip", "address", "add", f"{HIDDEN}/32", "dev", "lo"])
    cluster.run_in("node1", ["ip", "route", "add", NETWORK, "via", "10.116.0.1", "proto", "static"])
    rules = tmp_path / "translation.nft"
    rules.write_text(TRANSLATION)
    cluster.run_in("node1", ["nft", "-f", str(rules)])
    agent = Agent(cluster, 1, f"https://{KUBERNETES_SERVICE}:443", tmp_path / "agent1.log")
    try:
        agent.start_and_sync()
        yield agent
    finally:
        clean(cluster, [agent])
        cluster.run_in("node1", ["nft", "delete", "table", "ip", "translation"])
        cluster.run_in("node1", ["ip", "route", "del", NETWORK, "via", "10.116.0.1"])
        cluster.run_in("cp", ["ip", "address", "del", f"{HIDDEN}/32", "dev", "lo"])


def _reason(cluster: Cluster, name: str) -> str:
    """The reason in the row of a StaticRoute, as node 1 has written it."""
    path = f"{{.status.rows[?(@.name=='{name}')].reason}}"
    return cluster.kubectl("get", "noderoutestate", "node1", "-o", f"jsonpath={path}", check=False)


def test_a_change_that_cuts_off_is_rolled_back(behind: Agent, apply: Callable[..., str], cluster: Cluster) -> None:
    """A version that passes the guards and cuts its node off from the API server is rolled back; a newer one counts."""
    apply("other", [SITE], GATEWAY)
    apply("trap", [OTHER_SITE], GATEWAY)
    good = {SITE: GATEWAY, OTHER_SITE: GATEWAY}
    everywhere([behind], good)

    apply("trap", ["10.200.0.0/25"], NOBODY)
    everywhere([behind], {SITE: GATEWAY, "10.200.0.0/25": NOBODY})
    cut_off = time.monotonic()
    everywhere([behind], good)
    print(f"reverted after {time.monotonic() - cut_off:.1f} s")

    eventually("the row tells", lambda: _reason(cluster, "trap") == "RolledBack", 40)
    row = behind.row("trap")
    assert f"API server {KUBERNETES_SERVICE}:443" in row["message"], row
    assert (row["generation"], row["programmed"]) == (2, 1)
    assert _reason(cluster, "other") == "Programmed"

    apply("trap", [OTHER_SITE, "203.0.113.60"], GATEWAY)
    everywhere([behind], {**good, "203.0.113.60": GATEWAY})


def test_killed_while_cut_off(behind: Agent, apply: Callable[..., str], cluster: Cluster) -> None:
    """An agent killed before it could roll back such a change does so at its next start, without the API server."""
    apply("trap", [OTHER_SITE], GATEWAY)
    everywhere([behind], {OTHER_SITE: GATEWAY})
    apply("trap", ["10.200.0.0/25"], NOBODY)
    everywhere([behind], {"10.200.0.0/25": NOBODY})
    behind.kill(unconfirmed=True)

    behind.start()
    everywhere([behind], {OTHER_SITE: GATEWAY})

    eventually("it is ready", behind.ready, 40)
    eventually("the row tells", lambda: _reason(cluster, "trap") == "RolledBack", 40)
    assert behind.routes() == {OTHER_SITE: GATEWAY}


def test_reboot_without_the_api_server(agents: list[Agent], apply: Callable[..., str], cluster: Cluster) -> None:
    """A node that boots without an API server has its last known routes; what was deleted goes when that is back."""
    apply("stays", [SITE], GATEWAY)
    apply("gone", [OTHER_SITE], GATEWAY)
    everywhere(agents, {SITE: GATEWAY, OTHER_SITE: GATEWAY})
    agent = agents[0]
    snapshot = agent.state_dir / "node1.snapshot"
    eventually(
        "both are kept",
        lambda: snapshot.exists() and all(each in snapshot.read_bytes() for each in (b"stays", b"gone")),
    )
    agent.kill()
    cluster.kubectl("delete", "staticroute", "gone")
    cluster.namespace("node1").delete()
    cluster.add_node(1)
    assert agent.routes() == {}
    cluster.stop_api()
    try:
        agent.start("--daemonset=", log_in=False)
        started = time.monotonic()
        everywhere([agent], {SITE: GATEWAY, OTHER_SITE: GATEWAY})
        print(f"there after {time.monotonic() - started:.1f} s")
        assert not agent.ready()
    finally:
        cluster.start_api()

    everywhere([agent], {SITE: GATEWAY}, 60)
    eventually("it is ready", agent.ready, 40)
