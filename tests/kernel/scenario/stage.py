"""The two things that play a scenario: the engine in this process, and `run` as a process."""

import abc
import asyncio
import contextlib
import dataclasses
import logging
import re
import signal
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from static_route_operator.api.staticroute import StaticRoute
from static_route_operator.cli.host.process import NoProcessError, ask
from static_route_operator.cli.verbs import run
from static_route_operator.errors import InvalidSpecError, SettingsError
from static_route_operator.node.dryruns import DryRuns
from static_route_operator.node.hostlock import HostHeldError, HostLock
from static_route_operator.node.introspection import Introspection
from static_route_operator.node.inventory import Invalid
from static_route_operator.node.planner import Planner
from static_route_operator.node.rollback.confirmation import Confirmation
from static_route_operator.observability.http import HttpServer
from static_route_operator.observability.logs import current_level, set_level
from static_route_operator.settings import Settings, StandaloneSettings
from static_route_operator.standalone import main as standalone
from static_route_operator.supervision import run_until
from tests.kernel.machine import wait_until
from tests.kernel.program import Program

# Each scenario has a network namespace, and so all ports, of its own.
ADDRESS, PORT = Settings().http_address, Settings().http_port
# Seconds until new tasks have begun.
_A_MOMENT = 0.01
_TIME = re.compile(r"^[\d-]+ [\d:,]+ ")


class Stage(abc.ABC):
    """The objects of a scenario as files. A subclass keeps their routes.

    Args:
        directory: for the files of the scenario.
    """

    def __init__(self, directory: Path) -> None:
        self.manifests = directory / "manifests"
        self.manifests.mkdir()
        self.running = False
        self._words = ["--manifests", str(self.manifests), "--node-name=node1", f"--state-dir={directory / 'state'}"]

    def file(self, name: str) -> Path:
        """Return the file of an object."""
        return self.manifests / f"{name}.yaml"

    def put(self, name: str, manifest: Mapping[str, Any]) -> None:
        """Create or change an object."""
        # The new file comes in one step: nothing that watches the directory finds half of it.
        new = self.manifests / f".{name}"
        new.write_text(yaml.safe_dump(dict(manifest), sort_keys=False))
        new.rename(self.file(name))

    def remove(self, name: str) -> None:
        """Remove an object."""
        self.file(name).unlink()

    @abc.abstractmethod
    async def start(self, *arguments: str) -> None:
        """Start, with further arguments of `run`.

        Raises:
            SettingsError: the start fails.
        """

    @abc.abstractmethod
    async def stop(self, signum: signal.Signals = signal.SIGTERM) -> None:
        """Stop as the process does at a signal."""

    @abc.abstractmethod
    def log(self) -> str:
        """Return the lines of the log so far."""


class EngineStage(Stage):
    """The engine in this process. Objects come to it one by one, as they come to an agent."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self._objects: dict[str, StaticRoute | Invalid] = {}
        self._host: Any = None
        self._stop = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._log = _Log()
        self._level = current_level()

    def put(self, name: str, manifest: Mapping[str, Any]) -> None:
        """Create or change an object, also in the inventory."""
        super().put(name, manifest)
        known = self._objects.get(name)
        uid, generation = f"uid-{name}", known.generation + 1 if known else 1
        try:
            route = StaticRoute.parse(manifest).identified(uid, generation)
            self._feed({**self._objects, name: route})
        except InvalidSpecError as error:
            self._feed({**self._objects, name: Invalid(uid, generation, error)})

    def remove(self, name: str) -> None:
        """Remove an object, also from the inventory."""
        super().remove(name)
        self._feed({other: each for other, each in self._objects.items() if other != name})

    def _feed(self, objects: dict[str, StaticRoute | Invalid]) -> None:
        if self._host is not None:
            for name, each in objects.items():
                if self._objects.get(name) is not each:
                    self._host.inventory.put(each, 1)
            self._host.inventory.replace({each.uid: 1 for each in objects.values()}, 1)
        self._objects = objects

    async def start(self, *arguments: str) -> None:
        """Start the tasks of `run`, except the one that watches the directory."""
        options = run.command.make_context("run", [*self._words, *arguments]).params
        settings = StandaloneSettings(
            **{each.name: options[each.name] for each in dataclasses.fields(StandaloneSettings)}
        )
        lock = HostLock("an engine of a scenario")
        if not await lock.acquire(asyncio.Event(), standalone.HOST_PATIENCE):
            raise HostHeldError("ended while another engine kept the routes of this host")
        host = standalone._start(settings, options["labels"], partial(Confirmation.of, settings))
        if host.remembered.routes and host.inventory.node is not None:
            node = host.inventory.node
            host.inventory.remember(node, host.remembered.routes)
            host.inventory.set_node(node)
        planner = Planner(host.inventory, host.reconciler)
        dry_runs = DryRuns(host.inventory, host.reconciler, planner)
        host.inventory.on_change.connect(dry_runs.wake)
        handlers = Introspection(host.inventory, host.reconciler).handlers
        server = HttpServer(host.metrics, lambda: host.reconciler.synced, handlers, planner.answer)
        await server.start(settings.http_address, settings.http_port, settings.metrics_address)
        self._level = current_level()
        set_level(settings.log_level)
        logging.getLogger().addHandler(self._log)
        self._host, self._stop, self.running = host, asyncio.Event(), True
        objects, self._objects = self._objects, {}
        self._feed(objects)

        async def work() -> None:
            jobs = (host.reconciler.run(), host.confirmation.run(), dry_runs.run())
            try:
                await run_until(self._stop, jobs, host.confirmation.conclude)
            finally:
                await host.confirmation.stop()
                await server.stop()
                lock.release()

        self._task = asyncio.create_task(work())
        # A task that is cancelled before it begins cleans nothing up.
        await asyncio.sleep(_A_MOMENT)

    async def stop(self, signum: signal.Signals = signal.SIGTERM) -> None:
        """Stop the tasks, or cancel them at SIGKILL."""
        task, self._task, self._host, self.running = self._task, None, None, False
        logging.getLogger().removeHandler(self._log)
        if task is None:
            return
        set_level(self._level)
        self._stop.set()
        if signum == signal.SIGKILL:
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    def log(self) -> str:
        """Return the lines that were logged in this process."""
        return "\n".join(self._log.lines)


class _Log(logging.Handler):
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
        self._log = directory / "log"
        self._program: Program | None = None

    async def start(self, *arguments: str) -> None:
        """Start the process, and wait until it answers."""
        before = self.log()
        program = self._program = Program(self.manifests, self._log, *self._words[2:], *arguments)
        self.running = True
        await asyncio.to_thread(wait_until, lambda: not program.lives or _answers(), "the program answers")
        if not program.lives:
            await self.stop()
            raise SettingsError(self.log().removeprefix(before).strip())

    async def stop(self, signum: signal.Signals = signal.SIGTERM) -> None:
        """Send a signal, and wait for the end."""
        program, self._program, self.running = self._program, None, False
        if program is not None:
            await asyncio.to_thread(program.send, signum)

    def log(self) -> str:
        """Return what the process has written, without date and time."""
        text = self._log.read_text() if self._log.exists() else ""
        return "\n".join(_TIME.sub("", line) for line in text.splitlines())


def _answers() -> bool:
    try:
        ask(ADDRESS, PORT, "/summary")
    except NoProcessError:
        return False
    return True


STAGES: Mapping[str, type[Stage]] = {"engine": EngineStage, "run": RunStage}
