"""The Helm chart: the same objects as the release manifest, and what install, upgrade and uninstall do to routes."""

import contextlib
import dataclasses
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from static_route_operator.settings import ClusterSettings, ControllerSettings, ProcessSettings, environment_variable
from tests.e2e.conftest import NODES, OBJECT, ROOT, ROUTES, everywhere, install, own_routes
from tests.lab import binaries, monitoring
from tests.lab.cluster import Cluster
from tests.lab.commands import Argument, run
from tests.lab.errors import LabError
from tests.lab.network import node_address
from tests.lab.release import NAMESPACE, manifest

CHART = ROOT / "charts/k8s-staticroute-operator"
RELEASE = "static-routes"

Objects = dict[tuple[str, str, str], dict[str, Any]]
Helm = Callable[..., str]


def objects(documents: str) -> Objects:
    """Documents by kind, namespace and name; without what tells Helm to keep them."""
    found: Objects = {}
    for document in filter(None, yaml.safe_load_all(documents)):
        metadata = document["metadata"]
        if metadata.get("annotations", {}).pop("helm.sh/resource-policy", None) and not metadata["annotations"]:
            del metadata["annotations"]
        key = (document["kind"], metadata.get("namespace", ""), metadata["name"])
        assert key not in found
        found[key] = document
    return found


def _helm() -> Path:
    """Return the path of Helm, which `make e2e` builds."""
    return binaries.helm().require() / "helm"


def rendered(*arguments: Argument) -> str:
    """Return the chart's output for these values."""
    return run([_helm(), "template", RELEASE, CHART, *arguments]).stdout


def containers(*arguments: Argument) -> dict[str, dict[str, Any]]:
    """The container of each workload, by kind."""
    return {
        kind: document["spec"]["template"]["spec"]["containers"][0]
        for (kind, *_), document in objects(rendered(*arguments)).items()
        if kind in {"DaemonSet", "Deployment"}
    }


def test_chart_is_the_manifest() -> None:
    """With its default values the chart gives just the objects of the release manifest."""
    assert objects(rendered()) == objects(manifest().read_text())


def test_monitored_chart_is_the_component(cluster: Cluster) -> None:
    """With monitoring it gives just the objects of the kustomize base with the monitoring component."""
    kustomized = objects(cluster.kubectl("kustomize", ROOT / "examples/monitored"))

    assert {kind for kind, *_ in kustomized} >= {"PodMonitor", "PrometheusRule", "ConfigMap"}
    assert objects(rendered("--set", "monitoring.enabled=true")) == kustomized


def test_base_is_the_manifest(cluster: Cluster) -> None:
    """`kubectl apply -k deploy` is the same as the release manifest, but for the image that a release names."""
    base = objects(cluster.kubectl("kustomize", ROOT / "deploy"))
    released = objects(manifest().read_text())
    for document in (*base.values(), *released.values()):
        if document["kind"] in {"DaemonSet", "Deployment"}:
            del document["spec"]["template"]["spec"]["containers"][0]["image"]

    assert base == released


@pytest.mark.parametrize(
    ("part", "kind", "settings"),
    [("agent", "DaemonSet", ClusterSettings), ("controller", "Deployment", ControllerSettings)],
)
def test_every_setting_is_a_value(part: str, kind: str, settings: type[ProcessSettings]) -> None:
    """Each setting can be given as a value and reaches the program; the probes follow the port."""
    values = yaml.safe_load((CHART / "values.yaml").read_text())[part]["settings"]
    fields = {each.name.replace("_", ""): each for each in dataclasses.fields(settings)}
    given, expected = [], {}
    for name in values:
        each = fields[name.lower()]
        choices = each.metadata["type"]
        value = choices.choices[0] if isinstance(choices, click.Choice) else 9300 if each.name == "http_port" else 70
        flag = "--set-string" if isinstance(each.default, str) else "--set"
        given += [flag, f"{part}.settings.{name}={value if not isinstance(each.default, bool) else 'true'}"]
        expected[environment_variable(each.name, each.metadata["env"])] = (
            "true" if isinstance(each.default, bool) else str(value)
        )
    assert {"httpPort", "logLevel", "listSeconds"} <= values.keys()

    container = containers(*given)[kind]
    assert {each["name"]: each["value"] for each in container["env"] if each["name"] in expected} == expected
    ports = {container[probe]["httpGet"]["port"] for probe in ("livenessProbe", "readinessProbe")}
    ports |= {each["containerPort"] for each in container.get("ports", ())}
    assert ports - {"http"} == {9300}


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("agent.setings.logLevel=debug", "setings"),
        ("agent.settings.logLevel=loud", "logLevel"),
        ("agent.settings.httpPort=0", "httpPort"),
        ("image.pullPolicy=Sometimes", "pullPolicy"),
    ],
)
def test_wrong_value_is_refused(value: str, words: str) -> None:
    """A value that is misspelt, or out of range, is named by Helm before anything is installed."""
    with pytest.raises(LabError, match=words):
        rendered("--set", value)


