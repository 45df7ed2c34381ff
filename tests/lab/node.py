"""One node of the cluster: containerd and a kubelet in a namespace, a cgroup and a mount namespace of their own.

The mount namespace makes a node's death complete and safe: every mount of its pods ends with its last process, so
nothing is left to unmount, and removing the node's directory can't reach into what a pod had mounted.
"""

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.lab import images, programs, snapshotter
from tests.lab.cgroup import Cgroup
from tests.lab.commands import Argument, Daemon, run, spawn, wait_until
from tests.lab.control_plane import ControlPlane
from tests.lab.network import Network, node_address

# Directories of the machine that containerd, CNI and the kubelet write to wherever they are told to work. A node has
# its own, which a power cut empties, as it does /run on a real machine.
_VOLATILE = tuple(map(Path, ("/run/containerd", "/var/lib/cni", "/var/lib/kubelet", "/var/log/containers")))
# The operator's files on a node outlive a power cut, and each node has its own.
_STATE = Path("/var/lib/static-route-operator")
_BOOT = """\
mount --make-rshared /  # for pods that ask for mount propagation
config=$1 kept=$2 state=$3; shift 3
mount --bind "$kept" "$state"
for directory; do mount -t tmpfs tmpfs "$directory"; done
exec containerd --config "$config"
"""

# restrict_oom_score_adj: without CAP_SYS_RESOURCE no sandbox starts ("can't get final child's PID from pipe").
# netns_mounts_under_state_dir: else the names of pods' namespaces pile up in the machine's /run/netns.
_CONTAINERD = """\
version = 2
root = "{directory}/containerd"
state = "/run/containerd"

[grpc]
address = "{socket}"

[plugins."io.containerd.internal.v1.opt"]
path = "{directory}/opt"

[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{pause}"
disable_apparmor = true
restrict_oom_score_adj = true
netns_mounts_under_state_dir = true

[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "{snapshotter}"

[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{cni}"
conf_dir = "{directory}/cni"
"""


