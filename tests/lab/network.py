"""The lab's network: nodes, two ways out of their private network, and a site outside that tells which way was taken.

::

                          fab (bridges vpc, pub)
    cp     10.116.0.1 ────── vpc  10.116.0.0/24, fd00:116::/64
    gw1    10.116.0.5 ──────  │   pub ── 198.51.100.5
    gw2    10.116.0.12 ─────  │    │ ─── 198.51.100.12
    nodeN  10.116.0.(20+N) ── │    │ ─── 198.51.100.(20+N), the nodes' default route
    web                            └──── 198.51.100.1, sites 203.0.113.145, 203.0.113.59, 2001:db8:113::145,
                                         34.160.111.145 (ifconfig.me), 34.117.59.81 (ipinfo.io)

Both gateways masquerade, so the site answers a node with the node's own public address, or with that of the gateway
its route leads through. Every box is a network namespace; nothing is connected to the machine's own network.
"""

import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from tests.lab import directories, processes, programs, web
from tests.lab.commands import Argument, run, spawn, wait_until
from tests.lab.errors import LabError
from tests.lab.namespace import DIRECTORY, Namespace

GATEWAYS = {"gw1": 5, "gw2": 12}  # the last part of their addresses
SITES = ("203.0.113.145", "203.0.113.59", "2001:db8:113::145")
EXAMPLE_SITES = {"ifconfig.me": "34.160.111.145", "ipinfo.io": "34.117.59.81"}  # what examples/ sends through a gateway
SERVICE_NETWORK = "10.245.0.0/16"
KUBERNETES_SERVICE = "10.245.0.1"
MAX_NODES = 99

_VPC_HOST = "10.116.0.{0}/24", "fd00:116::{0}/64"
_PUB_HOST = "198.51.100.{0}/24", "2001:db8:51::{0}/64"
_VPC_NODE = "10.116.0.{0}/24", "fd00:116::2{1}/64"
_PUB_NODE = "198.51.100.{0}/24", "2001:db8:51::2{1}/64"
_DEFAULT_ROUTES = "route add 0.0.0.0/0 via 198.51.100.1", "route add ::/0 via 2001:db8:51::1"
_MASQUERADE = 'table inet nat { chain post { type nat hook postrouting priority 100; oifname "eth0" masquerade; }; }'
# Neighbours still see its link-layer address, and the links are up.
_SILENCE = "table inet silence { chain arriving { type filter hook prerouting priority -400; policy drop; }; }"
_NO_SILENCE = "table inet silence; delete table inet silence"


def node_address(number: int) -> str:
    """Return the private IPv4 address of a node."""
    return f"10.116.0.{20 + number}"


