"""The command line as people use it: kubectl's plugin, on a cluster in which things are wrong."""

import json
import re
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.conftest import NODES, ROOT, install
from tests.e2e.test_status import CONTROLLER
from tests.lab.cluster import Cluster
from tests.lab.release import NAMESPACE, manifest

FIRST, SECOND, NOBODY, ELSEWHERE = "10.116.0.5", "10.116.0.12", "10.116.0.99", "10.99.0.1"

_PLUGIN = f"""\
#!{sys.executable}
from static_route_operator.cli import main
main()
"""


class Plugin:
    """`kubectl static-route`, as pip installs it.

    Args:
        cluster: what it asks.
        directory: for its files.
        kubeconfig: of the user; the administrator's unless given.
    """

    def __init__(self, cluster: Cluster, directory: Path, kubeconfig: Path | None = None) -> None:
        self._cluster = cluster
        self._directory = directory
        program = directory / "kubectl-static_route"
        program.write_text(_PLUGIN)
        program.chmod(0o755)
        self._kubectl = Path(str(cluster.kubectl_command()[-1]))
        self._environment = {
            "PATH": f"{directory}:{self._kubectl.parent}:/usr/bin:/bin",
            "PYTHONPATH": str(ROOT),
            "KUBECONFIG": str(kubeconfig or cluster.kubeconfig),
            "KUBECACHEDIR": str(directory / "cache"),
            "HOME": str(directory),
        }

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a verb to its end."""
        argv = [str(self._kubectl), "static-route", *arguments]
        return self._cluster.run_in("cp", argv, check=False, env=self._environment)

    def ask(self, *arguments: str) -> tuple[int, dict[str, Any]]:
        """The exit code of a verb, and what it says as JSON."""
        done = self.run(*arguments, "-o", "json")
        assert done.stdout.startswith("{"), done
        return done.returncode, json.loads(done.stdout)

    def until(self, code: int, *arguments: str) -> dict[str, Any]:
        """Run a verb until it ends with this code; what it says then."""
        deadline = time.monotonic() + 60
        while (found := self.ask(*arguments))[0] != code:
            assert time.monotonic() < deadline, found
            time.sleep(0.5)
        return found[1]


def _object(name: str, destinations: list[str], **spec: object) -> str:
    body = {
        "apiVersion": "networking.digitalocean.com/v1",
        "kind": "StaticRoute",
        "metadata": {"name": name},
        "spec": {"destinations": destinations, **spec},
    }
    return json.dumps(body) + "\n---\n"


@pytest.fixture(scope="module")
def installed(cluster: Cluster) -> Iterator[Cluster]:
    """The cluster with the operator, installed once: these tests change nothing of it."""
    install(cluster)
    cluster.kubectl("rollout", "status", f"deployment/{CONTROLLER}", "-n", NAMESPACE, "--timeout=100s")
    yield cluster
    cluster.kubectl("delete", "-f", manifest(), "--ignore-not-found", check=False)


@pytest.fixture
def operator(installed: Cluster) -> Iterator[Cluster]:
    """The same, without a StaticRoute before and after."""
    yield installed
    installed.kubectl("delete", "staticroutes", "--all", "--ignore-not-found", check=False)


@pytest.fixture
def plugin(operator: Cluster, tmp_path: Path) -> Plugin:
    """The plugin of the administrator."""
    return Plugin(operator, tmp_path)


@pytest.fixture
def shadow(operator: Cluster) -> Iterator[None]:
    """On node2 another program has a more specific route."""
    operator.run_in("node2", ["ip", "route", "add", "192.0.2.0/25", "via", SECOND])
    yield
    operator.run_in("node2", ["ip", "route", "del", "192.0.2.0/25", "via", SECOND])


def test_one_command_finds_each_fault(operator: Cluster, plugin: Plugin, shadow: None) -> None:
    """A wrong gateway, a dead one, a standby and a shadowed route: one command finds each, with node and words."""
    documents = _object("good", ["192.0.2.0/24"], gateway=FIRST)
    documents += _object("late", ["192.0.2.0/24"], gateway=SECOND, priority=200)
    documents += _object("wrong", ["203.0.113.9"], gateway=ELSEWHERE)
    gateways = [{"address": FIRST}, {"address": NOBODY}]
    check = {"type": "ICMP", "interval": "300ms"}
    documents += _object("dead", ["203.0.113.64/26"], gateways=gateways, healthCheck=check)
    operator.kubectl("apply", "-f", "-", input=documents)
    operator.kubectl("wait", "--for=condition=Ready", "staticroute/good", "staticroute/late", "--timeout=60s")

    status = plugin.until(1, "status")
    (problem,) = [each for each in status["problems"] if each["subject"] == "StaticRoute wrong"][:1]
    assert problem["reason"] == "GatewayUnreachable"
    assert f"gateway {ELSEWHERE} is not on any subnet" in problem["message"]
    table = plugin.run("status")
    assert table.returncode == 1
    assert re.search(
        r"^good +10.116.0.5 +1 +3/3 +2\S+Z +Programmed +Programmed +Programmed$", table.stdout, re.MULTILINE
    )
    assert "\033" not in table.stdout

    code, explained = plugin.ask("explain", "192.0.2.9")
    verdicts = {each["node"]: (each["verdict"], each["kernel"]["gateway"]) for each in explained["nodes"]}
    assert code == 1
    assert verdicts == {"node1": ("Follows", FIRST), "node2": ("Shadowed", SECOND), "node3": ("Follows", FIRST)}
    assert "192.0.2.0/25 is more specific than the route of StaticRoute good" in explained["nodes"][1]["cause"]
    late = next(each for each in explained["nodes"][0]["claims"] if each["object"] == "late")
    assert (late["standing"], late["winner"], late["why"]) == (
        "Standby",
        "good",
        "its priority 100 is lower than 200",
    )
    assert plugin.run("explain", "192.0.2.200").returncode == 0

    down = plugin.until(1, "gateways")["gateways"]
    assert {(each["node"], each["state"]) for each in down if each["address"] == NOBODY} == {
        (node, "Down") for node in NODES
    }
    assert all(each["rttSeconds"] > 0 for each in down if each["address"] == FIRST)


def test_diff_tells_what_stands_in_the_way(operator: Cluster, plugin: Plugin) -> None:
    """If another program holds the place of a route, `diff` names the missing route, its node and the reason."""
    operator.run_in("node3", ["ip", "route", "add", "203.0.113.7", "via", SECOND, "proto", "static"])
    try:
        operator.kubectl("apply", "-f", "-", input=_object("taken", ["203.0.113.7"], gateway=FIRST))
        found = plugin.until(1, "diff", "--node", "node3")
        (difference,) = found["nodes"][0]["differences"]
        assert (difference["kind"], difference["object"]) == ("Missing", "taken")
        assert f"another program's route holds 203.0.113.7/32 (via {SECOND} proto static)" in difference["message"]
        assert plugin.run("diff", "--node", "node1").stdout.startswith("No difference: 1 routes on 1 node")
    finally:
        operator.run_in("node3", ["ip", "route", "del", "203.0.113.7", "via", SECOND, "proto", "static"])
    plugin.until(0, "diff")


def test_node_that_can_not_be_asked_is_named(operator: Cluster, plugin: Plugin) -> None:
    """A node whose agent does not run is in no answer as if it were not there: it is named, and the code is 3 or 1."""
    operator.kubectl("apply", "-f", "-", input=_object("good", ["192.0.2.0/24"], gateway=FIRST))
    operator.kubectl("wait", "--for=condition=Ready", "staticroute/good", "--timeout=60s")
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node9", "labels": {"kubernetes.io/os": "linux"}}}
    operator.kubectl("create", "-f", "-", input=json.dumps(node))
    try:
        for arguments in (["diff"], ["explain", "192.0.2.9"], ["gateways"], ["routes", "--all-nodes"], ["log-level"]):
            code, answer = plugin.ask(*arguments)
            assert (code, [each["node"] for each in answer["unanswered"]]) == (3, ["node9"]), (arguments, answer)
        assert "node9 could not be asked: the node is NotReady" in plugin.run("diff").stdout
        problems = plugin.until(1, "status")["problems"]
        assert [(each["subject"], each["reason"]) for each in problems] == [("node node9", "NodeNotReady")]
    finally:
        operator.kubectl("delete", "node", "node9")
        # No kubelet ends the pod that the DaemonSet made for it.
        pending = "--field-selector=status.phase=Pending"
        operator.kubectl("delete", "pods", "-n", NAMESPACE, pending, "--force", "--ignore-not-found")
    plugin.until(0, "diff")


def test_bundle_holds_what_support_needs(operator: Cluster, plugin: Plugin, tmp_path: Path) -> None:
    """The archive has objects, and of each node its routes, its kernel's tables and its log; nothing is missing."""
    operator.kubectl("apply", "-f", "-", input=_object("good", ["192.0.2.0/24"], gateway=FIRST))
    operator.kubectl("wait", "--for=condition=Ready", "staticroute/good", "--timeout=60s")
    file = tmp_path / "bundle.tar.gz"
    done = plugin.run("bundle", "--output-file", str(file))

    assert (done.returncode, done.stdout) == (0, f"{file}\n"), done.stderr
    with tarfile.open(file) as tar:
        found = {each.name.partition("/")[2]: tar.extractfile(each) for each in tar}
        texts = {name: content.read().decode() for name, content in found.items() if content}
    assert texts["missing.txt"] == "nothing\n"
    assert "192.0.2.0/24" in texts["objects/staticroutes.json"]
    for node in NODES:
        assert f"192.0.2.0/24 via {FIRST} dev eth1 table main proto 245" in texts[f"nodes/{node}/snapshot.txt"]
        assert "StaticRoute good: Programmed" in texts[f"nodes/{node}/log.txt"]
        assert json.loads(texts[f"nodes/{node}/summary.json"])["node"] == node