class Node:
    """One node, named ``node`` and its number.

    Args:
        number: its number, from 1.
        network: the network that its namespace is in.
        control_plane: the cluster it joins.
        kubelet: the path of the kubelet.
        archives: the docker-archives it starts with; that of the pause image must be there.
    """

    def __init__(
        self, number: int, network: Network, control_plane: ControlPlane, kubelet: Path, archives: Sequence[Path]
    ) -> None:
        self.name = f"node{number}"
        self._number = number
        self._namespace = network.namespace(self.name)
        self._cgroup = Cgroup(self._namespace.name)
        self._logs = network.logs
        self._directory = network.state / self.name
        self._socket = self._directory / "containerd.sock"
        self._control_plane = control_plane
        self._kubelet = kubelet
        self._archives = archives

    def boot(self) -> Daemon:
        """Start containerd, for the first time or again, and return it. The control plane is not needed yet."""
        self._cgroup.create()
        self._write_configuration()
        kept = self._directory / "operator"
        for directory in (*_VOLATILE, _STATE, kept):
            directory.mkdir(parents=True, exist_ok=True)
        configuration = self._directory / "containerd.toml"
        unshare = [programs.find("unshare"), "--mount", "--propagation=private", "--"]
        # The search path is for what containerd starts: runc, and iptables through CNI.
        script: list[Argument] = ["env", f"PATH={programs.SEARCH_PATH}", "sh", "-euc", _BOOT]
        boot = [*unshare, *script, "boot", configuration, kept, _STATE, *_VOLATILE]
        containerd = self._spawn("containerd", self._namespace.enter(boot))
        wait_until(self._containerd_answers, f"containerd of {self.name} answers", timeout=30, daemon=containerd)
        for archive in self._archives:
            self.load_image(archive)
        return containerd

    def join(self, containerd: Daemon) -> Daemon:
        """Start the kubelet and return it. It registers the node when the API server answers."""
        kubelet: list[Argument] = [
            self._kubelet,
            f"--config={self._directory / 'kubelet.json'}",
            f"--kubeconfig={self._control_plane.write_kubeconfig(self.name)}",
            f"--hostname-override={self.name}",
            f"--node-ip={node_address(self._number)}",
            f"--root-dir={self._directory / 'kubelet'}",
            f"--cert-dir={self._directory / 'pki'}",
        ]
        # Its volumes must be where containerd sees them.
        enter = [programs.find("nsenter"), f"--target={containerd.pid}", "--mount", "--net", "--"]
        return self._spawn("kubelet", [*enter, *kubelet])

    def kill(self) -> None:
        """Cut the node's power: all its processes die at once. Its network, and so the kernel's routes, stays."""
        self._cgroup.kill()

    def runs(self) -> bool:
        """Return True if the node's power is on."""
        return bool(self._cgroup.pids())

    def load_image(self, archive: Path) -> None:
        """Load a docker-archive, as a pull by the kubelet would."""
        # Unpacked now, so that no container waits for it.
        unpack = f"--snapshotter={snapshotter.choose(self._directory)}"
        self._ctr("--namespace=k8s.io", "images", "import", unpack, archive)

    def _containerd_answers(self) -> bool:
        return self._socket.exists() and self._ctr("version", check=False).returncode == 0

    def _ctr(self, *args: Argument, check: bool = True) -> subprocess.CompletedProcess[str]:
        return run([programs.find("ctr"), f"--address={self._socket}", *args], check=check)

    def _spawn(self, program: str, argv: Sequence[Argument]) -> Daemon:
        daemon = spawn(argv, self._logs / f"{self.name}-{program}.log")
        self._cgroup.add(daemon.pid)
        return daemon

    def _write_configuration(self) -> None:
        (self._directory / "cni").mkdir(parents=True, exist_ok=True)
        containerd = _CONTAINERD.format(
            directory=self._directory,
            socket=self._socket,
            pause=images.PAUSE,
            snapshotter=snapshotter.choose(self._directory),
            cni=programs.find_cni(),
        )
        (self._directory / "containerd.toml").write_text(containerd)
        (self._directory / "cni" / "10-pods.conflist").write_text(json.dumps(self._pod_network()))
        (self._directory / "kubelet.json").write_text(json.dumps(self._kubelet_configuration()))

    def _pod_network(self) -> dict[str, object]:
        """Return the CNI configuration: a bridge, and the node's own address on packets that leave it."""
        ranges = [[{"subnet": f"10.244.{self._number}.0/24"}]]
        bridge = {
            "type": "bridge",
            "bridge": "cni0",
            "isGateway": True,
            "ipMasq": True,
            "ipam": {"type": "host-local", "ranges": ranges, "routes": [{"dst": "0.0.0.0/0"}]},
        }
        return {"cniVersion": "1.0.0", "name": "pods", "plugins": [bridge]}

    def _kubelet_configuration(self) -> dict[str, object]:
        return {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "authentication": {
                "anonymous": {"enabled": False},
                "webhook": {"enabled": True},
                "x509": {"clientCAFile": str(self._control_plane.authority_certificate)},
            },
            "authorization": {"mode": "Webhook"},
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": f"/{self._namespace.name}",
            "enforceNodeAllocatable": [],
            "failCgroupV1": False,
            "failSwapOn": False,
            "containerRuntimeEndpoint": f"unix://{self._socket}",
            "podLogsDir": str(self._directory / "podlogs"),
            "volumePluginDir": str(self._directory / "plugins"),
            "healthzPort": 0,
            "resolvConf": "",  # the lab has no DNS
            "nodeStatusUpdateFrequency": "5s",
            "syncFrequency": "10s",
            # A disk that is nearly full is no reason to evict a test.
            "imageGCHighThresholdPercent": 100,
            "evictionHard": {"nodefs.available": "1%", "imagefs.available": "1%", "memory.available": "100Mi"},
        }
