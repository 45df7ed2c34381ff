"""The alerts of the monitoring component, and the queries of its dashboard, on a real Prometheus."""

import contextlib
import functools
import itertools
import json
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from tests.cluster.agent import PORT, Agent, eventually
from tests.cluster.conftest import API, NODES, Manifest
from tests.cluster.controller import PORT as CONTROLLER_PORT
from tests.cluster.controller import SERVICE_ACCOUNT as CONTROLLER_JOB
from tests.cluster.controller import Controller, Kubelets
from tests.cluster.prometheus import MONITORING, Prometheus, rules
from tests.lab import programs
from tests.lab.cluster import Cluster
from tests.lab.commands import run
from tests.lab.network import node_address

AGENT_JOB = "k8s-staticroute-operator"
GATEWAY, OTHER, API_SERVER, STRANGER = "10.116.0.5", "10.116.0.12", "10.116.0.1", "10.99.0.1"
DESTINATION = "203.0.113.145"

# The agents and the controller hear the API server.
HEARD = [
    f"count(time() - static_route_operator_{name}_timestamp_seconds < 300) == {NODES + 1}"
    for name in ("watch_last_event", "last_list")
]

# Seconds within which an alert fires or clears: the slowest waits 15 s here.
PATIENCE = 90.0


@pytest.fixture
def watched(cluster: Cluster, tmp_path: Path) -> Iterator[tuple[list[Agent], Prometheus]]:
    """Agents on all nodes and a controller, and Prometheus that scrapes them from outside; no alert fires."""
    agents = [Agent(cluster, number, API, tmp_path / f"agent{number}.log") for number in range(1, NODES + 1)]
    controller = Controller(cluster, API, tmp_path / "controller.log")
    targets = {(AGENT_JOB, f"node{number}"): f"{node_address(number)}:{PORT}" for number in range(1, NODES + 1)}
    targets[CONTROLLER_JOB, ""] = f"127.0.0.1:{CONTROLLER_PORT}"
    prometheus = Prometheus(cluster, tmp_path, targets)
    kubelets = Kubelets(cluster, [f"node{number}" for number in range(1, NODES + 1)])
    kubelets.start()
    try:
        for number, agent in enumerate(agents, 1):
            start(agent, number)
        controller.start()
        prometheus.start()
        everyone = f'count(up{{job=~"{AGENT_JOB}.*"}} == 1) == {len(targets)}'
        eventually("all are scraped", lambda: prometheus.query(everyone), PATIENCE)
        yield agents, prometheus
    finally:
        kubelets.stop()
        prometheus.kill()
        controller.kill()
        for agent in agents:
            agent.kill()
            agent.ip("route", "flush", "table", "all", "proto", "245")
        cluster.kubectl("delete", "staticroutes", "--all", "--ignore-not-found", check=False)


def start(agent: Agent, number: int) -> None:
    """Start the agent of a node as the component does, with its metrics open to Prometheus."""
    agent.start_and_sync("--daemonset=", f"--metrics-address={node_address(number)}")


def test_rules_do_as_their_unit_tests_say(tmp_path: Path) -> None:
    """Each alert fires when it should, not before, with the words that people read, and clears."""
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(rules()))
    tests = shutil.copy(Path(__file__).parent / "alerts.test.yaml", tmp_path)

    run([programs.find("promtool"), "check", "rules", tmp_path / "rules.yaml"])
    run([programs.find("promtool"), "test", "rules", tests])
    tested = {
        each["alertname"] for test in yaml.safe_load(Path(tests).read_text())["tests"] for each in alerts_of(test)
    }
    assert tested == {rule["alert"] for group in rules()["groups"] for rule in group["rules"] if "alert" in rule}


def alerts_of(test: dict[str, list[dict[str, str]]]) -> list[dict[str, str]]:
    """The parts of a unit test that expect an alert, rather than none."""
    return [each for each in test["alert_rule_test"] if "exp_alerts" in each]


