"""The support archive: what is in it, and what must never be."""

import json
import tarfile
from pathlib import Path

import pytest

from static_route_operator.cli.fleet import bundle
from static_route_operator.cli.fleet.agents import Agents
from static_route_operator.cli.fleet.bundle import redact, scrub
from static_route_operator.cli.fleet.kubectl import ClusterError
from tests.unit.cli.fleet.fakekubectl import fake_kubectl, node, pod
from tests.unit.cli.fleet.test_kubectl import FORBIDDEN

SECRET = "s3cr3t"  # noqa: S105  that is what must not be found
TOKEN = "eyJhbGciOi.eyJpc3Mi.c2ln"  # noqa: S105  likewise


def _contents(file: Path) -> dict[str, str]:
    with tarfile.open(file) as tar:
        return {
            each.name.partition("/")[2]: (found.read().decode() if (found := tar.extractfile(each)) else "")
            for each in tar
        }


def _unanswered(_: object) -> str:
    raise ClusterError("no answer: try again")


def test_archive_holds_what_there_is_and_names_what_is_missing(tmp_path: Path) -> None:
    """Objects, nodes and logs are in it; what could not be had is named with the reason, and ends nothing."""
    agent = pod("agent-a", "node1")
    agent["spec"]["containers"] = [
        {"env": [{"name": "NODE_HOSTNAME", "value": "node1"}, {"name": "DB_PASSWORD", "value": SECRET}]}
    ]
    agent["metadata"]["annotations"] = {"last-applied": SECRET}
    answers = {
        "labelSelector=name%3Dk8s-staticroute-operator-controller": {"items": [pod("controller-x", "node1")]},
        "pods": {"items": [agent, pod("agent-b", "node2")]},
        "exec -n ns agent-a -- static-route-operator routes --summary": {"objects": []},
        "exec -n ns agent-a -- static-route-operator snapshot": (0, "# links\n", ""),
        "exec -n ns agent-b": (1, "", "container not found"),
        "logs -n ns agent-a --tail=5000 --previous": (0, "before\n", ""),
        "logs -n ns agent-a": (0, f"Authorization: Bearer {TOKEN}\nStaticRoute nat: Programmed\n", ""),
        "logs": (1, "", "gone"),
        "deployments": (1, "", FORBIDDEN),
        "/api/v1/nodes": {"items": [node("node1"), node("node2")]},
        "get --raw": {"items": [{"metadata": {"name": "10.0.0.1", "managedFields": [SECRET]}}]},
    }
    agents = Agents(fake_kubectl(tmp_path, answers), "ns")
    said: list[str] = []

    missing = bundle.write(
        agents, tmp_path / "b.tar.gz", {"status.txt": lambda _: "fine", "diff.txt": _unanswered}, said.append
    )
    found = _contents(tmp_path / "b.tar.gz")

    assert found["status.txt"] == "fine"
    assert json.loads(found["nodes/node1/summary.json"]) == {"objects": []}
    assert found["nodes/node1/snapshot.txt"] == "# links\n"
    assert "StaticRoute nat: Programmed" in found["nodes/node1/log.txt"]
    assert found["nodes/node1/log-previous.txt"] == "before\n"
    assert json.loads(found["objects/staticroutes.json"])["items"] == [{"metadata": {"name": "10.0.0.1"}}]
    assert '"node1"' in found["objects/pods.json"]
    assert all(SECRET not in text and TOKEN not in text for text in found.values())
    assert found["missing.txt"].splitlines() == missing
    assert [each.partition(":")[0] for each in missing] == [
        "diff.txt",
        "objects/deployments.json",
        "nodes/node2/summary.json",
        "nodes/node2/snapshot.txt",
        "nodes/node2/log.txt",
        "nodes/node2/log-previous.txt",
        "controller/log.txt",
        "controller/log-previous.txt",
    ]
    assert said == ["status.txt", "diff.txt", "objects", "nodes: summary.json", "nodes: snapshot.txt", "logs"]


def test_archive_overwrites_nothing(tmp_path: Path) -> None:
    """A file that is there already is left as it is."""
    (tmp_path / "b.tar.gz").write_text("mine")
    with pytest.raises(FileExistsError):
        bundle.write(Agents(fake_kubectl(tmp_path, {}), "ns"), tmp_path / "b.tar.gz", {}, print)

    assert (tmp_path / "b.tar.gz").read_text() == "mine"


@pytest.mark.parametrize(
    ("text", "left"),
    [
        (f"got {TOKEN}.", "got (removed)."),
        ("https://user:pass@host/", "https://(removed)@host/"),
        ("Bearer abcdef", "Bearer (removed)"),
        ("password=hunter2 next", "password=(removed) next"),
        ("-----BEGIN PRIVATE KEY-----\nabc\n-----END PRIVATE KEY-----", "(removed)"),
        ("via 10.0.0.1 dev eth0 proto 245", "via 10.0.0.1 dev eth0 proto 245"),
        ("2001:db8::1@eth0 http://10.0.0.1:80/path", "2001:db8::1@eth0 http://10.0.0.1:80/path"),
    ],
)
def test_what_looks_like_a_secret_is_taken_out(text: str, left: str) -> None:
    """Tokens, passwords and keys go; addresses stay."""
    assert scrub(text) == left


def test_own_settings_stay() -> None:
    """The program's own settings, and references to other objects, are kept of a pod's environment."""
    env = [{"name": "STATIC_ROUTE_OPERATOR_LOG_LEVEL", "value": "debug"}, {"name": "X", "valueFrom": {"fieldRef": {}}}]

    assert redact({"env": env}) == {"env": env}
