"""The controller as a process beside the API server, with the rights that the release manifest gives it and no more."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import yaml

from tests.cluster.agent import NAMESPACE, ROOT, _kubeconfig, eventually
from tests.lab.cluster import Cluster

SERVICE_ACCOUNT = "k8s-staticroute-operator-controller"
USER = f"system:serviceaccount:{NAMESPACE}:{SERVICE_ACCOUNT}"
PORT = 9246

# Kubernetes takes a node for NotReady after 50 s without one. Seconds.
HEARTBEAT = 10.0


class Controller:
    """The controller.

    Args:
        cluster: a bare one.
        server: URL of the API server.
        log: file that its log is appended to.
    """

    def __init__(self, cluster: Cluster, server: str, log: Path) -> None:
        self._cluster = cluster
        self._server = server
        self._log = log
        self._process: subprocess.Popen[str] | None = None
        documents = yaml.safe_load_all((ROOT / "deploy/controller.yaml").read_text())
        rights = [each for each in documents if each["kind"] != "Deployment"]
        cluster.kubectl("apply", "-f", "-", input=yaml.safe_dump_all(rights))

    def start(self) -> None:
        """Start the controller and wait until it has seen all objects."""
        kubeconfig = self._log.with_suffix(".kubeconfig")
        token = self._cluster.kubectl("create", "token", SERVICE_ACCOUNT, "-n", NAMESPACE).strip()
        kubeconfig.write_text(json.dumps(_kubeconfig(self._server, token, self._cluster)))
        command = [sys.executable, "-W", "error", "-m", "static_route_operator", "controller"]
        with self._log.open("a") as log:
            environment = {**os.environ, "KUBECONFIG": str(kubeconfig)}
            self._process = self._cluster.popen_in("cp", command, stderr=log, env=environment)
        eventually(f"the controller is ready\n{self.log()}", self.ready)

    def stop(self) -> int:
        """Ask the controller to end, and wait; return its exit status."""
        assert self._process is not None, "it is not started"
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(10)

    def kill(self) -> None:
        """Kill the controller."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def log(self) -> str:
        """Return the controller's log."""
        return self._log.read_text() if self._log.exists() else ""

    def ready(self) -> bool:
        """Return True once the controller has seen all objects."""
        url = f"http://127.0.0.1:{PORT}/readyz"
        return self._cluster.run_in("cp", ["curl", "-sf", "-m", "5", url], check=False).stdout == "ok\n"


class Kubelets:
    """Heartbeats of nodes that have no kubelet: without them Kubernetes takes a bare node for NotReady.

    Args:
        cluster: a bare one.
        names: the nodes.
    """

    def __init__(self, cluster: Cluster, names: Sequence[str]) -> None:
        self._cluster = cluster
        self._names = names
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)

    def start(self) -> None:
        """Send one heartbeat, and start sending them periodically."""
        for name in self._names:
            self.report(name)
        self._thread.start()

    def stop(self) -> None:
        """Stop the heartbeats."""
        self._end.set()
        self._thread.join()

    def report(self, name: str, ready: str = "True") -> None:
        """Send one heartbeat: this node is Ready, or is not."""
        condition = {"type": "Ready", "status": ready, "reason": "Test", "message": ""}
        condition["lastHeartbeatTime"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        patch = json.dumps({"status": {"conditions": [condition]}})
        self._cluster.kubectl("patch", "node", name, "--subresource=status", "-p", patch)

    def _beat(self) -> None:
        while not self._end.wait(HEARTBEAT):
            for name in self._names:
                self.report(name)
