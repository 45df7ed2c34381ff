"""The limits of stolen tokens, on the API servers of the oldest and the newest promised Kubernetes.

Each test does what the program itself does, which must work, and then what a thief would do, which must not.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from static_route_operator.api.clusteraddresses import LARGEST_DATA, NAME
from tests.cluster.agent import NAMESPACE, add_pod, eventually, pod_token
from tests.cluster.controller import SERVICE_ACCOUNT as CONTROLLER
from tests.lab.cluster import Cluster
from tests.lab.commands import Argument, run
from tests.lab.release import manifest

NAT = "/apis/networking.digitalocean.com/v1/staticroutes/nat"
STATUS = "/status"
GROUP = "networking.digitalocean.com"
RETIRED = "kopf.zalando.org/KopfFinalizerMarker"
KUBECTL_MANAGER = "--field-manager=static-route-operator"


@dataclass
class Holder:
    """The holder of a token.

    Attributes:
        cluster: an API server.
        token: of a ServiceAccount.
        config: file for the kubeconfig.
    """

    cluster: Cluster
    token: str
    config: Path

    def __post_init__(self) -> None:
        raw = json.loads(self.cluster.kubectl("config", "view", "--raw", "--flatten", "-o", "json"))
        self.server = raw["clusters"][0]["cluster"]["server"]
        raw["users"] = [{"name": each["name"], "user": {"token": self.token}} for each in raw["users"]]
        self.config.write_text(json.dumps(raw))

    def __call__(self, *arguments: str, stdin: object = None) -> str:
        """Return the output and the errors of a kubectl command."""
        command = self.cluster.kubectl_command(*arguments, "--kubeconfig", str(self.config))
        return _run(command, stdin)

    def patch(self, path: str, patch: object, kind: str = "merge-patch+json") -> str:
        """Return the answer to a patch; kubectl would get the object first, which the token may not."""
        argv = ["curl", "-sk", "-X", "PATCH", "-H", f"Authorization: Bearer {self.token}"]
        argv += ["-H", f"Content-Type: application/{kind}", "--data-binary", "@-", f"{self.server}{path}"]
        return _run(self.cluster.administer_command(*argv), patch)


def _run(command: list[Argument], stdin: object) -> str:
    done = run(command, stdin=json.dumps(stdin) if stdin is not None else "", check=False)
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def cluster(api_server: Cluster) -> Cluster:
    """Apply the release manifest, with a Node and a pod of an agent on it."""
    run(api_server.kubectl_command("apply", "-f", manifest()))
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node1"}}
    api_server.kubectl("apply", "-f", "-", input=json.dumps(node))
    add_pod(api_server, "node1")
    return api_server


@pytest.fixture
def agent(cluster: Cluster, tmp_path: Path) -> Holder:
    """Return the holder of the token of the agent on node1, once the policy is in force."""
    holder = Holder(cluster, pod_token(cluster, "node1"), tmp_path / "agent.kubeconfig")
    eventually("the policy is in force", lambda: "may write only" in _report(holder, name="node2"))
    return holder


@pytest.fixture
def controller(cluster: Cluster, tmp_path: Path) -> Iterator[Holder]:
    """Return the holder of the token of the controller, once the policies are in force."""
    token = cluster.kubectl("create", "token", CONTROLLER, "-n", NAMESPACE).strip()
    holder = Holder(cluster, token, tmp_path / "controller.kubeconfig")
    cluster.kubectl("apply", "-f", "-", input=json.dumps(_route()))
    label = {"metadata": {"labels": {"team": "red"}}}
    try:
        eventually("the policies are in force", lambda: "may not change labels" in holder.patch(NAT, label))
        yield holder
    finally:
        cluster.kubectl("patch", "sr", "nat", "--type=merge", "-p", '{"metadata": {"finalizers": null}}', check=False)
        cluster.kubectl("delete", "staticroutes", "--all")


def _route(**metadata: Any) -> dict[str, Any]:
    return {
        "apiVersion": f"{GROUP}/v1",
        "kind": "StaticRoute",
        "metadata": {"name": "nat", **metadata},
        "spec": {"destinations": ["203.0.113.1"], "gateway": "10.116.0.5"},
    }


def _report(holder: Holder, name: str = "node1", manager: str = KUBECTL_MANAGER, **metadata: Any) -> str:
    state = {"apiVersion": f"{GROUP}/v1", "kind": "NodeRouteState", "metadata": {"name": name, **metadata}}
    state["status"] = {"summary": "0/0"}
    return holder("apply", "--server-side", "--validate=false", manager, "-f", "-", stdin=state)


def _owner(cluster: Cluster, **changes: object) -> dict[str, Any]:
    uid = cluster.kubectl("get", "node", "node1", "-o", "jsonpath={.metadata.uid}")
    return {"apiVersion": "v1", "kind": "Node", "name": "node1", "uid": uid} | changes


def test_agent_reports_with_its_node_as_owner(cluster: Cluster, agent: Holder) -> None:
    """The report of the agent itself passes, also when an administrator has labelled the object."""
    assert "serverside-applied" in _report(agent, ownerReferences=[_owner(cluster)])
    cluster.kubectl("label", "nrs", "node1", "team=blue")
    cluster.kubectl("patch", "nrs", "node1", "--type=merge", "-p", '{"metadata": {"finalizers": ["example.org/x"]}}')
    try:
        assert "serverside-applied" in _report(agent, ownerReferences=[_owner(cluster)])
    finally:
        cluster.kubectl("patch", "nrs", "node1", "--type=merge", "-p", '{"metadata": {"finalizers": null}}')
        cluster.kubectl("delete", "nrs", "node1")


@pytest.mark.parametrize("exists", [False, True], ids=["new object", "existing object"])
@pytest.mark.parametrize(
    ("metadata", "refusal"),
    [
        ({"finalizers": ["example.org/never"]}, "may not add a finalizer"),
        ({"labels": {"team": "red"}}, "may not set labels"),
        ({"annotations": {"large": "x" * 100_000}}, "may not set annotations"),
        ({"ownerReferences": [{"kind": "Namespace", "name": "static-routes"}]}, "no owner but its own Node"),
        ({"ownerReferences": [{"name": "node2"}]}, "no owner but its own Node"),
        ({"ownerReferences": [{"uid": "00000000-0000-0000-0000-000000000000"}]}, "no owner but its own Node"),
        ({"ownerReferences": [{"blockOwnerDeletion": True}]}, ""),
        ({"ownerReferences": [{"controller": True}]}, "no owner that it keeps"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_agent_can_not_block_the_removal_of_its_report(
    cluster: Cluster, agent: Holder, metadata: dict[str, Any], refusal: str, exists: bool
) -> None:
    """An agent's token sets no finalizer, label, annotation or foreign owner on its report, new or not."""
    if exists:
        assert "serverside-applied" in _report(agent)
    owners = metadata.get("ownerReferences")
    if owners:
        metadata = {"ownerReferences": [_owner(cluster, **each) for each in owners]}
    answer = _report(agent, **metadata)
    try:
        assert "forbidden" in answer
        assert refusal in answer
    finally:
        cluster.kubectl("delete", "nrs", "--all", "--wait=false")


