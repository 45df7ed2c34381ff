"""etcd and the Kubernetes control plane, in the namespace ``cp``."""

import functools
import json
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.lab import binaries, processes, versions
from tests.lab.authority import Authority
from tests.lab.commands import Argument, Daemon, run, spawn, wait_until
from tests.lab.network import KUBERNETES_SERVICE, MAX_NODES, SERVICE_NETWORK, Network

ADDRESS = "10.116.0.1"
_ISSUER = "https://kubernetes.default.svc"

# The operator's command line of this tree, as a plugin of kubectl. It needs the packages of whoever made the lab.
_PLUGIN = """\
#!/bin/sh
export PYTHONPATH={root}
main='import sys; sys.argv[0] = "kubectl-static_route"; from static_route_operator.cli import main; main()'
exec {python} -c "$main" "$@"
"""


class ControlPlane:
    """The control plane of one cluster.

    Args:
        network: the network it is in.
        version: that of Kubernetes, as in ``v1.37.2``.
        api_only: an API server that keeps objects, without what acts on them: neither controllers nor scheduler.
    """

    def __init__(self, network: Network, version: str, *, api_only: bool = False) -> None:
        self._namespace = network.namespace("cp")
        self._logs = network.logs
        self._build = binaries.api_server(version) if api_only else binaries.kubernetes(version)
        # Any kubectl speaks to an API server.
        self._kubectl_build = binaries.kubernetes(versions.KUBERNETES if api_only else version)
        self._api_only = api_only
        self._directory = network.state / "cp"
        self._tools = self._directory / "bin"
        self._authority = Authority(self._directory)
        self.authority_certificate = self._authority.certificate
        self.kubeconfig = self._directory / "admin.kubeconfig"

    def require(self) -> None:
        """Check that all programs are built.

        Raises:
            LabError: one is not; names the make target.
        """
        for build in (self._build, self._kubectl_build, binaries.etcd()):
            build.require()

    def start(self, apiserver_args: Sequence[str]) -> None:
        """Start it and wait until the API server is ready.

        Args:
            apiserver_args: more flags for the API server.
        """
        self._directory.mkdir()
        self._write_identities()
        self._write_tools()
        unsynced = "--unsafe-no-fsync"  # nobody misses a lab's data after a power cut of the machine
        etcd = binaries.etcd().directory / "etcd"
        self._spawn(etcd, "--data-dir", self._directory / "etcd", unsynced, "--quota-backend-bytes", str(8 * 2**30))
        self.start_api(apiserver_args)
        if self._api_only:
            return
        programs = self._build.directory
        self._spawn(programs / "kube-controller-manager", *self._client_flags("kcm"), *self._controller_manager_flags())
        self._spawn(programs / "kube-scheduler", *self._client_flags("scheduler"))

    def start_api(self, apiserver_args: Sequence[str]) -> None:
        """Start the API server and wait until it is ready."""
        files = self._directory
        server = self._spawn(
            self._build.directory / binaries.API_SERVER,
            "--etcd-servers=http://127.0.0.1:2379",
            "--bind-address=0.0.0.0",
            "--secure-port=443",
            f"--advertise-address={ADDRESS}",
            "--endpoint-reconciler-type=none",
            f"--tls-cert-file={files / 'apiserver.crt'}",
            f"--tls-private-key-file={files / 'apiserver.key'}",
            f"--client-ca-file={self.authority_certificate}",
            # For `kubectl logs` and `kubectl exec`, which the API server passes on to the kubelet.
            f"--kubelet-client-certificate={files / 'kubelet-client.crt'}",
            f"--kubelet-client-key={files / 'kubelet-client.key'}",
            "--kubelet-preferred-address-types=InternalIP",
            f"--token-auth-file={files / 'tokens.csv'}",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            f"--service-account-key-file={files / 'apiserver.crt'}",
            f"--service-account-signing-key-file={files / 'apiserver.key'}",
            f"--service-account-issuer={_ISSUER}",
            f"--service-cluster-ip-range={SERVICE_NETWORK}",
            "--allow-privileged=true",
            *apiserver_args,
        )
        ready = functools.partial(_succeeds, self.kubectl(["get", "--raw", "/readyz"]))
        wait_until(ready, "the API server is ready", timeout=60, daemon=server)

    def wait_for_controllers(self) -> None:
        """Wait until pods can be created: until their namespace has its ServiceAccount."""
        if self._api_only:
            return
        there = functools.partial(_succeeds, self.kubectl(["get", "serviceaccount", "default"]))
        wait_until(there, "there is a default ServiceAccount", timeout=60)

    def stop_api(self) -> None:
        """Kill the API server (SIGKILL): its clients see their connections reset, then refused."""
        processes.kill(
            lambda: {pid for pid in self._namespace.pids() if processes.program(pid) == binaries.API_SERVER},
            "API servers",
        )

    def kubectl(self, args: Sequence[Argument]) -> list[Argument]:
        """Return the command that runs kubectl as the cluster's administrator."""
        return self.administer([self._kubectl_build.directory / "kubectl", *args])

    def administer(self, argv: Sequence[Argument]) -> list[Argument]:
        """Return the command that runs a program with kubectl and its plugin at hand, as administrator."""
        # The cache goes by the API server's address, which all labs share: one lab's resources would fool another.
        environment = [
            f"KUBECONFIG={self.kubeconfig}",
            f"KUBECACHEDIR={self._directory / 'kubectl-cache'}",
            f"PATH={self._tools}:{os.environ['PATH']}",
        ]
        return self._namespace.enter(["env", *environment, *argv])

    def _write_tools(self) -> None:
        self._tools.mkdir()
        (self._tools / "kubectl").symlink_to(self._kubectl_build.directory / "kubectl")
        plugin = self._tools / "kubectl-static_route"
        root = Path(__file__).resolve().parents[2]
        plugin.write_text(_PLUGIN.format(root=shlex.quote(str(root)), python=shlex.quote(sys.executable)))
        plugin.chmod(0o755)

    def write_kubeconfig(self, user: str) -> Path:
        """Write a user's kubeconfig and return its path."""
        server = {"server": f"https://{ADDRESS}:443", "certificate-authority": str(self.authority_certificate)}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "lab", "cluster": server}],
            "users": [{"name": user, "user": {"token": _token(user)}}],
            "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": user}}],
            "current-context": "lab",
        }
        path = self._directory / f"{user}.kubeconfig"
        path.write_text(json.dumps(config))
        return path

    def _write_identities(self) -> None:
        """Write the keys and certificates by which the API server and its clients know each other."""
        self._authority.create()
        names = "DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc"
        addresses = f"IP:{ADDRESS},IP:{KUBERNETES_SERVICE},IP:127.0.0.1"
        self._authority.issue("apiserver", "/CN=kube-apiserver", f"subjectAltName={names},{addresses}")
        client = "/O=system:masters/CN=kubelet-client"
        self._authority.issue("kubelet-client", client, "extendedKeyUsage=clientAuth")
        users = {
            "admin": "admin,admin,system:masters",
            "kcm": "system:kube-controller-manager,kcm",
            "scheduler": "system:kube-scheduler,scheduler",
            # Read once, at the start of the API server: so there is a line for every node that may ever join.
            **{f"node{n}": f"system:node:node{n},node{n},system:nodes" for n in range(1, MAX_NODES + 1)},
        }
        tokens = "".join(f"{_token(user)},{identity}\n" for user, identity in users.items())
        (self._directory / "tokens.csv").write_text(tokens)
        self.write_kubeconfig("admin")

    def _client_flags(self, user: str) -> list[str]:
        """Return the flags that the API server's clients in the control plane share."""
        return [
            f"--kubeconfig={self.write_kubeconfig(user)}",
            "--leader-elect=false",
            "--bind-address=127.0.0.1",
            f"--cert-dir={self._directory / user}",
            # The look-up may come before RBAC has its first roles, and would then end the program.
            "--authentication-skip-lookup=true",
        ]

    def _controller_manager_flags(self) -> list[str]:
        return [
            "--use-service-account-credentials",
            f"--service-account-private-key-file={self._directory / 'apiserver.key'}",
            f"--root-ca-file={self.authority_certificate}",
            "--kube-api-qps=500",  # at the default 20, giving each controller its credentials takes 5 s
            "--kube-api-burst=1000",
            "--node-monitor-grace-period=20s",  # half the default: a dead node is seen while a test waits
        ]

    def _spawn(self, program: Path, *args: Argument) -> Daemon:
        return spawn(self._namespace.enter([program, *args]), self._logs / f"{program.name}.log")


def _succeeds(command: Sequence[Argument]) -> bool:
    return run(command, check=False).returncode == 0


def _token(user: str) -> str:
    return f"{user}-token"