class Network:
    """The network of one lab. A context manager: up on entry, down on exit.

    Args:
        prefix: starts the names of all namespaces; labs with different ones run side by side.
        nodes: how many nodes there are at first, named ``node1`` and so on.
    """

    def __init__(self, prefix: str = "sr", nodes: int = 3) -> None:
        if not (prefix.isascii() and prefix.isalnum()):
            raise LabError(f"the prefix of a lab is of letters and digits, not '{prefix}'")
        if not 0 <= nodes <= MAX_NODES:
            raise LabError(f"a lab has at most {MAX_NODES} nodes, not {nodes}")
        self.prefix = prefix
        self.nodes = nodes
        self.state = directories.state(prefix)
        self.logs = self.state / "logs"

    def namespace(self, name: str) -> Namespace:
        """Return the namespace of a machine: ``cp``, ``gw1``, ``web``, ``node1``, … or ``fab`` with the bridges."""
        return Namespace(f"{self.prefix}-{name}")

    def up(self) -> Self:
        """Make the whole network.

        Raises:
            LabError: a lab with this prefix is there already, or a program is missing or failed.
        """
        programs.require(programs.NETWORK)
        if self.namespace("fab").exists() or self.state.exists():
            take_down = f"LAB_PREFIX={self.prefix} python3 -m tests.lab down"
            raise LabError(f"lab {self.prefix} is there already, or some of it is left: run `{take_down}`")
        self.logs.mkdir(parents=True, mode=0o700)
        fabric = self.namespace("fab")
        fabric.create()
        fabric.configure(
            command
            for bridge in ("vpc", "pub")
            for command in (f"link add {bridge} type bridge", f"link set {bridge} up")
        )
        self._add_web()
        self._add_control_plane()
        for name, host in GATEWAYS.items():
            self._add_gateway(name, host)
        for number in range(1, self.nodes + 1):
            self.add_node(number)
        return self

    def down(self) -> None:
        """Kill all processes in the network and remove it with the lab's files. Safe right after any failure."""
        namespaces = [Namespace(path.name) for path in DIRECTORY.glob(f"{self.prefix}-*")]
        paths = [namespace.path for namespace in namespaces]
        processes.kill(lambda: processes.in_namespaces(paths), f"the processes of lab {self.prefix}")
        for namespace in namespaces:
            namespace.delete()
        shutil.rmtree(self.state, ignore_errors=True)

    def __enter__(self) -> Self:
        try:
            return self.up()
        except BaseException:
            self.down()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.down()

    def add_node(self, number: int) -> None:
        """Make a node's namespace, with its addresses and default routes."""
        name = f"node{number}"
        self.namespace(name).create()
        self._connect(name, "eth0", "pub", [form.format(20 + number, number) for form in _PUB_NODE])
        self._connect(name, "eth1", "vpc", [form.format(20 + number, number) for form in _VPC_NODE])
        # In place of kube-proxy: the API server's namespace owns the address of the `kubernetes` Service.
        services = f"route add {SERVICE_NETWORK} via 10.116.0.1 proto static"
        self.namespace(name).configure([*_DEFAULT_ROUTES, services])

    def silence(self, machine: str) -> None:
        """Let a machine, such as a gateway, drop all packets that reach it, without a word; its links stay up."""
        run(self.namespace(machine).enter([programs.find("nft"), "-f", "-"]), stdin=_SILENCE)

    def end_silence(self, machine: str) -> None:
        """Let a machine take packets again, whether it was silenced or not."""
        run(self.namespace(machine).enter([programs.find("nft"), "-f", "-"]), stdin=_NO_SILENCE)

    def run_in(
        self,
        namespace: str,
        argv: Sequence[Argument],
        *,
        stdin: str = "",
        check: bool = True,
        timeout: float = 120,
        env: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a program in a namespace, such as ``node1``, to its end. The rest is as in ``commands.run``."""
        return run(self.namespace(namespace).enter(argv), stdin=stdin, check=check, timeout=timeout, env=env)

    def popen_in(
        self,
        namespace: str,
        argv: Sequence[Argument],
        *,
        stdin: int | IO[str] | None = None,
        stdout: int | IO[str] | None = None,
        stderr: int | IO[str] | None = None,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> subprocess.Popen[str]:
        """Start a program in a namespace and return at once. The process id is the program's own: signals reach it."""
        return subprocess.Popen(
            self.namespace(namespace).enter(argv),
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            env=env,
            cwd=cwd,
            text=True,
        )

    def _add_web(self) -> None:
        site = self.namespace("web")
        site.create()
        self._connect("web", "eth0", "pub", [form.format(1) for form in _PUB_HOST])
        site.configure(f"addr add {address} dev lo" for address in SITES)
        site.configure(f"route add local {address} dev lo" for address in EXAMPLE_SITES.values())
        server = spawn(site.enter([sys.executable, "-I", web.__file__]), self.logs / "web.log")
        listening = site.enter([programs.find("ss"), "-Hltn", f"sport = :{web.PORT}"])
        wait_until(lambda: bool(run(listening).stdout), "the web site listens", timeout=20, daemon=server)

    def _add_control_plane(self) -> None:
        machine = self.namespace("cp")
        machine.create()
        self._connect("cp", "eth1", "vpc", [form.format(1) for form in _VPC_HOST])
        machine.configure([f"addr add {KUBERNETES_SERVICE} dev lo"])

    def _add_gateway(self, name: str, host: int) -> None:
        gateway = self.namespace(name)
        gateway.create()
        self._connect(name, "eth1", "vpc", [form.format(host) for form in _VPC_HOST])
        self._connect(name, "eth0", "pub", [form.format(host) for form in _PUB_HOST])
        gateway.configure(_DEFAULT_ROUTES)
        forwarding = "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"
        run(gateway.enter([programs.find("sysctl"), "-qw", *forwarding]))
        run(gateway.enter([programs.find("nft"), "-f", "-"]), stdin=_MASQUERADE)

    def _connect(self, machine: str, interface: str, bridge: str, addresses: Sequence[str]) -> None:
        """Give a machine an interface on a bridge. The cable's other end is named after both, as in ``vpc-node1``."""
        namespace = self.namespace(machine)
        port = f"{bridge}-{machine}"
        self.namespace("fab").configure(
            [
                f"link add {port} type veth peer name {interface} netns {namespace.name}",
                f"link set {port} master {bridge} up",
            ]
        )
        # Without duplicate address detection an IPv6 address is usable at once.
        namespace.configure(
            [
                *(f"addr add {address} dev {interface}{' nodad' if ':' in address else ''}" for address in addresses),
                f"link set {interface} up",
            ]
        )
