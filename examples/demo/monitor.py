"""Monitor of the routes in the kernel of one node, by `ip monitor route`."""

import os
import signal
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from tests.lab import programs
from tests.lab.commands import spawn, wait_until
from tests.lab.network import Network


@dataclass(frozen=True)
class Event:
    """An added or removed route."""

    time: datetime
    gone: bool
    text: str


class RouteMonitor:
    """A recorder of the changes of the IPv4 routes of a node.

    Args:
        network: network of the node.
        node: name of the node.
    """

    def __init__(self, network: Network, node: str) -> None:
        command = network.namespace(node).enter([programs.find("ip"), "-ts", "-4", "monitor", "route"])
        self._process = spawn(command, network.logs / f"{node}-monitor.log")
        wait_until(self._listens, f"ip monitor listens on {node}", timeout=10, daemon=self._process)

    def events(self, destination: str) -> list[Event]:
        """Return the changes of the routes to a destination so far."""
        lines = self._process.log.read_text().split("\n")[:-1]
        return [event for line in lines if (event := _parse(line)) and event.text.startswith(f"{destination} ")]

    def stop(self) -> None:
        """Stop recording."""
        os.kill(self._process.pid, signal.SIGTERM)

    def _listens(self) -> bool:
        """Report whether the socket of `ip` has joined a group of notifications."""
        try:
            rows = Path(f"/proc/{self._process.pid}/net/netlink").read_text(encoding="ascii").splitlines()
        except OSError:
            return False
        sockets = [row.split() for row in rows[1:]]
        return any(row[2] == str(self._process.pid) and int(row[3], 16) for row in sockets)


def _parse(line: str) -> Event | None:
    """Read an event from a line like ``[2026-01-31T12:00:00.123456] Deleted 192.0.2.1 via …``."""
    stamp, separator, rest = line.partition("] ")
    if not separator or not stamp.startswith("["):
        return None
    words = rest.split()
    gone = words[:1] == ["Deleted"]
    return Event(datetime.fromisoformat(stamp[1:]).astimezone(), gone, " ".join(words[gone:]))
