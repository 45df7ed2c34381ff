"""Others that do the same job, each used as its documentation says."""

import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from pyroute2 import IPRoute

from benchmarks.contender import Contender
from benchmarks.testbed import ADDRESS, INTERFACE

FRR = Path("/usr/lib/frr")

_SCANS = 5


class IpBatch(Contender):
    """`ip -batch FILE`: a process per step, ended when the routes are there."""

    name = "`ip -batch`"

    def install(self, gateway: str) -> float:
        """Add."""
        return self._run([f"route add {each} via {gateway} dev {INTERFACE}" for each in self.destinations])

    def switch(self, gateway: str) -> float:
        """Replace."""
        return self._run([f"route replace {each} via {gateway} dev {INTERFACE}" for each in self.destinations])

    def delete(self) -> float:
        """Delete."""
        return self._run([f"route del {each}" for each in self.destinations])

    def _run(self, commands: Sequence[str]) -> float:
        batch = self.directory / "batch"
        batch.write_text("\n".join(commands) + "\n")
        started = time.perf_counter()
        subprocess.run(["ip", "-batch", batch], check=True)
        return time.perf_counter() - started


class Bird(Contender):
    """BIRD, running: a new configuration, then `birdc configure`."""

    name = "BIRD, `birdc configure`"
    # Seconds between its looks at the kernel's routes; BIRD's default.
    scan_time = 60

    def __init__(self, destinations: Sequence[str], directory: Path) -> None:
        super().__init__(destinations, directory)
        self._configuration = directory / "bird.conf"
        self._control = directory / "bird.ctl"
        self._process: subprocess.Popen[bytes] | None = None

    @classmethod
    def missing(cls) -> str:
        """BIRD may be."""
        return "" if shutil.which("bird") else "BIRD"

    @property
    def pid(self) -> int:
        """Its process."""
        assert self._process is not None, "it is not started"
        return self._process.pid

    def start(self) -> None:
        """Start it without a route, and wait until it answers."""
        self._configure(None)
        self._launch()
        while subprocess.run([*self._client(), "show", "status"], check=False, capture_output=True).returncode:
            time.sleep(0.01)

    def stop(self) -> None:
        """End it; it takes its routes along."""
        super().stop()
        if self._process is not None:
            self._process.terminate()
            self._process.wait()

    def install(self, gateway: str) -> float:
        """Give it the routes."""
        return self._reconfigure(gateway)

    def switch(self, gateway: str) -> float:
        """Give it the other gateway."""
        return self._reconfigure(gateway)

    def delete(self) -> float:
        """Give it no route."""
        return self._reconfigure(None)

    def _reconfigure(self, gateway: str | None) -> float:
        self._configure(gateway)
        started = time.perf_counter()
        subprocess.run([*self._client(), "configure"], check=True, capture_output=True)
        return self.kernel.wait(self.destinations, gateway) - started

    def _client(self) -> list[str | Path]:
        return ["birdc", "-s", self._control]

    def _launch(self) -> None:
        self._process = subprocess.Popen(["bird", "-f", "-c", self._configuration, "-s", self._control])

    def _configure(self, gateway: str | None) -> None:
        routes = [f"  route {each}/32 via {gateway};" for each in self.destinations] if gateway else []
        lines = [
            f'log "{self.directory}/bird.log" all;',
            f"router id {ADDRESS};",
            "protocol device { }",
            f"protocol kernel {{ scan time {self.scan_time}; ipv4 {{ import none; export all; }}; }}",
            "protocol static {",
            "  ipv4;",
            *routes,
            "}",
        ]
        self._configuration.write_text("\n".join(lines) + "\n")


class StartedBird(Bird):
    """BIRD, started with the routes in its configuration."""

    name = "BIRD, started with the routes"

    def start(self) -> None:
        """Not yet."""

    def install(self, gateway: str) -> float:
        """Start it with the routes."""
        self._configure(gateway)
        started = time.perf_counter()
        self._launch()
        return self.kernel.wait(self.destinations, gateway) - started


class ScanningBird(StartedBird):
    """BIRD, which looks at the kernel's routes every second."""

    name = "BIRD, `scan time 1`"
    scan_time = 1

    def scan(self) -> float:
        """Processor seconds of one such look, of several; it does nothing else."""
        before = self._processor_time()
        time.sleep(_SCANS)
        return (self._processor_time() - before) / _SCANS

    def _processor_time(self) -> float:
        return int(Path(f"/proc/{self.pid}/schedstat").read_text().split()[0]) / 1e9


