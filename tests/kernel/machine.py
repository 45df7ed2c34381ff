"""A machine with two networks, made and looked at by `ip`, which knows nothing of the code under test."""

import ipaddress
import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Generous: a shared machine may stand still for seconds.
PATIENCE = 20.0

OWN = "245"

# Makes the links and addresses, and waits until the kernel uses them.
_SET_UP = Path(__file__).with_name("scenarios") / "topologies" / "usual.sh"


class Machine:
    """The network namespace that this process is in.

    It has 10.0.0.2/24 and fd00::2/64 on eth0, 10.1.0.2/24 and fd00:1::2/64 on eth1.

    The gateways that tests use need not exist: routes are programmed whether or not anybody answers.
    """

    @staticmethod
    def set_up() -> None:
        """Make the links and addresses."""
        subprocess.run(["sh", str(_SET_UP)], check=True, timeout=PATIENCE)

    @staticmethod
    def ip(*commands: str, ipv6: bool = False) -> None:
        """Run `ip` commands, such as ``route add 192.0.2.1 via 10.0.0.1``; a command that fails fails the test.

        Args:
            commands: in order.
            ipv6: those that name no address, such as ``route flush``, are about IPv6.
        """
        words = ["ip", *(["-6"] if ipv6 else []), "-batch", "-"]
        done = subprocess.run(words, input="\n".join(commands), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    @staticmethod
    def query(*arguments: str) -> list[dict[str, Any]]:
        """Return the output of `ip` as parsed JSON, with numbers for names."""
        done = subprocess.run(["ip", "-N", "-j", *arguments], capture_output=True, text=True, check=False)
        if "FIB table does not exist" in done.stderr:
            return []
        assert done.returncode == 0, done.stderr
        found: list[dict[str, Any]] = json.loads(done.stdout or "[]")
        return found

    @staticmethod
    def switch(setting: str, value: str | None = None) -> None:
        """Set one of this machine's network settings (a file below /proc/sys/net); None makes 1 of 0 and 0 of 1."""
        file = Path("/proc/sys/net", setting)
        file.write_text(value or ("0" if file.read_text().strip() == "1" else "1"))

    def interface(self, name: str) -> int:
        """Return the index of an interface."""
        (link,) = self.query("link", "show", "dev", name)
        return int(link["ifindex"])

    def routes(self, protocol: str = OWN, table: str = "254") -> dict[str, str]:
        """Return routes of a protocol as `ip` shows them, by destination: gateway and interface, type and options.

        The type is left out for unicast and the metric if it is what the kernel makes of none.
        """
        found = {}
        for family, none in (("-4", 0), ("-6", 1024)):
            for route in self.query("-d", family, "route", "show", "table", table, "proto", protocol):
                default = "0.0.0.0/0" if family == "-4" else "::/0"
                destination = str(ipaddress.ip_network(default if route["dst"] == "default" else route["dst"]))
                assert destination not in found, f"{destination} is there twice"
                hops = route.get("nexthops") or [route]
                words = [f"{hop.get('gateway', '')} {hop['dev']}".strip() for hop in hops if "dev" in hop]
                kind = route.get("type", "unicast")
                if kind not in {"unicast", "1"}:
                    words = [f"type {kind}"]
                metric = route.get("metric", 0)
                found[destination] = " + ".join(words) + (f" metric {metric}" if metric != none else "")
                found[destination] += f" src {route['prefsrc']}" if "prefsrc" in route else ""
                found[destination] += "".join(
                    f" {word} {value}" for metrics in route.get("metrics", ()) for word, value in metrics.items()
                )
                found[destination] += " onlink" if "onlink" in route.get("flags", ()) else ""
        return found


def wait_until(condition: Callable[[], object], what: str, patience: float = PATIENCE) -> None:
    """Wait for an event outside of this process."""
    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline, f"waited {patience:g} s in vain until {what}"
        time.sleep(0.01)