def test_agent_can_not_grow_its_report_by_names_of_writers(cluster: Cluster, agent: Holder) -> None:
    """A report has ten writers at the most, since each name adds an entry to its metadata."""
    try:
        answers = [_report(agent, manager=f"--field-manager=red{number}") for number in range(11)]
        assert all("serverside-applied" in each for each in answers[:10]), answers
        assert "ever more names" in answers[10]
    finally:
        cluster.kubectl("delete", "nrs", "--all")


def test_agent_reads_one_config_map(cluster: Cluster, agent: Holder) -> None:
    """The agents' token reads the ConfigMap with the cluster's addresses by its path, and no other ConfigMap."""
    cluster.kubectl("create", "configmap", NAME, "-n", "default")
    cluster.kubectl("create", "configmap", NAME, "-n", NAMESPACE)
    try:
        assert NAME in agent("get", "configmap", NAME, "-n", NAMESPACE, "-o", "name")
        watch = f"/api/v1/namespaces/{{}}/configmaps?watch=1&timeoutSeconds=1&fieldSelector=metadata.name={NAME}"
        assert '"ADDED"' in agent("get", "--raw", watch.format(NAMESPACE))
        for refused in (
            agent("get", "configmap", NAME, "-n", "default"),
            agent("get", "configmaps", "-n", NAMESPACE),
            agent("get", "configmaps", "-A", f"--field-selector=metadata.name={NAME}"),
            agent("get", "--raw", watch.format("default")),
            agent("delete", "configmap", NAME, "-n", NAMESPACE),
            agent("patch", "configmap", NAME, "-n", NAMESPACE, "--type=merge", "-p", '{"data": {"nodes": ""}}'),
        ):
            assert "orbidden" in refused, refused
    finally:
        for namespace in ("default", NAMESPACE):
            cluster.kubectl("delete", "configmap", NAME, "-n", namespace)


def test_controller_writes_statuses(controller: Holder) -> None:
    """The status of the controller itself passes."""
    condition = {"type": "Ready", "status": "True", "reason": "AllNodesReady", "message": "3 of 3 nodes ready"}
    condition["lastTransitionTime"] = "2026-01-01T00:00:00Z"
    status = {"observedGeneration": 1, "summary": "3/3", "conditions": [condition], "failingNodes": []}
    assert '"summary": "3/3"' in controller.patch(NAT + STATUS, {"status": status})