def test_level_of_the_log_is_changed_without_a_restart(operator: Cluster, plugin: Plugin) -> None:
    """An agent tells more for a while, and is the same container as before; so is the controller."""
    assert plugin.ask("log-level", "debug", "--for", "600", "--node", "node1")[1]["processes"][0]["level"] == "debug"
    assert plugin.ask("log-level", "--node", "node2")[1]["processes"][0]["level"] == "info"
    plugin.until(0, "log-level", "debug", "--controller")
    pods = json.loads(operator.kubectl("get", "pods", "-n", NAMESPACE, "-o", "json"))["items"]
    assert all(each["restartCount"] == 0 for pod in pods for each in pod["status"]["containerStatuses"])


@pytest.fixture
def viewer(operator: Cluster, tmp_path: Path) -> Iterator[Plugin]:
    """The plugin of somebody with the rights that the docs name, and no others."""
    text = (ROOT / "docs/commands.md").read_text()
    (block,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    roles = list(yaml.safe_load_all(block))
    account = {"kind": "ServiceAccount", "name": "viewer", "namespace": "default"}
    documents: list[dict[str, Any]] = [
        *roles,
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "viewer", "namespace": "default"}},
    ]
    for role in roles:
        binding = {
            "apiVersion": role["apiVersion"],
            "kind": f"{role['kind']}Binding",
            "metadata": role["metadata"],
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": role["kind"],
                "name": role["metadata"]["name"],
            },
            "subjects": [account],
        }
        documents.append(binding)
    manifest = yaml.safe_dump_all(documents)
    operator.kubectl("apply", "-f", "-", input=manifest)
    token = operator.kubectl("create", "token", "viewer", "--duration=1h").strip()
    kubeconfig = yaml.safe_load(operator.kubectl("config", "view", "--raw"))
    kubeconfig["users"] = [{"name": user["name"], "user": {"token": token}} for user in kubeconfig["users"]]
    file = tmp_path / "viewer.kubeconfig"
    file.write_text(yaml.safe_dump(kubeconfig))
    yield Plugin(operator, tmp_path, file)
    operator.kubectl("delete", "-f", "-", "--ignore-not-found", input=manifest)


