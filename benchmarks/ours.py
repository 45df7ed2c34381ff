"""This program, in two sizes: the kernel layer alone, and a running agent."""

import abc
import asyncio
import contextlib
import gc
import json
import logging
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Sequence
from http import HTTPStatus
from pathlib import Path

from benchmarks.contender import Contender
from benchmarks.testbed import GATEWAYS, INTERFACE
from static_route_operator.api import API_VERSION
from static_route_operator.api.noderoutestate import RowState
from static_route_operator.api.nodeselector import Node
from static_route_operator.kernel.fib import Fib
from static_route_operator.kernel.network import read_network
from static_route_operator.node.inventory import Inventory
from static_route_operator.node.reconciler import Reconciler
from static_route_operator.observability.metrics import Metrics
from static_route_operator.planning.diff import diff
from static_route_operator.routing.keys import TABLE_MAIN, default_metric, pack_table_metric
from static_route_operator.routing.keyset import KeySet
from static_route_operator.routing.nexthops import NextHops
from static_route_operator.routing.prefixes import IPV4_PREFIX_SIZE, pack_address, pack_prefixes
from static_route_operator.routing.protection import Protection
from static_route_operator.routing.routes import Action, Operation, Routes
from static_route_operator.standalone.manifests import ManifestDirectory

# Its log is not part of the tables.
logging.getLogger("static_route_operator").addHandler(logging.NullHandler())

# An agent that has just worked pauses a little before it looks again; a change in the field does not come at once.
_SETTLING = 0.3  # seconds


class KernelLayer(Contender):
    """Ready-made operations: encoded, sent, and the kernel's answers to them read."""

    name = "static-route-operator, kernel layer alone"

    def start(self) -> None:
        """Open the socket, and have the keys ready."""
        self._runner = asyncio.Runner()
        self._runner.run(self._open())
        table_metric = pack_table_metric(TABLE_MAIN, default_metric(pack_address(GATEWAYS[0])))
        prefixes = pack_prefixes(self.destinations, IPV4_PREFIX_SIZE)
        self._keys = KeySet.with_table_metric(IPV4_PREFIX_SIZE, prefixes, table_metric)

    async def _open(self) -> None:
        self._fib = Fib()
        interfaces = (await read_network()).names
        (self._interface,) = (index for index, name in interfaces.items() if name == INTERFACE)

    def stop(self) -> None:
        """Close the socket."""
        super().stop()
        self._fib.close()
        self._runner.close()

    def install(self, gateway: str) -> float:
        """Add."""
        self._path = NextHops.via(pack_address(gateway), self._interface)
        return self._apply(Action.ADD)

    def switch(self, gateway: str) -> float:
        """Replace."""
        self._path = NextHops.via(pack_address(gateway), self._interface)
        return self._apply(Action.REPLACE)

    def delete(self) -> float:
        """Delete."""
        return self._apply(Action.DELETE)

    def resync(self) -> None:
        """Read the kernel's routes and compare them with those that were put there."""
        self._runner.run(self._resync())

    async def _resync(self) -> None:
        desired = Routes({self._path: self._keys})
        operations = diff(desired, await self._fib.read(desired))
        assert not operations, operations[0][:2]

    def _apply(self, action: Action) -> float:
        operation = Operation(action, self._path, self._keys)
        started = time.perf_counter()
        failures = self._runner.run(self._fib.apply([operation]))
        took = time.perf_counter() - started
        assert not failures, next(iter(failures.values()))
        return took


class Manifested(Contender):
    """A contender that takes a manifest in a directory."""

    def install(self, gateway: str) -> float:
        """Write the manifest."""
        return self._change(gateway)

    def switch(self, gateway: str) -> float:
        """Give it the manifest with the other gateway."""
        return self._change(gateway)

    def delete(self) -> float:
        """Take the manifest away."""
        return self._change(None)

    @abc.abstractmethod
    def _change(self, gateway: str | None) -> float:
        """Write the manifest for a gateway, or take it away; the seconds until the kernel has it."""


class Agent(Manifested):
    """A running agent without a cluster: from a changed manifest on disk until it reports the change as programmed.

    The step begins when the directory is read; in the field the file system's notification comes before that.
    """

    name = "static-route-operator, whole path"

    def start(self) -> None:
        """Run, and wait until it has found that there is nothing to do."""
        self._runner = asyncio.Runner()
        self._runner.run(self._start())

    def stop(self) -> None:
        """End it; the routes stay."""
        super().stop()
        self._runner.run(self._stop())
        self._runner.close()

    def _change(self, gateway: str | None) -> float:
        write_manifest(self.directory, self.destinations, gateway)
        gc.collect()
        return self._runner.run(self._load(gateway))

    async def _start(self) -> None:
        inventory = Inventory()
        self._reported = asyncio.Event()
        self._reconciler = Reconciler(
            inventory, Metrics(), protected=Protection, on_rows=self._reported.set, resync=3600.0
        )
        inventory.on_change.connect(self._reconciler.wake)
        inventory.set_node(Node("node1", {}))
        self._manifests = ManifestDirectory(self.directory, inventory)
        self._task = asyncio.create_task(self._reconciler.run())
        self._manifests.load()
        while not self._reconciler.synced:  # noqa: ASYNC110  nothing tells, and nothing is timed
            await asyncio.sleep(0.01)

    async def _stop(self) -> None:
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    async def _load(self, gateway: str | None) -> float:
        generation = self._generation() + 1
        await asyncio.sleep(_SETTLING)
        started = time.perf_counter()
        self._manifests.load()
        await self._until(lambda: self._generation() == (generation if gateway else 0))
        return time.perf_counter() - started

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self._reported.clear()
            await self._reported.wait()

    def _generation(self) -> int:
        """Return the generation of the object that is installed; 0 when the object is gone."""
        done = [row.generation for row in self._reconciler.rows if row.state is RowState.PROGRAMMED]
        return done[0] if done else 0


class Process(Manifested):
    """The program without a cluster, as a process: what a user starts."""

    name = "static-route-operator"

    def start(self) -> None:
        """Start it, and wait until it is ready."""
        command: list[str | Path] = [
            sys.executable,
            "-m",
            "static_route_operator",
            "run",
            "--manifests",
            self.directory,
        ]
        with (self.directory / "log").open("w") as log:
            self._process = subprocess.Popen(command, stderr=log)
        while not self._ready():
            assert self._process.poll() is None, (self.directory / "log").read_text()
            time.sleep(0.05)

    def stop(self) -> None:
        """End it; the routes stay."""
        super().stop()
        self._process.terminate()
        self._process.wait()

    def _change(self, gateway: str | None) -> float:
        started = time.perf_counter()
        write_manifest(self.directory, self.destinations, gateway)
        return self.kernel.wait(self.destinations, gateway) - started

    def _ready(self) -> bool:
        try:
            with urllib.request.urlopen("http://127.0.0.1:9245/readyz", timeout=5) as answer:
                return bool(answer.status == HTTPStatus.OK)
        except OSError:
            return False


def write_manifest(directory: Path, destinations: Sequence[str], gateway: str | None) -> None:
    """Put a StaticRoute into a directory, or take it away."""
    file = directory / "many.json"
    if gateway is None:
        file.unlink()
        return
    manifest = {
        "apiVersion": API_VERSION,
        "kind": "StaticRoute",
        "metadata": {"name": "many"},
        "spec": {"destinations": destinations, "gateway": gateway},
    }
    # Written beside it and moved, so that nobody reads half of it.
    part = directory / "many.part"
    part.write_text(json.dumps(manifest))
    part.rename(file)
