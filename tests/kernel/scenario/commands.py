"""The commands of scenarios. A function in this module with `@command` is one more."""

import asyncio
import contextlib
import operator
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from click import unstyle
from click.testing import CliRunner
from prometheus_client.parser import text_string_to_metric_families

from static_route_operator.cli.host.process import ask
from static_route_operator.cli.program import program
from static_route_operator.cli.views import status
from static_route_operator.observability.metrics import PREFIX
from tests.kernel.scenario.stage import ADDRESS, PORT, Stage
from tests.unit.builders import manifest

TOPOLOGIES = Path(__file__).parents[1] / "scenarios" / "topologies"

_ROOT = Path(__file__).parents[3]
# Words of a shell, which no file of the path has.
_SHELL = frozenset({"for", "if", "while", "until", "(", "{", "!"})


class Result(NamedTuple):
    """The end of a command: exit status and output."""

    status: int = 0
    output: str = ""


class UsageError(Exception):
    """A command that can't be carried out as it is written. The text has the remedy."""


@dataclass
class Play:
    """A scenario that is being played.

    Attributes:
        directory: working directory of the commands.
        stage: see `Stage`.
        arguments: of the last `start`; None before it.
    """

    directory: Path
    stage: Stage
    arguments: Sequence[str] | None = None

    def __post_init__(self) -> None:
        self._background: list[subprocess.Popen[bytes]] = []
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        self._environment = {**os.environ, "PATH": path, "PYTHONPATH": str(_ROOT), "NO_COLOR": "1", "LC_ALL": "C"}
        # The names of `ip netns` are mounts: in a mount namespace of the scenario's own they are its own, and end
        # with the scenario.
        script = "mount --make-rprivate / && mkdir -p /run/netns && mount -t tmpfs netns /run/netns && echo && exec cat"
        self._mounts = subprocess.Popen(
            ["unshare", "--mount", "sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self._mounts.stdout is not None
        assert self._mounts.stdout.readline(), "no mount namespace: these tests need root"
        self._enter = ["nsenter", f"--mount=/proc/{self._mounts.pid}/ns/mnt", "sh", "-c"]

    async def end(self) -> None:
        """Stop everything that the scenario has started."""
        for each in self._background:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(each.pid, signal.SIGKILL)
            each.communicate()
        await self.stage.stop(signal.SIGKILL)
        self._mounts.communicate()

    async def run(self, text: str) -> Result:
        """Carry out a command of the system; one that ends with ``&`` goes on in the background."""
        word = text.split(maxsplit=1)[0]
        if word not in _SHELL and shutil.which(word, path=self._environment["PATH"]) is None:
            known = ", ".join(sorted(COMMANDS))
            raise UsageError(f"'{word}' is neither a program of this machine nor one of {known}")
        line = [*self._enter, f"cd {self.directory} && {text.removesuffix('&')}"]
        if text.endswith("&"):
            self._background.append(_start_in_background(line, self._environment))
            return Result()
        process = await asyncio.create_subprocess_exec(
            *line,
            env=self._environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
        return Result(process.returncode or 0, output.decode(errors="replace"))


def _start_in_background(line: Sequence[str], environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    nothing = subprocess.DEVNULL
    # Some programs end with their input.
    return subprocess.Popen(
        line, env=environment, stdin=subprocess.PIPE, stdout=nothing, stderr=nothing, start_new_session=True
    )


Function = Callable[[Play, list[str], str], Awaitable[Result | None]]


class Command(NamedTuple):
    """A command of scenarios.

    Attributes:
        function: receives the words after the name, and the input.
        takes: the words after the name, for messages.
        reads: True if the lines below the command are its input, not its expected output.
        repeated: True if the command is repeated until it succeeds although nothing is written below it.
    """

    function: Function
    takes: str
    reads: bool
    repeated: bool


COMMANDS: dict[str, Command] = {}


def command(takes: str = "", *, reads: bool = False, repeated: bool = False) -> Callable[[Function], Function]:
    """Add a command with the name of the function; see `Command`."""

    def add(function: Function) -> Function:
        COMMANDS[function.__name__] = Command(function, takes, reads, repeated)
        return function

    return add


def read_manifest(name: str, text: str) -> Mapping[str, Any]:
    """Return the manifest of an object, of which a text may be the spec alone."""
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UsageError(f"the spec of StaticRoute {name} is not YAML: {error}") from error
    if not isinstance(found, dict):
        raise UsageError(f"write the spec of StaticRoute {name} as YAML below, indented by four spaces")
    return found if "kind" in found else {**manifest(name), "spec": found}


@command("NAME", reads=True)
async def put(play: Play, words: list[str], text: str) -> None:
    """Create a StaticRoute from its spec; the engine starts after the first ones, unless `start` did."""
    (name,) = words
    if play.stage.file(name).exists():
        raise UsageError(f"StaticRoute {name} is there already: use 'edit {name}'")
    play.stage.put(name, read_manifest(name, text))


@command("NAME", reads=True)
async def edit(play: Play, words: list[str], text: str) -> None:
    """Replace the spec of a StaticRoute."""
    (name,) = words
    if not play.stage.file(name).exists():
        raise UsageError(f"StaticRoute {name} is not there: use 'put {name}'")
    play.stage.put(name, read_manifest(name, text))


@command("NAME")
async def remove(play: Play, words: list[str], text: str) -> None:
    """Remove a StaticRoute."""
    (name,) = words
    if not play.stage.file(name).exists():
        raise UsageError(f"StaticRoute {name} is not there")
    play.stage.remove(name)


@command("FILE", reads=True)
async def write(play: Play, words: list[str], text: str) -> None:
    """Write a file in the scenario's directory, such as one for `plan` or `validate`."""
    (name,) = words
    (play.directory / name).write_text(f"{text}\n")


@command("[ARGUMENT OF run ...]")
async def start(play: Play, words: list[str], text: str) -> None:
    """Start the engine, with further arguments of `run`."""
    if play.stage.running:
        raise UsageError("it runs already; write 'start' before the first 'put', or 'stop' first")
    play.arguments = words
    await play.stage.start(*words)


@command()
async def stop(play: Play, words: list[str], text: str) -> None:
    """Stop the engine as at SIGTERM."""
    await play.stage.stop()


@command()
async def kill(play: Play, words: list[str], text: str) -> None:
    """Stop the engine as at SIGKILL."""
    await play.stage.stop(signal.SIGKILL)


@command()
async def restart(play: Play, words: list[str], text: str) -> None:
    """Stop the engine and start it with the same arguments."""
    await play.stage.stop()
    await play.stage.start(*play.arguments or ())


@command("NAME")
async def topology(play: Play, words: list[str], text: str) -> None:
    """Make another network than the usual one; the first command of a scenario."""
    (name,) = words
    file = TOPOLOGIES / f"{name}.sh"
    if not file.exists():
        raise UsageError(f"there is no topology '{name}'; add {file}")
    result = await play.run(f"sh -e {file}")
    if result.status:
        raise UsageError(f"{file} fails: {result.output}")


@command("INTERFACE ADDRESS [WORD ...]")
async def advertise(play: Play, words: list[str], text: str) -> Result:
    """Advertise a router once, as `tests/kernel/advertise.py` says."""
    return await play.run(f"{sys.executable} -m tests.kernel.advertise {' '.join(words)}")


@command()
async def rows(play: Play, words: list[str], text: str) -> Result:
    """Show the row of each StaticRoute."""
    report = await asyncio.to_thread(ask, ADDRESS, PORT, "/summary")
    return Result(output=unstyle("\n".join(status.rows(report))))


@command("[TEXT]")
async def log(play: Play, words: list[str], text: str) -> Result:
    """Show the lines of the log that have a text, without the time."""
    lines = [line for line in play.stage.log().splitlines() if " ".join(words) in line]
    return Result(output="\n".join(lines))


_COMPARISONS = {"=": operator.eq, ">": operator.gt, "<": operator.lt, ">=": operator.ge, "<=": operator.le}


@command('NAME[{LABEL="VALUE"}] [= | > | < | >= | <=] VALUE', repeated=True)
async def metric(play: Play, words: list[str], text: str) -> Result:
    """Compare the sum of a metric's samples with these labels with a value; without one it counts as 0."""
    name, *comparison, value = words
    name, _, labels = name.partition("{")
    wanted = set(re.findall(r'(\w+)="?([^",}]*)', labels))
    samples = [
        sample.value
        for family in text_string_to_metric_families(await asyncio.to_thread(_scrape))
        for sample in family.samples
        if sample.name == f"{PREFIX}_{name}" and wanted <= sample.labels.items()
    ]
    sign = " ".join(comparison) or "="
    if sign not in _COMPARISONS:
        raise ValueError(f"'{sign}' is no comparison")
    good = _COMPARISONS[sign](sum(samples), float(value))
    return Result() if good else Result(1, f"{name} is {sum(samples):g}")


def _scrape() -> str:
    connection = HTTPConnection(ADDRESS, PORT, timeout=5)
    with contextlib.closing(connection):
        connection.request("GET", "/metrics")
        return connection.getresponse().read().decode()


def _verb(name: str) -> None:
    """Add a verb of the command line, asked of this host, in this process: a new one would take half a second."""

    async def function(play: Play, words: list[str], text: str) -> Result:
        verb = program.get_command(program.make_context("", [], resilient_parsing=True), name)
        assert verb is not None
        local = ["--local"] if any(each.name == "local" for each in verb.params) else []
        result = await asyncio.to_thread(CliRunner().invoke, program, [name, *words, *local])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Result(result.exit_code, result.output)

    COMMANDS[name] = Command(function, f"(as `static-route-operator {name} --help` says)", reads=False, repeated=False)


for _name in ("routes", "diff", "explain", "gateways", "plan", "status", "validate", "log-level"):
    _verb(_name)