def test_rights_of_the_docs_are_enough_and_missing_ones_are_named(operator: Cluster, viewer: Plugin) -> None:
    """With the documented rights every question is answered; without exec the error names the missing right."""
    operator.kubectl("apply", "-f", "-", input=_object("good", ["192.0.2.0/24"], gateway=FIRST))
    operator.kubectl("wait", "--for=condition=Ready", "staticroute/good", "--timeout=60s")
    for arguments in (["status"], ["explain", "192.0.2.9"], ["diff"], ["gateways"], ["routes", "--all-nodes"]):
        assert viewer.run(*arguments).returncode == 0, arguments

    role = json.loads(operator.kubectl("get", "role", "static-route-viewer", "-n", NAMESPACE, "-o", "json"))
    role["rules"] = [rule for rule in role["rules"] if rule["resources"] != ["pods/exec"]]
    operator.kubectl("apply", "-f", "-", input=json.dumps(role))
    deadline = time.monotonic() + 30
    while (done := viewer.run("explain", "192.0.2.9")).returncode == 0:
        assert time.monotonic() < deadline
        time.sleep(0.5)
    assert (done.returncode, done.stdout) == (3, "")
    assert (
        'error: you lack the right to create pods/exec in API group "" in the namespace "static-routes"' in done.stderr
    )
    assert viewer.run("status").returncode == 0


def test_plan_of_nodes(plugin: Plugin, operator: Cluster, tmp_path: Path) -> None:
    """`plan --node` is answered by the agents, which know their node and the other objects, and nothing is done."""
    operator.kubectl("apply", "-f", "-", input=_object("other", ["192.0.2.1"], gateway=FIRST, priority=1))
    plugin.until(0, "status")
    file = tmp_path / "plan.yaml"
    file.write_text(_object("nat", ["192.0.2.1", "192.0.2.2"], gateway=SECOND))

    code, answer = plugin.ask("plan", str(file), "--node", "node2", "--node", "node1")

    assert (code, answer["unanswered"]) == (1, [])
    assert [(each["node"], each["complete"], each["summary"]["add"]) for each in answer["nodes"]] == [
        ("node1", True, 1),
        ("node2", True, 1),
    ]
    assert all(each["summary"]["standby"] == 1 for each in answer["nodes"])
    assert operator.run_in("node1", ["ip", "route", "show", "proto", "245"]).stdout.split()[0] == "192.0.2.1"
