"""An agent as a process in a node's namespace, with the rights that the release manifest gives it and no more."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.lab.cluster import Cluster

SERVICE_ACCOUNT = "k8s-staticroute-operator"
NAMESPACE = "static-routes"
PORT = 9245
ROOT = Path(__file__).resolve().parents[2]


def eventually(what: str, condition: Callable[[], object], seconds: float = 20) -> None:
    """Wait until a condition holds.

    Raises:
        AssertionError: it did not in time.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.02)


def everywhere(agents: Sequence["Agent"], routes: Mapping[str, str], seconds: float = 20) -> None:
    """Wait until the kernels of agents' nodes hold just these routes of the operator: gateway by destination.

    Raises:
        AssertionError: one does not in time, or its agent has died; with what it said.
    """
    for agent in agents:
        deadline = time.monotonic() + seconds
        while (found := agent.routes()) != routes:
            assert agent.alive, agent.log()
            differing = dict(list(found.items() ^ routes.items())[:5])
            assert time.monotonic() < deadline, f"not within {seconds} s, differing: {differing}\n{agent.log()}"
            time.sleep(0.02)


def confirmed(agents: Sequence["Agent"], routes: Mapping[str, str], seconds: float = 20) -> None:
    """Wait until these are the routes everywhere, and confirmed: a failure from then on rolls none back.

    Raises:
        AssertionError: see `everywhere`; or a change stays unconfirmed.
    """
    everywhere(agents, routes, seconds)
    for agent in agents:
        agent.wait_for_confirmation(len(routes))
    everywhere(agents, routes, seconds)


def install(cluster: Cluster, nodes: int) -> None:
    """Give a bare cluster what agents need: CRDs, rights, Node objects and a pod on each, but no DaemonSet."""
    for file in ("namespace", "crd", "crd-noderoutestates", "serviceaccount", "rbac", "confinement"):
        cluster.kubectl("apply", "-f", ROOT / f"deploy/{file}.yaml")
    account = "k8s-staticroute-operator"
    eventually("the ServiceAccount is there", lambda: account in cluster.kubectl("get", "sa", "-n", NAMESPACE))
    for number in range(1, nodes + 1):
        node = {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": f"node{number}", "labels": {"number": str(number), "kubernetes.io/os": "linux"}},
        }
        cluster.kubectl("apply", "-f", "-", input=json.dumps(node))
        add_pod(cluster, f"node{number}")
    for plural in ("staticroutes", "noderoutestates"):
        crd = f"crd/{plural}.networking.digitalocean.com"
        cluster.kubectl("wait", "--for=condition=Established", crd, "--timeout=30s")


def add_pod(cluster: Cluster, node: str) -> None:
    """Make a pod on a node that tokens can be bound to, as an agent's is; no kubelet runs it."""
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": f"agent-{node}", "namespace": NAMESPACE},
        "spec": {
            "nodeName": node,
            "serviceAccountName": SERVICE_ACCOUNT,
            "automountServiceAccountToken": False,
            "tolerations": [{"operator": "Exists"}],
            "containers": [{"name": "agent", "image": "agent"}],
        },
    }
    cluster.kubectl("apply", "-f", "-", input=json.dumps(pod))


def pod_token(cluster: Cluster, node: str) -> str:
    """Return a token of the agents' account for a pod on a node: valid as long as that pod exists."""
    bound = ["--bound-object-kind=Pod", f"--bound-object-name=agent-{node}"]
    return cluster.kubectl("create", "token", SERVICE_ACCOUNT, "-n", NAMESPACE, *bound).strip()


