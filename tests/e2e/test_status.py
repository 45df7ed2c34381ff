"""The controller as users get it: its pod, its rights, and what it says of the examples."""

import json

from tests.e2e.conftest import NODES, SITES, everywhere
from tests.e2e.test_readme import FIRST, example
from tests.lab.cluster import Cluster
from tests.lab.release import NAMESPACE

NAME = "k8s-staticroute-operator-controller"


def test_examples_are_ready(operator: Cluster) -> None:
    """`kubectl wait` for an example succeeds, and `kubectl get sr` shows it on all nodes."""
    operator.kubectl("rollout", "status", f"deployment/{NAME}", "-n", NAMESPACE, "--timeout=100s")
    operator.kubectl("apply", "-f", "-", input=example("static-route-ifconfig.me.yaml"))
    everywhere(operator, {SITES["ifconfig.me"]: FIRST})
    operator.kubectl("wait", "--for=condition=Ready", "staticroute/static-route-ifconfig.me", "--timeout=60s")
    header, line = operator.kubectl("get", "sr").splitlines()
    assert header.split() == ["NAME", "GATEWAY", "ROUTES", "READY", "STATUS", "AGE"]
    assert line.split()[:-1] == ["static-route-ifconfig.me", FIRST, "1", f"{len(NODES)}/{len(NODES)}", "AllNodesReady"]
    (pod,) = json.loads(operator.kubectl("get", "pods", "-n", NAMESPACE, "-l", f"name={NAME}", "-o", "json"))["items"]
    assert pod["status"]["containerStatuses"][0]["restartCount"] == 0
    log = operator.kubectl("logs", f"deployment/{NAME}", "-n", NAMESPACE)
    assert "Traceback" not in log
