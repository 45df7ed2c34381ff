"""A whole cluster: the network, the control plane and the nodes."""

import json
import subprocess
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from tests.lab import binaries, images, programs
from tests.lab.cgroup import Cgroup
from tests.lab.commands import Argument, run, wait_until
from tests.lab.control_plane import ControlPlane
from tests.lab.errors import LabError
from tests.lab.network import Network
from tests.lab.node import Node


class Cluster:
    """A cluster of one lab. A context manager: up on entry, down on exit.

    Args:
        prefix: starts the names of all namespaces and cgroups; labs with different ones run side by side.
        nodes: how many nodes it has at first, named ``node1`` and so on.
        bare: only the namespaces of nodes, without containerd and kubelets, for agents that run as processes.
        apiserver_args: more flags for the API server, such as those of an audit log.
        kubernetes_version: as in ``v1.37.2``.
    """

    def __init__(
        self,
        prefix: str = "sr",
        nodes: int = 3,
        *,
        bare: bool = False,
        apiserver_args: Sequence[str] = (),
        kubernetes_version: str = binaries.KUBERNETES_VERSION,
    ) -> None:
        self.network = Network(prefix, nodes)
