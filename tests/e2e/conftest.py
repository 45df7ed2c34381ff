"""A cluster of three real kubelets for all tests here, and the operator installed as users do, from its image."""

import contextlib
import json
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.lab.audit import AuditLog
from tests.lab.cluster import Cluster
from tests.lab.commands import Argument
from tests.lab.release import NAMESPACE, image_archive, manifest
from tests.lab.stream import Enter

# Labs with different prefixes run side by side.
PREFIX = os.environ.get("LAB_PREFIX") or "sr"
NODES = ("node1", "node2", "node3")
SITES = {"ifconfig.me": "34.160.111.145", "ipinfo.io": "34.117.59.81"}
ROOT = Path(__file__).resolve().parents[2]

# A StaticRoute for what installing and uninstalling is tried with, and the routes that come of it.
GATEWAY = "10.116.0.5"
ROUTES = dict.fromkeys(SITES.values(), GATEWAY)
OBJECT = {
    "apiVersion": "networking.digitalocean.com/v1",
    "kind": "StaticRoute",
    "metadata": {"name": "sites"},
    "spec": {"destinations": list(ROUTES), "gateway": GATEWAY},
}


@pytest.fixture(scope="session")
def audit(tmp_path_factory: pytest.TempPathFactory) -> AuditLog:
    """Return the API server's audit log."""
    return AuditLog(tmp_path_factory.mktemp("audit"))


@pytest.fixture(scope="session")
def image() -> Path:
    """Return the operator's image as a docker-archive, which `make e2e` builds from this tree."""
    return image_archive()


@pytest.fixture(scope="session")
def cluster(audit: AuditLog, image: Path) -> Iterator[Cluster]:
    """Start three nodes with the operator's image, and the examples' web sites on the outside."""
    lab = Cluster(f"{PREFIX}e2e", len(NODES), apiserver_args=audit.apiserver_args())
    lab.down()
    with lab:
        lab.namespace("web").configure(f"addr add {address} dev lo" for address in SITES.values())
        lab.load_image(image)
        yield lab


@pytest.fixture
def operator(cluster: Cluster) -> Iterator[Cluster]:
    """Return the cluster with the operator installed and ready; remove a test's leftovers afterwards."""
    with installed(cluster):
        yield cluster


@contextlib.contextmanager
def installed(cluster: Cluster) -> Iterator[None]:
    """Install the operator and wait until it is ready; in the end remove it with all StaticRoutes."""
    install(cluster)
    try:
        yield
    finally:
        cluster.kubectl("delete", "staticroutes", "--all", "--ignore-not-found", check=False)
        cluster.kubectl("delete", "-f", manifest(), "--ignore-not-found", check=False)


def install(cluster: Cluster, documents: str = "") -> None:
    """Apply the release manifest, or the documents given, and wait until the operator runs on every node."""
    if documents:
        cluster.kubectl("apply", "-f", "-", input=documents)
    else:
        cluster.kubectl("apply", "-f", manifest())
    cluster.kubectl("rollout", "status", "daemonset/k8s-staticroute-operator", "-n", NAMESPACE, "--timeout=100s")


def enter_pod(cluster: Cluster) -> Enter:
    """Return the way to run programs in the network namespace of the curl-test pod; start the pod if missing."""
    cluster.kubectl("apply", "-f", ROOT / "examples/curl-test.yaml")
    cluster.kubectl("wait", "--for=condition=Ready", "pod/curl-test", "--timeout=60s")
    uid = cluster.kubectl("get", "pod", "curl-test", "-o", "jsonpath={.metadata.uid}")
    found = [
        process.name
        for process in Path("/proc").glob("[0-9]*")
        if uid in _read(process / "cgroup") and "sleep" in _read(process / "cmdline")
    ]
    assert found, "the pod has no process"

    def enter(argv: Sequence[Argument]) -> list[Argument]:
        return ["nsenter", f"--net=/proc/{found[0]}/ns/net", "--", *argv]

    return enter


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""  # the process has ended meanwhile


def own_routes(cluster: Cluster, node: str) -> dict[str, str]:
    """Return the routes of protocol 245 in a node's kernel: gateway by destination."""
    found = {}
    for family in ("-4", "-6"):
        argv = ["ip", "-j", family, "route", "show", "table", "all", "proto", "245"]
        for route in json.loads(cluster.run_in(node, argv).stdout or "[]"):
            found[route["dst"]] = route.get("gateway", "")
    return found


def everywhere(cluster: Cluster, routes: dict[str, str], seconds: float = 20) -> None:
    """Wait until every node's kernel holds just these routes of the operator.

    Raises:
        AssertionError: one does not in time.
    """
    for node in NODES:
        deadline = time.monotonic() + seconds
        while (found := own_routes(cluster, node)) != routes:
            assert time.monotonic() < deadline, f"{node} has {found} after {seconds} s, not {routes}"
            time.sleep(0.05)
