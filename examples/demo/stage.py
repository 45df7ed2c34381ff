"""Stage of the demo: three nodes with an operator each, two NAT gateways and a web site."""

import functools
import re
import sys
from pathlib import Path

from tests.lab import programs
from tests.lab.commands import Argument, Daemon, spawn, wait_until
from tests.lab.network import EXAMPLE_SITES, Network

EXAMPLES = Path(__file__).parent.parent
PLACEHOLDER = "<YOUR_NAT_GW_DROPLET_PRIVATE_IP_HERE>"
SITES = tuple(EXAMPLE_SITES.values())  # the destinations of the examples
NODES = ("node1", "node2", "node3")
# Addresses that the nodes use, and addresses that the site sees.
GATEWAY_ADDRESSES = ("10.116.0.5", "10.116.0.12")
GATEWAY_ANSWERS = ("198.51.100.5", "198.51.100.12")
NODE_ANSWERS = dict(zip(NODES, ("198.51.100.21", "198.51.100.22", "198.51.100.23"), strict=True))

_PLACEHOLDERS = re.compile(r"<\w+>")
_PROGRAM = (sys.executable, "-m", "static_route_operator")
_PORT = 9245  # port that the operator serves `routes` on


class Stage:
    """The network of the demo and its operators.

    Args:
        network: a network that is not up yet.
    """

    def __init__(self, network: Network) -> None:
        self.network = network
        self.manifests = network.state / "manifests"
        self._operators: dict[str, Daemon] = {}

    def build(self) -> None:
        """Bring the network up."""
        self.network.up()
        self.manifests.mkdir()

    def start_operators(self) -> None:
        """Start an operator on each node, and wait until all answer."""
        for node in NODES:
            command: list[Argument] = [*_PROGRAM, "run", f"--manifests={self.manifests}", f"--node-name={node}"]
            log = self.network.logs / f"{node}-operator.log"
            self._operators[node] = spawn(self.network.namespace(node).enter(command), log)
        for node, operator in self._operators.items():
            listens = functools.partial(self._listens, node)
            wait_until(listens, f"the operator of {node} answers", timeout=30, daemon=operator)

    def apply(self, example: str, *gateways: str) -> str:
        """Put an example into the operators' directory, with its gateways filled in; return its text."""
        left = iter(gateways)
        text = _PLACEHOLDERS.sub(lambda _: next(left), (EXAMPLES / example).read_text())
        self._write(example, text)
        return text

    def edit(self, example: str, old: str, new: str) -> None:
        """Replace a text in a manifest that is in force."""
        self._write(example, (self.manifests / example).read_text().replace(old, new))

    def remove(self, example: str) -> None:
        """Remove a manifest."""
        (self.manifests / example).unlink()

    def unplug(self, machine: str) -> None:
        """Pull a machine's cable out of the private network's switch. The nodes' own links stay up."""
        self.network.namespace("fab").configure([f"link set vpc-{machine} down"])

    def plug_in(self, machine: str) -> None:
        """Plug the cable of a machine in again."""
        self.network.namespace("fab").configure([f"link set vpc-{machine} up"])

    def operator(self, node: str, *arguments: str) -> str:
        """Run the operator's command line on a node, and return its output."""
        return self.network.run_in(node, [*_PROGRAM, *arguments]).stdout

    def ip(self, node: str, arguments: str) -> str:
        """Run an `ip` command on a node, and return its output."""
        return self.network.run_in(node, [programs.find("ip"), *arguments.split()]).stdout

    def logs(self) -> str:
        """Return the last lines of the operators' logs."""
        return "\n".join(operator.log_tail() for operator in self._operators.values())

    def _listens(self, node: str) -> bool:
        return bool(self.network.run_in(node, [programs.find("ss"), "-Hltn", f"sport = :{_PORT}"]).stdout)

    def _write(self, name: str, text: str) -> None:
        """Write a manifest in one step, as editors do, so that the operators never read a part of it."""
        draft = self.manifests / f".{name}.new"
        draft.write_text(text)
        draft.replace(self.manifests / name)