@pytest.mark.parametrize(
    ("patch", "subresource", "refusal"),
    [
        ({"spec": {"destinations": ["8.8.8.8"]}}, "", "may not change the spec"),
        ({"spec": {"gateway": "10.116.0.66"}}, "", "may not change the spec"),
        ({"spec": {"table": 100}}, "", "may not change the spec"),
        ({"metadata": {"labels": {"team": "red"}}}, "", "may not change labels"),
        ({"metadata": {"annotations": {"large": "x" * 100_000}}}, "", "may not change labels"),
        (
            {"metadata": {"ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": "n", "uid": "u"}]}},
            "",
            "may not change labels",
        ),
        ({"metadata": {"finalizers": ["example.org/never"]}}, "", "only remove the finalizer"),
        ({"status": {"other": "x" * 1000}}, STATUS, "other fields of a status"),
        ({"status": {"summary": "x" * 1000}}, STATUS, "status.summary: Too long"),
        ({"status": {"gateway": "x" * 5000}}, STATUS, "status.gateway: Too long"),
        (
            {"status": {"failingNodes": [{"node": "n", "reason": "r", "message": "x" * 5000}]}},
            STATUS,
            "message: Too long",
        ),
        ({"status": {"gateways": [{"address": "10.0.0.1"}] * 100}}, STATUS, "status.gateways: Too many"),
        (
            {
                "status": {
                    "conditions": [
                        {
                            "type": f"T{number}",
                            "status": "True",
                            "reason": "R",
                            "message": "m",
                            "lastTransitionTime": "2026-01-01T00:00:00Z",
                        }
                        for number in range(100)
                    ]
                }
            },
            STATUS,
            "status.conditions: Too many",
        ),
    ],
)
def test_controller_changes_nothing_but_bounded_statuses(
    controller: Holder, patch: dict[str, Any], subresource: str, refusal: str
) -> None:
    """The controller's token can't change the spec or metadata of a StaticRoute, or write a status of any size."""
    assert refusal in controller.patch(NAT + subresource, patch)


def test_policy_is_cheap_for_the_largest_object(cluster: Cluster, controller: Holder) -> None:
    """The API server evaluates the policy for an object of 20,000 destinations within its limits of cost."""
    large = _route()
    large["spec"]["destinations"] = [f"21.{n // 65536}.{n // 256 % 256}.{n % 256}" for n in range(20_000)]
    cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", input=json.dumps(large))
    assert '"summary": "0/1"' in controller.patch(NAT + STATUS, {"status": {"summary": "0/1"}})
    assert "generation" in controller.patch(NAT, {})
    large["spec"]["destinations"][19_999] = "8.8.8.8"
    assert "may not change the spec" in controller.patch(NAT, {"spec": large["spec"]})


def test_controller_can_not_grow_an_object_by_names_of_writers(controller: Holder) -> None:
    """An object that the controller writes has a bounded number of writers, each of which adds to its metadata."""
    answers = []
    for number in range(22):
        body = {"apiVersion": f"{GROUP}/v1", "kind": "StaticRoute", "status": {"routes": 1}}
        path = f"{NAT}{STATUS}?fieldManager=red{number}&force=true"
        answers.append(controller.patch(path, body, "apply-patch+yaml"))
    assert '"routes": 1' in answers[0]
    assert "ever more names" in answers[-1]


def test_controller_removes_one_finalizer(cluster: Cluster, controller: Holder) -> None:
    """The controller removes the retired operator's finalizer from an object that is being deleted, and no other."""
    mine = "example.org/mine"
    both = json.dumps({"metadata": {"finalizers": [mine, RETIRED]}})
    cluster.kubectl("patch", "sr", "nat", "--type=merge", "-p", both)
    remove = {"metadata": {"finalizers": [mine]}}
    assert "only remove the finalizer" in controller.patch(NAT, remove), "before the deletion"
    cluster.kubectl("delete", "sr", "nat", "--wait=false")
    assert "only remove the finalizer" in controller.patch(NAT, {"metadata": {"finalizers": [RETIRED]}})
    assert "only remove the finalizer" in controller.patch(NAT, {"metadata": {"finalizers": None}})
    assert mine in (answer := controller.patch(NAT, remove))
    assert RETIRED not in answer


def _event(**changes: Any) -> dict[str, Any]:
    return {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"name": "nat.1", "namespace": "default"},
        "eventTime": "2026-01-01T00:00:00.000000Z",
        "reportingController": "static-route-operator",
        "reportingInstance": "test",
        "action": "RollOut",
        "type": "Warning",
        "reason": "NodesFailing",
        "note": "0 of 3 nodes ready",
        "regarding": {"apiVersion": f"{GROUP}/v1", "kind": "StaticRoute", "name": "nat"},
    } | changes


