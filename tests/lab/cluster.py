"""A whole cluster: the network with a Kubernetes control plane, and containerd and a kubelet on every node."""

import functools
import json
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self

from tests.lab import binaries, images, programs, versions
from tests.lab.cgroup import Cgroup
from tests.lab.commands import Argument, run, wait_until
from tests.lab.control_plane import ControlPlane
from tests.lab.errors import LabError
from tests.lab.network import Network
from tests.lab.node import Node


class Cluster(Network):
    """A network with a cluster in it. A context manager: up on entry, down on exit.

    Args:
        prefix: starts the names of all namespaces and cgroups; labs with different ones run side by side.
        nodes: how many nodes it has at first, named ``node1`` and so on.
        bare: only the namespaces of nodes, without containerd and kubelet, for agents that run as processes.
        apiserver_args: more flags for the API server, such as those of an audit log.
        version: that of Kubernetes, as in ``v1.37.2``.
        api_only: a bare cluster of an API server alone, which keeps objects that nothing acts on.
    """

    def __init__(
        self,
        prefix: str = "sr",
        nodes: int = 3,
        *,
        bare: bool = False,
        apiserver_args: Sequence[str] = (),
        version: str = versions.KUBERNETES,
        api_only: bool = False,
    ) -> None:
        super().__init__(prefix, nodes)
        self._bare = bare or api_only
        self._apiserver_args = list(apiserver_args)
        self._version = version
        self._api_only = api_only
        self._control_plane = ControlPlane(self, version, api_only=api_only)
        self._images = self.state / "images"
        self.kubeconfig = self._control_plane.kubeconfig

    @classmethod
    def running(cls, prefix: str) -> Self:
        """Return the cluster that another process has started.

        Raises:
            LabError: there is none.
        """
        try:
            arguments = json.loads(_memory(Network(prefix)).read_text())
        except FileNotFoundError:
            take_up = f"LAB_PREFIX={prefix} python3 -m tests.lab up"
            raise LabError(f"lab {prefix} has no cluster: run `{take_up}`") from None
        return cls(prefix, **arguments)

    def up(self) -> Self:
        """Start everything and wait until all nodes are Ready.

        Raises:
            LabError: a lab with this prefix is there already, a program is not built, or a part did not start; with
                the end of its log.
        """
        programs.require(programs.NETWORK, programs.CONTROL_PLANE, {} if self._bare else programs.NODE)
        self._control_plane.require()
        super().up()
        arguments = {
            "nodes": self.nodes,
            "bare": self._bare,
            "apiserver_args": self._apiserver_args,
            "version": self._version,
            "api_only": self._api_only,
        }
        _memory(self).write_text(json.dumps(arguments))
        if not self._bare:
            self._write_images()
        self._start()
        return self

    def down(self) -> None:
        """Kill and remove all parts of the lab. Works right after any failure, and twice."""
        for cgroup in Cgroup.all(self.prefix):
            cgroup.remove()
        super().down()

    def kubectl(
        self,
        *args: Argument,
        input: str = "",
        check: bool = True,
        timeout: float = 120,
    ) -> str:
        """Run kubectl as the cluster's administrator and return what it printed.

        Args:
            args: its arguments.
            input: what it reads, for ``apply -f -``.
            check: whether a failure is an error.
            timeout: seconds until it is killed.

        Raises:
            LabError: it failed; with its own words.
        """
        return run(self.kubectl_command(*args), stdin=input, check=check, timeout=timeout).stdout

    def kubectl_command(self, *args: Argument) -> list[Argument]:
        """Return the command that runs kubectl, from any directory."""
        return self._control_plane.kubectl(args)

    def administer_command(self, *argv: Argument) -> list[Argument]:
        """Return the command that runs a program, such as a shell, with kubectl and its plugin at hand."""
        return self._control_plane.administer(argv)

    def load_image(self, archive: Path) -> None:
        """Load a docker-archive into all nodes that run, and into others when they start: for kubelets as if pulled.

        Raises:
            LabError: the nodes are bare, or containerd did not take it.
        """
        if self._bare:
            raise LabError(f"lab {self.prefix} is bare: its nodes have no containerd to load {archive} into")
        archive = Path(shutil.copy(archive, self._images))
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda node: node.load_image(archive), filter(Node.runs, self._started())))

    def kill_node(self, number: int) -> None:
        """Cut a node's power. Its namespace, and so the kernel's routes, stays: delete those to model a reboot."""
        self._node(number).kill()

    def start_node(self, number: int) -> None:
        """Start a node, killed or new. Does not wait until it is Ready."""
        node = self._node(number)
        if not self.namespace(node.name).exists():
            self.add_node(number)
        if not self._bare:
            node.join(node.boot())

    def stop_api(self) -> None:
        """Kill the API server (SIGKILL): its clients see their connections reset, then refused."""
        self._control_plane.stop_api()

    def start_api(self) -> None:
        """Start the API server again and wait until it is ready."""
        self._control_plane.start_api(self._apiserver_args)

    def _start(self) -> None:
        """Start the control plane and, unless bare, the nodes: each as soon as its needs are met."""
        nodes = [] if self._bare else [self._node(number) for number in range(1, self.nodes + 1)]
        with ThreadPoolExecutor() as pool:
            booting = pool.map(Node.boot, nodes)
            self._control_plane.start(self._apiserver_args)
            kubelets = [node.join(containerd) for node, containerd in zip(nodes, booting, strict=True)]
        for node, kubelet in zip(nodes, kubelets, strict=True):
            ready = functools.partial(self._is_ready, node)
            wait_until(ready, f"{node.name} is Ready", timeout=90, daemon=kubelet)
        self._control_plane.wait_for_controllers()

    def _write_images(self) -> None:
        self._images.mkdir()
        images.pause().write(self._images / "pause.tar")
        images.curl().write(self._images / "curl.tar")

    def _is_ready(self, node: Node) -> bool:
        jsonpath = 'jsonpath={.status.conditions[?(@.type=="Ready")].status}'
        return self.kubectl("get", "node", node.name, "-o", jsonpath, check=False) == "True"

    def _node(self, number: int) -> Node:
        kubelet = binaries.kubernetes(self._version).directory / "kubelet"
        return Node(number, self, self._control_plane, kubelet, sorted(self._images.glob("*.tar")))

    def _started(self) -> list[Node]:
        """Return all nodes that were ever started."""
        names = (path.name for path in self.state.glob("node[0-9]*"))
        return [self._node(int(name.removeprefix("node"))) for name in names]


def _memory(network: Network) -> Path:
    """Return the file in which `up` notes the cluster's arguments for other processes."""
    return network.state / "cluster.json"
