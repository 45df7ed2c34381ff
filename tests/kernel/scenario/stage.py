"""The two things that a scenario is played with: the engine in this process, and `run` as a process."""

import asyncio
import contextlib
import dataclasses
import logging
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from static_route_operator.api.manifest import parse_manifest
from static_route_operator.api.staticroute import StaticRoute
from static_route_operator.cli.verbs import run
from static_route_operator.node.dryruns import DryRuns
from static_route_operator.node.introspection import Introspection
from static_route_operator.node.planner import Planner
from static_route_operator.observability.http import HttpServer
from static_route_operator.observability.logs import set_level
from static_route_operator.settings import Settings
from static_route_operator.standalone import main as standalone
from static_route_operator.supervision import run_until
from tests.kernel.program import Program

# Every machine has a network namespace, and so all ports, of its own.
_DEFAULTS = ("--node-name", "node1")


class Stage:
    """The objects of a scenario, and what installs their routes.

    Args:
        directory: for the files of the scenario.
    """

    def __init__(self, directory: Path) -> None:
        self.manifests = directory / "manifests"
        self.manifests.mkdir()
        self.running = False

    def put(self, name: str, manifest: Mapping[str, Any]) -> None:
        """Create or change an object."""
        # In one step: no watcher finds half a file.
        new = self.manifests / f".{name}"
        new.write_text(yaml.safe_dump(dict(manifest), sort_keys=False))
        new.rename(self._file(name))

    def remove(self, name: str) -> None:
        """Remove an object."""
        self._file(name).unlink()

    def has(self, name: str) -> bool:
        """Report whether an object exists."""
        return self._file(name).exists()

    def _file(self, name: str) -> Path:
        return self.manifests / f"{name}.yaml"

    async def start(self, *arguments: str) -> None:
        """Start, with further arguments of `run`."""
        raise NotImplementedError

    async def stop(self) -> None:
        """Stop as at SIGTERM."""
        raise NotImplementedError

    async def kill(self) -> None:
        """Stop as at SIGKILL."""
        raise NotImplementedError

    def log(self) -> str:
        """Return the log lines so far."""
        raise NotImplementedError


class EngineStage(Stage):
    """The engine in this process, fed object by object, as an agent feeds it."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self._routes: dict[str, StaticRoute] = {}
        self._host: Any = None
        self._stop = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._log = _LogHandler()

    def put(self, name: str, manifest: Mapping[str, Any]) -> None:
        """Put it into the inventory."""
        super().put(name, manifest)
        generation = self._routes[name].generation + 1 if name in self._routes else 1
        route = parse_manifest(manifest)
        self._routes[name] = dataclasses.replace(route, uid=f"uid-{name}", generation=generation)
        self._feed(name)

    def remove(self, name: str) -> None:
        """Remove it from the inventory."""
        super().remove(name)
        del self._routes[name]
        self._feed()

    def _feed(self, *names: str) -> None:
        if self._host is not None:
            for name in names:
                self._host.inventory.put(self._routes[name], 1)
            self._host.inventory.replace({route.uid: 1 for route in self._routes.values()}, 1)

    async def start(self, *arguments: str) -> None:
        """Start the tasks of `run`, except that of the directory."""
        words = ["--manifests", str(self.manifests), *_DEFAULTS, *arguments]
        options = run.command.make_context("run", words).params
        labels = options.pop("labels")
        settings = Settings(**{each.name: options[each.name] for each in dataclasses.fields(Settings)})
        set_level(settings.log_level)
        logging.getLogger().addHandler(self._log)
        host = self._host = standalone._start(settings, labels, provisional=True)
        self._stop = asyncio.Event()
        self._task = asyncio.create_task(self._run(host, settings))
        self._feed(*self._routes)
        self.running = True

    async def _run(self, host: Any, settings: Settings) -> None:
        planner = Planner(host.inventory, host.reconciler)
        dry_runs = DryRuns(host.inventory, host.reconciler, planner)
        host.inventory.on_change.connect(dry_runs.wake)
        handlers = Introspection(host.inventory, host.reconciler).handlers
        server = HttpServer(host.metrics, lambda: host.reconciler.synced, handlers, planner.answer)
        await server.start(settings.http_address, settings.http_port, settings.metrics_address)
        try:
            jobs = (host.reconciler.run(), host.confirmation.run(), dry_runs.run())
            await run_until(self._stop, jobs, host.confirmation.conclude)
        finally:
            await host.confirmation.stop()
            await server.stop()

    async def stop(self) -> None:
        """Stop, with unconfirmed changes concluded."""
        self._stop.set()
        await self._end()

    async def kill(self) -> None:
        """Cancel all tasks."""
        if self._task is not None:
            self._task.cancel()
        await self._end()

    async def _end(self) -> None:
        task, self._task, self._host, self.running = self._task, None, None, False
        logging.getLogger().removeHandler(self._log)
        if task is not None:
            with contextlib.suppress(asyncio.CancelledError):
                await task

    def log(self) -> str:
        """Return the lines that were logged in this process."""
        return "".join(f"{line}\n" for line in self._log.lines)


class _LogHandler(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.setFormatter(logging.Formatter("%(levelname)s %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


class RunStage(Stage):
    """`run --manifests` as a process."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self._file_of_log = directory / "log"
        self._program: Program | None = None

    async def start(self, *arguments: str) -> None:
        """Start the process."""
        self._program = Program(self.manifests, self._file_of_log, *_DEFAULTS, *arguments)
        self.running = True

    async def stop(self) -> None:
        """Send SIGTERM."""
        await self._end(signal.SIGTERM)

    async def kill(self) -> None:
        """Send SIGKILL."""
        await self._end(signal.SIGKILL)

    async def _end(self, signum: signal.Signals) -> None:
        program, self._program, self.running = self._program, None, False
        if program is not None:
            await asyncio.to_thread(program.send, signum)

    def log(self) -> str:
        """Return what the process has written."""
        text = self._file_of_log.read_text() if self._file_of_log.exists() else ""
        # Without date and time.
        return "".join(f"{line.split(' ', 2)[-1]}\n" for line in text.splitlines())


STAGES: Mapping[str, type[Stage]] = {"engine": EngineStage, "run": RunStage}
