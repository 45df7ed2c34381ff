"""One real API server for all tests here, three nodes as namespaces, and an agent on each as a process."""

import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster import faultyproxy
from tests.cluster.agent import ROOT, Agent, eventually, install
from tests.cluster.controller import Controller, Kubelets
from tests.lab import versions
from tests.lab.audit import AuditLog
from tests.lab.cluster import Cluster
from tests.lab.commands import run

# Labs with different prefixes run side by side.
PREFIX = os.environ.get("LAB_PREFIX") or "sr"
NODES = 3
API = "https://10.116.0.1:443"
PROXY_PORT = 8080
NAMES = [f"node{number}" for number in range(1, NODES + 1)]

Manifest = Callable[..., str]
ApplyAs = Callable[[str, dict[str, Any]], str]


@pytest.fixture(scope="session")
def audit(tmp_path_factory: pytest.TempPathFactory) -> AuditLog:
    """Return the API server's audit log."""
    return AuditLog(tmp_path_factory.mktemp("audit"))


@pytest.fixture(scope="session")
def cluster(audit: AuditLog) -> Iterator[Cluster]:
    """Start a control plane with the operator's CRD and rights, and three Node objects."""
    lab = Cluster(f"{PREFIX}cluster", NODES, bare=True, apiserver_args=audit.apiserver_args())
    lab.down()
    with lab:
        install(lab, NODES)
        yield lab


@pytest.fixture(scope="session", params=versions.PROMISED)
def api_server(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """Start an API server of the oldest, then of the newest promised Kubernetes, with the operator's CRDs."""
    lab = Cluster(f"{PREFIX}api", nodes=0, version=request.param, api_only=True)
    lab.down()
    with lab:
        for crd in ("crd", "crd-noderoutestates"):
            lab.kubectl("apply", "-f", ROOT / f"deploy/{crd}.yaml")
            lab.kubectl("wait", "--for=condition=Established", "-f", ROOT / f"deploy/{crd}.yaml", "--timeout=30s")
        yield lab


@pytest.fixture
def agents(cluster: Cluster, tmp_path: Path) -> Iterator[list[Agent]]:
    """Return agents on all nodes, in sync with an empty cluster; remove all StaticRoutes and routes afterwards."""
    running = [Agent(cluster, number, API, tmp_path / f"agent{number}.log") for number in range(1, NODES + 1)]
    for agent in running:
        agent.start()
    try:
        for agent in running:
            eventually(f"{agent.log()} is ready", agent.ready)
        yield running
    finally:
        clean(cluster, running)


@pytest.fixture
def kubelets(cluster: Cluster) -> Iterator[Kubelets]:
    """Keep all nodes Ready in Kubernetes."""
    beating = Kubelets(cluster, NAMES)
    beating.start()
    try:
        yield beating
    finally:
        beating.stop()


@pytest.fixture
def controller(cluster: Cluster, kubelets: Kubelets, tmp_path: Path) -> Iterator[Controller]:
    """Return a running controller, without reports of earlier tests; remove all objects afterwards."""
    cluster.kubectl("delete", "noderoutestates", "--all", "--ignore-not-found")
    running = Controller(cluster, API, tmp_path / "controller.log")
    running.start()
    try:
        yield running
    finally:
        running.kill()
        for kind in ("staticroutes", "noderoutestates"):
            cluster.kubectl("delete", kind, "--all", "--ignore-not-found", check=False)


@pytest.fixture
def faulty(cluster: Cluster, tmp_path: Path) -> Iterator[tuple[Agent, Callable[[str], None]]]:
    """Return one agent on node 1 behind an API server that fails on demand, and the way to set the fault."""
    argv = [sys.executable, faultyproxy.__file__, str(PROXY_PORT), API]
    agent = Agent(cluster, 1, f"http://10.116.0.1:{PROXY_PORT}", tmp_path / "agent1.log")
    proxy = cluster.popen_in("cp", argv)

    def fault(mode: str) -> None:
        cluster.run_in("cp", ["curl", "-sf", f"http://127.0.0.1:{PROXY_PORT}/fault/{mode}"])

    try:
        probe = ["curl", "-sf", f"http://127.0.0.1:{PROXY_PORT}/fault/pass"]
        eventually("the proxy listens", lambda: cluster.run_in("cp", probe, check=False).stdout)
        agent.start_and_sync()
        yield agent, fault
    finally:
        clean(cluster, [agent])
        proxy.kill()
        proxy.wait()


@pytest.fixture
def apply_as(cluster: Cluster, tmp_path: Path) -> ApplyAs:
    """Apply an object with nothing but a token, and return the answer of the API server."""

    def apply(token: str, manifest: dict[str, Any]) -> str:
        raw = json.loads(cluster.kubectl("config", "view", "--raw", "--flatten", "-o", "json"))
        raw["users"] = [{"name": each["name"], "user": {"token": token}} for each in raw["users"]]
        config = tmp_path / "holder.kubeconfig"
        config.write_text(json.dumps(raw))
        options = ["--server-side", "--validate=false", "--kubeconfig", str(config), "-f", "-"]
        done = run(cluster.kubectl_command("apply", *options), stdin=json.dumps(manifest), check=False)
        return done.stdout + done.stderr

    return apply


def clean(cluster: Cluster, agents: list[Agent]) -> None:
    """End these agents, and remove all StaticRoutes and routes."""
    for agent in agents:
        agent.kill(unconfirmed=True)
        for family in ("-4", "-6"):
            agent.ip(family, "rule", "flush", "protocol", "245")
            agent.ip(family, "route", "flush", "table", "all", "proto", "245")
    cluster.kubectl("delete", "staticroutes", "--all", "--ignore-not-found", check=False)


@pytest.fixture
def apply(cluster: Cluster) -> Manifest:
    """Apply a StaticRoute, as a person would."""

    def apply(name: str, destinations: list[str], gateway: str, **spec: object) -> str:
        body = {
            "apiVersion": "networking.digitalocean.com/v1",
            "kind": "StaticRoute",
            "metadata": {"name": name},
            "spec": {"destinations": destinations, "gateway": gateway, **spec},
        }
        return cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", input=json.dumps(body))

    return apply