def _record(holder: Holder, event: dict[str, Any]) -> str:
    return holder("apply", "--server-side", "--force-conflicts", "--validate=false", "-f", "-", stdin=event)


NODE = {"apiVersion": "v1", "kind": "Node", "name": "node1"}


def test_controller_records_events(cluster: Cluster, controller: Holder) -> None:
    """Events of the controller about StaticRoutes pass, and Warnings about Nodes; each may be repeated."""
    try:
        for event in (_event(), _event(regarding=NODE, reason="WrongAddresses")):
            assert "serverside-applied" in _record(controller, event)
            series = {"count": 2, "lastObservedTime": "2026-01-01T00:01:00.000000Z"}
            assert "serverside-applied" in _record(controller, event | {"series": series})
            cluster.kubectl("delete", "events.events.k8s.io", "nat.1", "-n", "default")
    finally:
        cluster.kubectl("delete", "events.events.k8s.io", "nat.1", "-n", "default", "--ignore-not-found")


@pytest.mark.parametrize(
    "changes",
    [
        {"regarding": {"apiVersion": "v1", "kind": "Pod", "namespace": "default", "name": "x"}},
        {"regarding": {"apiVersion": "v1", "kind": "Secret", "namespace": "default", "name": "x"}},
        {"regarding": {"apiVersion": "apps/v1", "kind": "StaticRoute", "name": "x"}},
        {"regarding": NODE, "type": "Normal"},
        {"reportingController": "kubelet"},
        {"metadata": {"name": "nat.1", "namespace": "default", "labels": {"a": "b"}}},
        {"metadata": {"name": "nat.1", "namespace": "default", "finalizers": ["example.org/x"]}},
        {"related": {"apiVersion": "v1", "kind": "Pod", "namespace": "default", "name": "x"}},
    ],
)
def test_controller_records_no_events_of_others(controller: Holder, changes: dict[str, Any]) -> None:
    """The controller's token writes no Event about another kind, or in the name of another program."""
    answer = _record(controller, _event(**changes))
    assert "forbidden" in answer, answer
    assert "controller-events" in answer


def test_controller_overwrites_no_event(cluster: Cluster, controller: Holder) -> None:
    """The controller's token can't overwrite the Event of another program."""
    cluster.kubectl("apply", "--server-side", "-f", "-", input=json.dumps(_event(reportingController="kubelet")))
    try:
        series = {"count": 2, "lastObservedTime": "2026-01-01T00:01:00.000000Z"}
        assert "no Events but its own" in _record(controller, _event(reportingController="kubelet", series=series))
    finally:
        cluster.kubectl("delete", "events.events.k8s.io", "nat.1", "-n", "default")


def _addresses(holder: Holder, name: str = NAME, namespace: str = NAMESPACE, **changes: Any) -> str:
    body = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": namespace, **changes.pop("metadata", {})},
        "data": {"nodes": "10.0.0.1\n"},
    } | changes
    return holder("apply", "--server-side", "--force-conflicts", "--validate=false", "-f", "-", stdin=body)


def test_controller_publishes_addresses_of_a_bounded_size(cluster: Cluster, controller: Holder) -> None:
    """The controller creates and changes its one ConfigMap: lists of addresses, bounded, and nothing else."""
    try:
        assert "serverside-applied" in _addresses(controller), "creates"
        assert "serverside-applied" in _addresses(controller, data={"nodes": "10.0.0.2\n", "pods": ""}), "changes"
        assert "nothing but lists" in _addresses(controller, data={"nodes": "1" * (LARGEST_DATA + 1)})
        assert "nothing but lists" in _addresses(controller, data={"script": "x"})
        assert "nothing but lists" in _addresses(controller, binaryData={"pods": "eHh4"})
        for metadata in ({"labels": {"a": "b"}}, {"finalizers": ["example.org/x"]}, {"annotations": {"a": "b"}}):
            assert "metadata of a ConfigMap" in _addresses(controller, metadata=metadata), metadata
        assert "immutable" in _addresses(controller, immutable=True)
        assert "orbidden" in _addresses(controller, name="other")
        assert "orbidden" in _addresses(controller, namespace="default")
        cluster.kubectl("label", "configmap", NAME, "-n", NAMESPACE, "team=blue")
        cluster.kubectl("patch", "configmap", NAME, "-n", NAMESPACE, "-p", '{"data": {"note": "of an administrator"}}')
        assert "serverside-applied" in _addresses(controller), "beside what an administrator has set"
    finally:
        cluster.kubectl("delete", "configmap", NAME, "-n", NAMESPACE, "--ignore-not-found")