class Frr(Contender):
    """FRR's zebra and staticd, running: `vtysh -f FILE`."""

    name = "FRR, `vtysh -f`"
    # It takes a minute for 100,000, and longer than ten to move them.
    most = 2_000
    # Old routes go in a file of their own if true, so that FRR does not take both for one change.
    two_files = False

    def __init__(self, destinations: Sequence[str], directory: Path) -> None:
        super().__init__(destinations, directory)
        self._processes: list[subprocess.Popen[bytes]] = []
        self._gateway = ""

    @classmethod
    def missing(cls) -> str:
        """FRR may be."""
        return "" if (FRR / "zebra").exists() and shutil.which("vtysh") else "FRR"

    def start(self) -> None:
        """Start both daemons without a route, and wait until they answer."""
        for name in ("zebra", "staticd", "vtysh"):
            (self.directory / f"{name}.conf").touch()
        # The daemons give up being root.
        shutil.chown(self.directory, "frr", "frr")
        for name in ("zebra", "staticd"):
            self._launch(name)
            while not self._answers(name):
                time.sleep(0.05)

    def stop(self) -> None:
        """End both; they take their routes along."""
        super().stop()
        for process in reversed(self._processes):
            process.terminate()
            process.wait()

    def install(self, gateway: str) -> float:
        """Add routes."""
        self._gateway = gateway
        return self._configure(gateway, [f"ip route {each}/32 {gateway}" for each in self.destinations])

    def switch(self, gateway: str) -> float:
        """Add the new ones, remove the old ones."""
        old, self._gateway = self._gateway, gateway
        new = [f"ip route {each}/32 {gateway}" for each in self.destinations]
        gone = [f"no ip route {each}/32 {old}" for each in self.destinations]
        return self._configure(gateway, new, gone) if self.two_files else self._configure(gateway, new + gone)

    def delete(self) -> float:
        """Remove all."""
        return self._configure(None, [f"no ip route {each}/32 {self._gateway}" for each in self.destinations])

    def _configure(self, gateway: str | None, *files: Sequence[str]) -> float:
        """Run files of commands half a second apart, and wait until all routes lead to a gateway, or none to any."""
        paths = [self.directory / f"commands{number}" for number in range(len(files))]
        for path, lines in zip(paths, files, strict=True):
            path.write_text("\n".join(lines) + "\n")
        started = time.perf_counter()
        for path in paths:
            time.sleep(0.5 if path != paths[0] else 0)
            subprocess.run([*self._client(), "-f", path], check=True, capture_output=True)
        return self.kernel.wait(self.destinations, gateway) - started

    def _client(self) -> list[str | Path]:
        return ["vtysh", "--vty_socket", self.directory, "--config_dir", self.directory]

    def _answers(self, daemon: str) -> bool:
        command = [*self._client(), "-d", daemon, "-c", "show version"]
        return not subprocess.run(command, check=False, capture_output=True).returncode

    def _launch(self, name: str) -> None:
        options: list[str | Path] = [
            "-f",
            self.directory / f"{name}.conf",
            "-i",
            self.directory / f"{name}.pid",
            "-P",
            "0",
        ]
        options += ["-z", self.directory / "zserv.api", "--vty_socket", self.directory]
        options += ["--log", f"file:{self.directory / name}.log"]
        self._processes.append(subprocess.Popen([FRR / name, *options], stderr=subprocess.DEVNULL))


class FrrInTwoFiles(Frr):
    """The same; old routes go half a second after the new ones came."""

    name = "FRR, `vtysh -f` twice, 0.5 s apart"
    two_files = True


class Pyroute2(Contender):
    """pyroute2 as its examples show it: one `IPRoute`, a call per route."""

    name = "pyroute2, a call per route"
    most = 2_000

    def start(self) -> None:
        """Open its socket."""
        self._route = IPRoute()
        (self._interface,) = self._route.link_lookup(ifname=INTERFACE)

    def stop(self) -> None:
        """Close its socket."""
        super().stop()
        self._route.close()

    def install(self, gateway: str) -> float:
        """Add."""
        return self._call("add", gateway=gateway, oif=self._interface)

    def switch(self, gateway: str) -> float:
        """Replace."""
        return self._call("replace", gateway=gateway, oif=self._interface)

    def delete(self) -> float:
        """Delete."""
        return self._call("del")

    def _call(self, command: str, **arguments: object) -> float:
        started = time.perf_counter()
        for destination in self.destinations:
            self._route.route(command, dst=f"{destination}/32", **arguments)
        return time.perf_counter() - started


PEERS: tuple[type[Contender], ...] = (IpBatch, Bird, StartedBird, Frr, Pyroute2)