class Agent:
    """One agent.

    Args:
        cluster: a bare one.
        node: number of the node.
        server: URL of the API server as the agent sees it.
        log: file that its log is appended to.
    """

    def __init__(self, cluster: Cluster, node: int, server: str, log: Path) -> None:
        self._cluster = cluster
        self._node = node
        self._server = server
        self._log = log
        self._process: subprocess.Popen[str] | None = None

    @property
    def state_dir(self) -> Path:
        """Return the directory of the agent's state."""
        return self._log.with_suffix(".state")

    @property
    def pid(self) -> int:
        """Return the agent's process id."""
        assert self._process is not None, "it is not started"
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Return True while the agent's process runs."""
        return self._process is not None and self._process.poll() is None

    def start(self, *options: str, log_in: bool = True) -> None:
        """Start the agent.

        Args:
            options: of the command; there is no DaemonSet to ask about at its end unless they name one.
            log_in: with a new token; else with the last one, for which no API server need be there.
        """
        kubeconfig = self._log.with_suffix(".kubeconfig")
        if log_in:
            token = pod_token(self._cluster, f"node{self._node}")
            kubeconfig.write_text(json.dumps(_kubeconfig(self._server, token, self._cluster)))
        command = [sys.executable, "-W", "error", "-m", "static_route_operator", "agent"]
        command += ["--node-name", f"node{self._node}", *(options or ("--daemonset=",))]
        # The node's own disk.
        command += ["--state-dir", str(self.state_dir)]
        with self._log.open("a") as log:
            self._process = self._cluster.popen_in(
                f"node{self._node}", command, stderr=log, env={**os.environ, "KUBECONFIG": str(kubeconfig)}
            )

    def start_and_sync(self, *options: str) -> None:
        """Start the agent and wait until it has applied a complete list."""
        self.start(*options)
        eventually(f"agent {self._node} is ready\n{self.log()}", self.ready)

    def stop(self) -> int:
        """Ask the agent to end, and wait; return its exit status."""
        assert self._process is not None, "it is not started"
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(30)

    def kill(self, *, unconfirmed: bool = False) -> None:
        """Take its life without a word.

        Args:
            unconfirmed: do not wait for unconfirmed changes, which the next agent then rolls back.
        """
        if self.alive and not unconfirmed:
            self.wait_for_confirmation()
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def wait_for_confirmation(self, routes: int = 0) -> None:
        """Wait until no change is unconfirmed and the rows count this many routes: a route precedes its row."""

        def known() -> bool:
            rows = self.rows()
            return (
                all(row["reason"] != "AwaitingConfirmation" for row in rows)
                and sum(row["programmed"] for row in rows) >= routes
            )

        eventually("no change is unconfirmed", known)

    def memory(self) -> float:
        """Return the resident memory of the agent's process, in MiB."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20)

    def log(self) -> str:
        """Return the agent's log."""
        return self._log.read_text() if self._log.exists() else ""

    def get(self, path: str) -> str:
        """Return the response of a loopback path; empty if the agent does not answer, or with an error."""
        url = f"http://127.0.0.1:{PORT}{path}"
        return self._cluster.run_in(f"node{self._node}", ["curl", "-sf", "-m", "5", url], check=False).stdout

    def ready(self) -> bool:
        """Return True once the agent has applied a complete list."""
        return self.get("/readyz") == "ok\n"

    def row(self, name: str) -> dict[str, Any]:
        """Return the agent's row of one StaticRoute; empty if there is none."""
        return next((row for row in self.rows() if row["name"] == name), {})

    def rows(self) -> list[dict[str, Any]]:
        """Return the agent's rows by StaticRoute; empty if the agent does not answer."""
        found: list[dict[str, Any]] = json.loads(self.get("/routes") or '{"objects": []}')["objects"]
        return found

    def routes(self) -> dict[str, str]:
        """Return the routes of protocol 245 in the kernel: gateway by destination."""
        found = {}
        for family in ("-4", "-6"):
            argv = ["ip", "-j", family, "route", "show", "table", "all", "proto", "245"]
            for route in json.loads(self._cluster.run_in(f"node{self._node}", argv).stdout or "[]"):
                found[route["dst"]] = route.get("gateway", "")
        return found

    def ip(self, *arguments: str) -> str:
        """Run an `ip` command on the agent's node."""
        return self._cluster.run_in(f"node{self._node}", ["ip", *arguments]).stdout


def _kubeconfig(server: str, token: str, cluster: Cluster) -> dict[str, Any]:
    authority = json.loads(cluster.kubectl("config", "view", "--raw", "--flatten", "-o", "json"))
    ca = authority["clusters"][0]["cluster"]["certificate-authority-data"]
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "lab", "cluster": {"server": server, "certificate-authority-data": ca}}],
        "users": [{"name": "agent", "user": {"token": token}}],
        "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "agent"}}],
        "current-context": "lab",
    }