def test_alerts_fire_and_clear(cluster: Cluster, watched: tuple[list[Agent], Prometheus], apply: Manifest) -> None:
    """Alerts fire, and resolve, for a dead gateway, a node that lacks one, endless drift and a dead agent."""
    agents, prometheus = watched
    check = {"type": "ICMP", "interval": "200ms"}
    gateways = [{"address": GATEWAY}, {"address": OTHER, "priority": 1}]
    spec = {"destinations": [DESTINATION], "gateways": gateways, "healthCheck": check}
    body = {"apiVersion": "networking.digitalocean.com/v1", "kind": "StaticRoute", "metadata": {"name": "nat"}}
    cluster.kubectl("apply", "-f", "-", input=json.dumps({**body, "spec": spec}))
    told(prometheus, set())

    cluster.namespace("gw1").configure(["link set eth1 down"])
    told(prometheus, {("StaticRouteGatewayDown", GATEWAY)})
    assert all(agent.routes() == {DESTINATION: OTHER} for agent in agents)
    cluster.namespace("gw1").configure(["link set eth1 up"])
    told(prometheus, set())

    selector = {
        "nodeSelectorTerms": [{"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["node2"]}]}]
    }
    apply("stranger", ["203.0.113.59"], STRANGER, nodeSelector=selector)
    told(prometheus, {("StaticRouteNodeNotConverged", "node2")})
    agents[1].ip("address", "add", "10.99.0.2/24", "dev", "eth1")
    told(prometheus, set())
    cluster.kubectl("delete", "sr", "stranger")
    agents[1].ip("address", "del", "10.99.0.2/24", "dev", "eth1")

    # Two wrong ways by turns, so that there is something to change while the agent pauses between repairs.
    ways = itertools.cycle((OTHER, API_SERVER))
    with again_and_again(lambda: agents[2].ip("route", "replace", DESTINATION, "via", next(ways), "proto", "245")):
        told(prometheus, {("StaticRouteDriftStorm", "node3"), ("StaticRouteNodeNotConverged", "node3")})
    told(prometheus, set())

    agents[0].kill()
    told(prometheus, {("StaticRouteAgentGone", "node1")})
    start(agents[0], 1)
    told(prometheus, set())


def told(prometheus: Prometheus, alerts: set[tuple[str, str]]) -> None:
    """Wait until just these alerts fire."""

    def so() -> bool:
        return prometheus.firing() == alerts

    try:
        eventually(f"{alerts or 'no alert'} fires", so, PATIENCE)
    except AssertionError as error:
        raise AssertionError(f"{error}, but {prometheus.firing()}") from None


@contextlib.contextmanager
def again_and_again(harm: Callable[[], object]) -> Iterator[None]:
    """Do harm twice a second, in the background."""
    end = threading.Event()

    def go_on() -> None:
        while not end.wait(0.5):
            harm()

    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()


def test_dashboard_asks_for_what_there_is(watched: tuple[list[Agent], Prometheus], cluster: Cluster) -> None:
    """Every query of the dashboard is taken by Prometheus and finds something, unless all is well there."""
    _, prometheus = watched
    spec = {"destinations": [DESTINATION], "gateways": [{"address": GATEWAY}], "healthCheck": {"interval": "200ms"}}
    body = {"apiVersion": "networking.digitalocean.com/v1", "kind": "StaticRoute", "metadata": {"name": "nat"}}
    cluster.kubectl("apply", "-f", "-", input=json.dumps({**body, "spec": spec}))
    dashboard = json.loads((MONITORING / "dashboard.json").read_text())
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", ())]
    assert len(queries) > 30

    def empty() -> list[str]:
        return [query for query in queries if not prometheus.query(filled_in(query))]

    for watching in ("min(static_route_operator_watch_running) == 1", *HEARD):
        eventually(watching, functools.partial(prometheus.query, watching), PATIENCE)
    # The table names what is not in force.
    expected = [query for query in queries if query.endswith("> 0")]
    assert len(expected) == 1
    try:
        eventually("all queries find something", lambda: empty() == expected, PATIENCE)
    except AssertionError as error:
        raise AssertionError(f"{error}, but: {empty()}") from None


def filled_in(query: str) -> str:
    """A query as Grafana sends it, with all values of its variables."""
    return re.sub(r"\$(node|gateway)\b", ".*", query).replace("$__rate_interval", "30s")