@pytest.mark.parametrize(
    ("values", "image"),
    [
        ("image.tag=v2", "registry:5000/sro:v2"),
        ("image.tag=v2,image.digest=sha256:abc", "registry:5000/sro:v2@sha256:abc"),
        ("image.tag=,image.digest=sha256:abc", "registry:5000/sro@sha256:abc"),
    ],
)
def test_image_is_as_given(values: str, image: str) -> None:
    """An image can come from another registry, and be pulled by its digest."""
    found = containers("--set", f"image.repository=registry:5000/sro,{values}")

    assert {kind: container["image"] for kind, container in found.items()} == {"DaemonSet": image, "Deployment": image}


@pytest.fixture
def helmed(cluster: Cluster, tmp_path: Path) -> Iterator[Helm]:
    """Helm as the cluster's administrator; whatever it leaves is removed."""
    directories = [f"HELM_{kind}_HOME={tmp_path}/{kind.lower()}" for kind in ("CACHE", "CONFIG", "DATA")]

    def helmed(*arguments: Argument) -> str:
        argv = ["env", f"KUBECONFIG={cluster.kubeconfig}", *directories, _helm(), *arguments]
        return cluster.run_in("cp", argv, timeout=200).stdout

    try:
        yield helmed
    finally:
        cluster.kubectl("delete", "staticroutes", "--all", "--ignore-not-found", check=False)
        cluster.kubectl("delete", "secret", "-l", "owner=helm", check=False)
        cluster.kubectl("delete", "-f", manifest(), "--ignore-not-found", check=False)
        for node in NODES:
            cluster.run_in(node, ["ip", "route", "flush", "proto", "245"], check=False)


def ready(cluster: Cluster) -> None:
    """Wait until the operator runs on every node."""
    cluster.kubectl("rollout", "status", "daemonset/k8s-staticroute-operator", "-n", NAMESPACE, "--timeout=100s")


def test_install_upgrade_uninstall(cluster: Cluster, helmed: Helm, tmp_path: Path) -> None:
    """An upgrade moves no route and brings new fields of the CRDs; an uninstall keeps StaticRoutes, not routes."""
    helmed("install", RELEASE, CHART)
    ready(cluster)
    cluster.kubectl("apply", "-f", "-", input=json.dumps(OBJECT))
    everywhere(cluster, ROUTES)

    with watched(cluster, tmp_path) as changes:
        helmed("upgrade", RELEASE, next_version(tmp_path), "--set", "agent.settings.logLevel=debug")
        ready(cluster)
    assert changes == []
    everywhere(cluster, ROUTES)
    assert "a field of tomorrow" in cluster.kubectl("explain", "staticroute.spec.tomorrow")

    helmed("uninstall", RELEASE, "--wait")
    everywhere(cluster, {}, seconds=30)
    assert cluster.kubectl("get", "staticroutes", "-o", "jsonpath={.items[*].metadata.name}") == "sites"

    helmed("install", RELEASE, CHART)
    ready(cluster)
    everywhere(cluster, ROUTES)


