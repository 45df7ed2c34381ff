"""A gateway dies silently: how soon 2,000 routes lead through the other one, beside BIRD with BFD."""

import abc
import contextlib
import random
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from benchmarks.detection import LEARNING
from benchmarks.program import host
from benchmarks.tables import duration, median_of, table
from benchmarks.testbed import Kernel, Notifications, destinations
from static_route_operator.health.detector import FIRST_SAMPLES
from tests.kernel.gateway import Gateway
from tests.kernel.machine import wait_until

INTERVALS = (0.01, 0.1, 1.0)
ROUTES = 2_000
MORTAL, OTHER = "10.9.0.1", "10.8.0.1"


class Watcher(abc.ABC):
    """One that routes through the gateway that can die, as long as it lives, else through the other one.

    Args:
        gateway: the node with both.
        interval: seconds between probes; three are lost before a gateway is dead.
        directory: for its files, empty.
    """

    name: ClassVar[str]

    def __init__(self, gateway: Gateway, interval: float, directory: Path) -> None:
        self.gateway = gateway
        self.interval = interval
        self.directory = directory

    @classmethod
    def missing(cls) -> str:
        """Return the name of a missing program that this one needs; empty if none is missing."""
        return ""

    @abc.abstractmethod
    def at_work(self) -> contextlib.AbstractContextManager[None]:
        """Run the program, with the gateway known to be up, and stop it in the end."""


class Ours(Watcher):
    """The program without a cluster; nothing runs at the gateway."""

    name = "static-route-operator, ICMP"

    @contextlib.contextmanager
    def at_work(self) -> Iterator[None]:
        """Run, and have learnt the round-trip time."""
        spec = {
            "destinations": destinations(ROUTES),
            "gateways": [{"address": MORTAL}, {"address": OTHER, "priority": 1}],
            "healthCheck": {"interval": f"{self.interval * 1000:g}ms"},
        }
        with host({"many": spec}) as running:
            running.program.says(f"Gateway {MORTAL} is up")
            time.sleep(LEARNING + (FIRST_SAMPLES + 1) * self.interval)
            yield


class Bird(Watcher):
    """BIRD on the node, its static routes watched by BFD, and BIRD at the gateway to answer."""

    name = "BIRD, static with BFD, and BIRD at the gateway"

    @classmethod
    def missing(cls) -> str:
        """BIRD may be."""
        return "" if shutil.which("bird") else "BIRD"

    @contextlib.contextmanager
    def at_work(self) -> Iterator[None]:
        """Run both, with the session up."""
        bfd = f"interval {self.interval * 1000:g} ms; multiplier 3;"
        here = [
            "router id 10.9.0.2;",
            "protocol device { }",
            f'protocol bfd {{ interface "eth0" {{ {bfd} }}; }}',
            "protocol kernel { ipv4 { import none; export all; }; }",
            "protocol static active { ipv4 { preference 200; };",
            *(f"  route {each}/32 via {MORTAL} bfd;" for each in destinations(ROUTES)),
            "}",
            "protocol static standby { ipv4 { preference 100; };",
            *(f"  route {each}/32 via {OTHER};" for each in destinations(ROUTES)),
            "}",
        ]
        there = [
            f"router id {MORTAL};",
            "protocol device { }",
            f'protocol bfd {{ interface "gw0" {{ {bfd} }}; neighbor 10.9.0.2 dev "gw0"; }}',
        ]
        with self.gateway.enter():
            far = self._launch("there", there)
        near = self._launch("here", here)
        try:
            wait_until(self._session_is_up, "the BFD session is up")
            yield
        finally:
            for process in (near, far):
                process.terminate()
                process.wait()

    def _launch(self, name: str, configuration: list[str]) -> subprocess.Popen[bytes]:
        file = self.directory / f"{name}.conf"
        file.write_text("\n".join([f'log "{self.directory}/{name}.log" all;', *configuration]) + "\n")
        return subprocess.Popen(["bird", "-f", "-c", file, "-s", self.directory / f"{name}.ctl"])

    def _session_is_up(self) -> bool:
        command: list[str | Path] = ["birdc", "-s", self.directory / "here.ctl", "show", "bfd", "sessions"]
        return " Up " in subprocess.run(command, capture_output=True, text=True, check=False).stdout


WATCHERS: tuple[type[Watcher], ...] = (Ours, Bird)


def failovers(gateway: Gateway, trials: int) -> str:
    """Return the table."""
    rows = []
    for interval in INTERVALS:
        found: dict[type[Watcher], list[tuple[float, float]]] = {each: [] for each in WATCHERS if not each.missing()}
        for _ in range(trials):
            for watcher, times in found.items():
                times.append(_trial(gateway, watcher, interval))
        for watcher in WATCHERS:
            cells = [f"{duration(interval)} x 3", watcher.name]
            if watcher in found:
                first, last = zip(*found[watcher], strict=True)
                all_ = ", ".join(f"{each * 1000:.0f}" for each in sorted(last))
                cells += [median_of(first), median_of(last), all_]
            else:
                cells += [f"{watcher.missing()} is not installed", "", ""]
            rows.append(cells)
    head = ["probes", "who", "until the first route has moved", f"until all {ROUTES:,} have", "each of these, ms"]
    return table(head, rows)


def _trial(gateway: Gateway, watcher: type[Watcher], interval: float) -> tuple[float, float]:
    """Seconds from the death of the gateway until the first route leads through the other one, and until all do."""
    kernel = Kernel()
    try:
        with tempfile.TemporaryDirectory() as directory, watcher(gateway, interval, Path(directory)).at_work():
            kernel.wait(destinations(ROUTES), MORTAL)
            notifications = Notifications()
            time.sleep(random.uniform(0.2, 0.2 + interval))  # noqa: S311  the phase, no secret
            died = gateway.die()
            first, last = notifications.moves(OTHER, ROUTES)
            notifications.close()
    finally:
        gateway.live()
        gateway.run("ip route flush table main root 20.0.0.0/8")
        kernel.close()
    return first - died, last - died
