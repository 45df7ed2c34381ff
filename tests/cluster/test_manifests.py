"""All that a user applies is taken by the API servers of the oldest and the newest promised Kubernetes."""

import itertools
import re
from pathlib import Path

import pytest
import yaml

from tests.cluster.agent import ROOT, add_pod, eventually, pod_token
from tests.cluster.conftest import ApplyAs
from tests.lab import monitoring
from tests.lab.cluster import Cluster
from tests.lab.commands import Argument, run
from tests.lab.release import manifest

EXAMPLES = sorted((ROOT / "examples").glob("*.yaml"))
PLACEHOLDER = re.compile("<[A-Z0-9_]+>")
STATE = {"apiVersion": "networking.digitalocean.com/v1", "kind": "NodeRouteState"}


def apply(cluster: Cluster, *arguments: Argument, stdin: str = "") -> str:
    """Run `kubectl apply` and return the API server's warnings, such as those of deprecated fields.

    Raises:
        LabError: the API server refuses it.
    """
    return run(cluster.kubectl_command("apply", *arguments), stdin=stdin).stderr


@pytest.fixture(scope="module")
def cluster(api_server: Cluster) -> Cluster:
    """Apply the release manifest to an API server of each promised version."""
    assert apply(api_server, "-f", manifest()) == ""
    # Pods need one, which a controller would make.
    api_server.kubectl("create", "serviceaccount", "default")
    return api_server


def test_release_manifest(cluster: Cluster) -> None:
    """Every object of the release manifest is there, taken without a warning."""
    documents = list(yaml.safe_load_all(manifest().read_text()))

    assert len(cluster.kubectl("get", "-f", manifest(), "-o", "name").splitlines()) == len(documents)


def test_monitoring_component(cluster: Cluster) -> None:
    """The kustomize base with the monitoring component is taken."""
    definitions = monitoring.definitions()
    cluster.kubectl("apply", "-f", "-", input=definitions)
    try:
        cluster.kubectl("wait", "--for=condition=Established", "-f", "-", "--timeout=30s", input=definitions)
        assert apply(cluster, "--dry-run=server", "-k", ROOT / "examples/monitored") == ""
    finally:
        cluster.kubectl("delete", "-f", "-", input=definitions)


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_example(cluster: Cluster, file: Path) -> None:
    """Every example is taken once addresses stand in the places of its placeholders."""
    numbers = itertools.count(5)
    addresses: dict[str, str] = {}

    def address(match: re.Match[str]) -> str:
        network = "fd00:116::" if "IPV6" in match[0] else "10.116.0."
        return addresses.setdefault(match[0], f"{network}{next(numbers)}")

    text = PLACEHOLDER.sub(address, file.read_text())
    assert apply(cluster, "--dry-run=server", "-f", "-", stdin=text) == ""


def test_policy(cluster: Cluster, apply_as: ApplyAs) -> None:
    """The policy of the release compiles and is in force: an agent writes the state of its own node and no other."""
    add_pod(cluster, "node1")
    token = pod_token(cluster, "node1")
    refusal = 'may write only the NodeRouteState of its own node, not "node2"'

    def refused() -> bool:
        return refusal in apply_as(token, {**STATE, "metadata": {"name": "node2"}})

    eventually("the policy is in force", refused)
    assert "noderoutestate.networking.digitalocean.com/node1" in apply_as(
        token, {**STATE, "metadata": {"name": "node1"}}
    )