@contextlib.contextmanager
def watched(cluster: Cluster, directory: Path) -> Iterator[list[str]]:
    """Watch the routes of all nodes; at the end the list has what was done to ours."""
    changes: list[str] = []
    with contextlib.ExitStack() as stack:
        logs = [stack.enter_context((directory / node).open("w+")) for node in NODES]
        monitors = [
            cluster.popen_in(node, ["ip", "monitor", "route"], stdout=log)
            for node, log in zip(NODES, logs, strict=True)
        ]
        try:
            yield changes
        finally:
            for monitor in monitors:
                monitor.kill()
                monitor.wait()
        for log in logs:
            log.seek(0)
            changes += [line for line in log if "proto 245" in line]


def next_version(directory: Path) -> Path:
    """The chart of a next version, whose StaticRoutes have one more field."""
    chart = Path(shutil.copytree(CHART, directory / "chart"))
    crd = chart / "templates/crd.yaml"
    head, mark, tail = crd.read_text().partition("                destinations:\n")
    assert mark
    indent = 16 * " "
    field = f"{indent}tomorrow:\n{indent}  type: string\n{indent}  description: a field of tomorrow\n"
    crd.write_text(head + field + mark + tail)
    metadata = yaml.safe_load((chart / "Chart.yaml").read_text())
    (chart / "Chart.yaml").write_text(yaml.safe_dump({**metadata, "version": "99.0.0"}))
    return chart


@pytest.fixture
def prometheus_operator(cluster: Cluster) -> Iterator[None]:
    """The kinds of the Prometheus Operator, without it: any object of them is taken."""
    documents = monitoring.definitions()
    cluster.kubectl("apply", "-f", "-", input=documents)
    cluster.kubectl("wait", "--for=condition=Established", "-f", "-", input=documents)
    try:
        yield
    finally:
        cluster.kubectl("delete", "-f", "-", input=documents)


@pytest.mark.usefixtures("prometheus_operator")
def test_metrics_are_open_to_prometheus(cluster: Cluster, helmed: Helm) -> None:
    """With monitoring the pods serve metrics at the nodes' addresses, under the ports' names, and nothing else."""
    helmed("install", RELEASE, CHART, "--set", "monitoring.enabled=true,monitoring.labels.release=prometheus")
    ready(cluster)

    for number in range(1, len(NODES) + 1):
        url = f"http://{node_address(number)}:9245"
        assert "static_route_operator_synced 1.0" in cluster.run_in("cp", ["curl", "-sf", f"{url}/metrics"]).stdout
        status = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", f"{url}/routes"]
        assert cluster.run_in("cp", status).stdout == "404"
    for monitor in ("k8s-staticroute-operator", "k8s-staticroute-operator-controller"):
        found = json.loads(cluster.kubectl("get", "podmonitor", monitor, "-n", NAMESPACE, "-o", "json"))
        assert found["metadata"]["labels"]["release"] == "prometheus"
        (endpoint,) = found["spec"]["podMetricsEndpoints"]
        selector = ",".join(f"{key}={value}" for key, value in found["spec"]["selector"]["matchLabels"].items())
        pods = json.loads(cluster.kubectl("get", "pods", "-n", NAMESPACE, "-l", selector, "-o", "json"))["items"]
        assert pods
        for pod in pods:
            (container,) = pod["spec"]["containers"]
            assert endpoint["port"] in {port["name"] for port in container["ports"]}


def test_taken_over_from_the_manifest(cluster: Cluster, helmed: Helm) -> None:
    """A user of the manifest moves to the chart in one command, and no route is lost."""
    install(cluster)
    cluster.kubectl("apply", "-f", "-", input=json.dumps(OBJECT))
    everywhere(cluster, ROUTES)

    helmed("install", RELEASE, CHART, "--take-ownership", "--force-conflicts")
    assert {node: own_routes(cluster, node) for node in NODES} == dict.fromkeys(NODES, ROUTES)
    ready(cluster)
    everywhere(cluster, ROUTES)
    assert RELEASE in helmed("list")
