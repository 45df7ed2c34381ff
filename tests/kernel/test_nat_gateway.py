"""docs/nat-gateway.md: its files and commands make a NAT gateway of a machine that forwards nothing."""

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from subprocess import PIPE

import pytest

from tests import console
from tests.lab.commands import run, wait_until
from tests.lab.network import Network

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/nat-gateway.md").read_text()
MACHINES = {"gateway": "gw1", "node1": "node1"}
# Holds as many connections to a site as the gateway is left ports for.
_HOLD = """
import socket
held = [socket.create_connection(("203.0.113.145", 80), timeout=20) for _ in range(3)]
print("held", flush=True)
input()
"""
SITES = ("http://203.0.113.145", "http://[2001:db8:113::145]")


@pytest.fixture
def network() -> Iterator[Network]:
    """A node, and a gateway that is still a machine as any other."""
    with Network(f"nat{os.getpid()}", nodes=1) as network:
        network.run_in("gw1", ["nft", "flush", "ruleset"])
        network.run_in("gw1", ["sysctl", "-qw", "net.ipv4.ip_forward=0", "net.ipv6.conf.all.forwarding=0"])
        yield network


def _shown(output: str) -> list[str]:
    """Return the output, but for parts that differ from time to time: sizes, and spaces at the end."""
    return [re.sub(r"(nf_conntrack_(?:count|max)) = \d+", r"\1 = N", line.rstrip()) for line in output.splitlines()]


def _reach(network: Network, site: str) -> str:
    return network.run_in("node1", ["curl", "-s", "-m", "2", site], check=False).stdout.strip()


def _type(network: Network, command: console.Command, directory: Path) -> None:
    """Type a command of the page, whose files are below a directory, and see that it prints what the page says."""
    text = command.text.replace("/etc/", f"{directory}/")
    printed = run(network.namespace(MACHINES[command.machine]).enter(["sh", "-c", text])).stdout
    assert _shown(printed) == _shown("\n".join(command.output)), f"line {command.line}: {command.text}"


def test_page(network: Network, tmp_path: Path) -> None:
    """Without it no request goes through the gateway; with it each arrives with the gateway's address, and IPv6 too."""
    manifests = tmp_path / "manifests"
    manifests.mkdir()
    for number, (text, _) in enumerate(console.blocks(PAGE, "yaml")):
        (manifests / f"{number}.yaml").write_text(text)
    for name, text in console.files(PAGE).items():
        path = tmp_path / name.removeprefix("/etc/")
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    operator: list[str | Path] = [sys.executable, "-m", "static_route_operator", "run", "--http-port=0", "--once"]
    network.run_in("node1", [*operator, "--manifests", manifests])
    assert [_reach(network, site) for site in SITES] == ["", ""]
    commands = list(console.commands(PAGE))
    assert {command.machine for command in commands} == set(MACHINES)
    for command in commands:
        _type(network, command, tmp_path)
    wait_until(lambda: _reach(network, SITES[0]) in {"198.51.100.5", "198.51.100.6"}, "two addresses work", timeout=20)
    assert _reach(network, SITES[1]) == "2001:db8:51::5"


def test_ports_are_per_destination(network: Network, tmp_path: Path) -> None:
    """A gateway that has used up its ports to one destination still has them for another."""
    (rules,) = (text for name, text in console.files(PAGE).items() if name == "/etc/nftables.conf")
    (tmp_path / "few-ports.nft").write_text(
        rules.replace("snat ip to 198.51.100.5", "tcp dport 80 snat ip to 198.51.100.5:2000-2002")
    )
    network.run_in("gw1", ["nft", "-f", tmp_path / "few-ports.nft"])
    network.run_in("gw1", ["sysctl", "-qw", "net.ipv4.ip_forward=1"])
    network.namespace("node1").configure(["route add 203.0.113.0/24 via 10.116.0.5"])
    with network.popen_in("node1", [sys.executable, "-c", _HOLD], stdin=PIPE, stdout=PIPE) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == "held\n"
        assert _reach(network, "http://203.0.113.145") == ""
        assert _reach(network, "http://203.0.113.59") == "198.51.100.5"
        holder.communicate("\n")
