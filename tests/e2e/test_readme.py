"""Every step of the retired operator's README, on three real kubelets, with what it promises."""

import json
import re

import pytest
import yaml

from tests.e2e.conftest import NODES, ROOT, SITES, everywhere, own_routes
from tests.lab.cluster import Cluster
from tests.lab.release import NAMESPACE, manifest

PLACEHOLDER = re.compile("<[A-Z_]+>")
GATEWAYS = {"10.116.0.5": "198.51.100.5", "10.116.0.12": "198.51.100.12"}
FIRST, SECOND = GATEWAYS


def example(name: str, gateway: str = FIRST) -> str:
    """An example manifest with its placeholder replaced, as the README asks."""
    return PLACEHOLDER.sub(gateway, (ROOT / "examples" / name).read_text())


def curl(cluster: Cluster, name: str) -> str:
    """Return a site's answer to the curl-test pod: the address that called it."""
    resolve = f"{name}:80:{SITES[name]}"
    return cluster.kubectl(
        "exec", "curl-test", "--", "curl", "-s", "-m", "5", "--resolve", resolve, f"{name}/ip"
    ).strip()


@pytest.fixture
def curl_test(operator: Cluster) -> Cluster:
    """The cluster with the operator and the curl-test pod of the examples."""
    operator.kubectl("apply", "-f", ROOT / "examples/curl-test.yaml")
    operator.kubectl("wait", "--for=condition=Ready", "pod/curl-test", "--timeout=60s")
    return operator


def test_pods_run_with_their_label(operator: Cluster) -> None:
    """`kubectl get pods -l name=…` shows one Running pod per node, and the agents log without a traceback."""
    label = "name=k8s-staticroute-operator"
    pods = json.loads(operator.kubectl("get", "pods", "-l", label, "-n", NAMESPACE, "-o", "json"))["items"]
    assert sorted(pod["spec"]["nodeName"] for pod in pods) == list(NODES)
    assert {pod["status"]["phase"] for pod in pods} == {"Running"}
    assert all(status["restartCount"] == 0 for pod in pods for status in pod["status"]["containerStatuses"])
    log = operator.kubectl("logs", "ds/k8s-staticroute-operator", "-n", NAMESPACE)
    assert "started" in log
    assert "Traceback" not in log
    assert "ERROR" not in log


def test_examples(curl_test: Cluster) -> None:
    """Both examples route their sites on every node, show up in kubectl and `route -n`, and curl-test goes that way."""
    cluster = curl_test
    node = json.loads(cluster.kubectl("get", "pod", "curl-test", "-o", "json"))["spec"]["nodeName"]
    own = f"198.51.100.{20 + int(node.removeprefix('node'))}"
    assert curl(cluster, "ifconfig.me") == own
    for name in ("static-route-ifconfig.me.yaml", "static-route-ipinfo.io.yaml"):
        cluster.kubectl("apply", "-f", "-", input=example(name))
    everywhere(cluster, dict.fromkeys(SITES.values(), FIRST))
    table = cluster.kubectl("get", "staticroutes", "-o", "wide").splitlines()
    assert table[0].split()[:3] == ["NAME", "DESTINATIONS", "GATEWAY"]
    assert table[0].split()[-1] == "AGE"
    rows = {row.split()[0]: row.split() for row in table[1:]}
    assert rows["static-route-ifconfig.me"][1:3] == ['["34.160.111.145"]', FIRST]
    assert rows["static-route-ipinfo.io"][1:3] == ['["34.117.59.81"]', FIRST]
    for each in NODES:
        shown = cluster.run_in(each, ["route", "-n"]).stdout
        for address in SITES.values():
            assert re.search(
                rf"^{re.escape(address)}\s+{re.escape(FIRST)}\s+255\.255\.255\.255\s+UGH\s+0\s", shown, re.MULTILINE
            )
    for name in SITES:
        assert curl(cluster, name) == GATEWAYS[FIRST]
    for name in ("static-route-ifconfig.me.yaml", "static-route-ipinfo.io.yaml"):
        cluster.kubectl("delete", "-f", "-", input=example(name))
    everywhere(cluster, {})
    assert curl(cluster, "ifconfig.me") == own


def test_failover_by_delete_and_apply(curl_test: Cluster) -> None:
    """The README's failover works: the primary deleted, the secondary applied, without the wait it asks for."""
    cluster = curl_test
    cluster.kubectl("apply", "-f", "-", input=example("static-route-ifconfig.me.yaml").replace("name: s", "name: a-s"))
    everywhere(cluster, {SITES["ifconfig.me"]: FIRST})
    assert curl(cluster, "ifconfig.me") == GATEWAYS[FIRST]
    cluster.kubectl("delete", "staticroute", "a-static-route-ifconfig.me")
    secondary = example("static-route-ifconfig.me.yaml", SECOND).replace("name: s", "name: b-s")
    cluster.kubectl("apply", "-f", "-", input=secondary)
    everywhere(cluster, {SITES["ifconfig.me"]: SECOND})
    assert curl(cluster, "ifconfig.me") == GATEWAYS[SECOND]


def test_cleaning_up(operator: Cluster) -> None:
    """`kubectl delete -f` of the release manifest removes the operator, its namespace, its objects and every route."""
    operator.kubectl("apply", "-f", "-", input=example("static-route-ifconfig.me.yaml"))
    everywhere(operator, {SITES["ifconfig.me"]: FIRST})
    operator.kubectl("delete", "-f", manifest())
    assert all(own_routes(operator, node) == {} for node in NODES)
    assert NAMESPACE not in operator.kubectl("get", "namespaces", "-o", "name")
    assert "staticroutes" not in operator.kubectl("get", "crd", "-o", "name")


def test_kustomize_base_is_the_release(cluster: Cluster) -> None:
    """`kubectl kustomize deploy` gives the same objects as the release manifest."""

    def objects(text: str) -> dict[tuple[str, str, str], object]:
        documents = yaml.safe_load_all(text)
        return {
            (each["kind"], each["metadata"]["name"], each["metadata"].get("namespace", "")): each for each in documents
        }

    assert objects(cluster.kubectl("kustomize", ROOT / "deploy")) == objects(manifest().read_text())
