"""Whatever order the documents of the manifest stand in: uninstalling removes the routes, updating never does."""

import json
import random
import time
from collections.abc import Iterator

import pytest
import yaml

from tests.e2e.conftest import NODES, OBJECT, ROUTES, everywhere, install
from tests.lab.cluster import Cluster
from tests.lab.commands import wait_until
from tests.lab.release import NAMESPACE, manifest

DOCUMENTS = list(yaml.safe_load_all(manifest().read_text()))
KINDS = sorted({document["kind"] for document in DOCUMENTS})

ORDERS = {
    "as released": [document["kind"] for document in DOCUMENTS],
    "reversed": [document["kind"] for document in reversed(DOCUMENTS)],
    "rights first": ["ClusterRoleBinding", "RoleBinding", "ClusterRole", "Role", "ServiceAccount"],
    "DaemonSet first": ["DaemonSet"],
    "CRD first": ["CustomResourceDefinition"],
    "Namespace first": ["Namespace"],
}

# Seconds from the start of the command until the routes are gone and the command is back. The README promises it.
GONE_WITHIN = 5.0
BACK_WITHIN = 15.0


def ordered(first: list[str]) -> str:
    """The release manifest with documents of these kinds first, in this order, then the rest."""

    def place(document: dict[str, str]) -> int:
        return first.index(document["kind"]) if document["kind"] in first else len(first)

    return yaml.safe_dump_all(sorted(DOCUMENTS, key=place))


@pytest.fixture
def routed(cluster: Cluster) -> Iterator[Cluster]:
    """The cluster with the operator, and two routes on every node."""
    install(cluster)
    cluster.kubectl("apply", "-f", "-", input=json.dumps(OBJECT))
    everywhere(cluster, ROUTES)
    kept = [cluster.state / node / "operator" / f"{node}.snapshot" for node in NODES]
    wait_until(lambda: all(each.exists() for each in kept), "the routes are kept", timeout=20)
    try:
        yield cluster
    finally:
        cluster.kubectl("delete", "staticroutes", "--all", "--ignore-not-found", check=False)
        cluster.kubectl("delete", "-f", manifest(), "--ignore-not-found", check=False)
        for node in NODES:
            cluster.run_in(node, ["ip", "route", "flush", "proto", "245"], check=False)


@pytest.mark.parametrize("first", ORDERS.values(), ids=ORDERS)
def test_delete_in_any_order(routed: Cluster, first: list[str]) -> None:
    """`kubectl delete -f` with the documents in any order: routes gone everywhere, and the command back, in time."""
    _delete(routed, ordered(first))


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_delete_in_random_order(routed: Cluster, seed: int) -> None:
    """A shuffled manifest is no different."""
    kinds = list(KINDS)
    random.Random(seed).shuffle(kinds)  # noqa: S311  a permutation, no secret
    _delete(routed, ordered(kinds))


def test_delete_without_the_crd(routed: Cluster) -> None:
    """An uninstall that keeps CRD and objects takes the routes away all the same, its rights gone first or not."""
    documents = [each for each in DOCUMENTS if each["kind"] != "CustomResourceDefinition"]
    rights = {"ClusterRoleBinding", "ClusterRole", "RoleBinding", "Role", "ServiceAccount"}
    documents.sort(key=lambda each: each["kind"] not in rights)
    _delete(routed, yaml.safe_dump_all(documents))


def test_delete_the_namespace(routed: Cluster) -> None:
    """Deleting the namespace alone is an uninstall."""
    routed.kubectl("delete", "namespace", NAMESPACE)
    everywhere(routed, {})
    _nothing_is_kept(routed)


def test_delete_the_daemonset(routed: Cluster) -> None:
    """Deleting the DaemonSet alone is an uninstall."""
    routed.kubectl("delete", "daemonset", "k8s-staticroute-operator", "-n", NAMESPACE)
    everywhere(routed, {})
    _nothing_is_kept(routed)


def test_agents_are_replaced(routed: Cluster) -> None:
    """A rolling update, and the death of a pod, remove no route at any moment."""
    monitors = [routed.popen_in(node, ["ip", "-o", "monitor", "route"], stdout=-1) for node in NODES]
    time.sleep(0.5)
    routed.kubectl("rollout", "restart", "daemonset/k8s-staticroute-operator", "-n", NAMESPACE)
    routed.kubectl("rollout", "status", "daemonset/k8s-staticroute-operator", "-n", NAMESPACE, "--timeout=120s")
    routed.kubectl("delete", "pods", "-n", NAMESPACE, "-l", "name=k8s-staticroute-operator")
    routed.kubectl("rollout", "status", "daemonset/k8s-staticroute-operator", "-n", NAMESPACE, "--timeout=120s")
    for monitor in monitors:
        monitor.terminate()
        seen = monitor.communicate()[0]
        assert [line for line in seen.splitlines() if "34." in line] == []
    everywhere(routed, ROUTES)


def _delete(cluster: Cluster, documents: str) -> None:
    started = time.monotonic()
    command = cluster.kubectl_command("delete", "-f", "-")
    process = cluster.popen_in("cp", command, stdin=-1)
    assert process.stdin is not None
    process.stdin.write(documents)
    process.stdin.close()
    try:
        everywhere(cluster, {}, GONE_WITHIN)
        process.wait(BACK_WITHIN + started - time.monotonic())
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0
    _nothing_is_kept(cluster)


def _nothing_is_kept(cluster: Cluster) -> None:
    """No node has anything on its disk that a later agent would take for its routes."""
    directories = [cluster.state / node / "operator" for node in NODES]
    wait_until(lambda: not any(list(each.iterdir()) for each in directories), "nothing is kept", timeout=20)
