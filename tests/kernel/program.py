"""The standalone program as a process, on the machine that this process is on."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.kernel.machine import PATIENCE, wait_until

_ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("STATIC_ROUTE_OPERATOR_")}


def _environment(directory: Path) -> dict[str, str]:
    """Return the environment of the program: its state stays beside its manifests, not on this machine."""
    return {**_ENVIRONMENT, "STATIC_ROUTE_OPERATOR_STATE_DIR": str(directory.with_name("state"))}


def command(*arguments: str) -> list[str]:
    """Return the command line of the program."""
    return [sys.executable, "-m", "static_route_operator", *arguments]


def call(*arguments: str, prefix: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
    """Run the program to its end.

    Args:
        arguments: of the program.
        prefix: what runs it, as `setpriv`.
    """
    words = [*prefix, *command(*arguments)]
    directory = Path(arguments[arguments.index("--manifests") + 1]) if "--manifests" in arguments else None
    env = _environment(directory) if directory else _ENVIRONMENT
    return subprocess.run(words, capture_output=True, text=True, check=False, timeout=PATIENCE * 3, env=env)


class Program:
    """`run` at work on a directory.

    Args:
        directory: of the manifests.
        log: file for what it says.
        arguments: further ones.
    """

    def __init__(self, directory: Path, log: Path, *arguments: str) -> None:
        self._log = log
        with log.open("ab") as file:
            self._process = subprocess.Popen(
                command("run", "--manifests", str(directory), *arguments),
                stdout=file,
                stderr=subprocess.STDOUT,
                env=_environment(directory),
            )

    @property
    def pid(self) -> int:
        """Return the process id."""
        return self._process.pid

    @property
    def log(self) -> str:
        """Return the program's output so far."""
        return self._log.read_text()

    @property
    def lives(self) -> bool:
        """Return True until the program has ended."""
        return self._process.poll() is None

    def says(self, words: str) -> None:
        """Wait until the program's output has a text."""
        wait_until(lambda: words in self.log or not self.lives, f"the program says '{words}'")
        assert words in self.log, self.log

    def send(self, signum: signal.Signals) -> int:
        """Send a signal that ends the program; return its exit code."""
        self._process.send_signal(signum)
        return self._process.wait(PATIENCE)

    def kill(self) -> None:
        """Kill the program, if it has not ended."""
        self._process.kill()
        self._process.wait(PATIENCE)


@contextlib.contextmanager
def running(directory: Path, log: Path, *arguments: str) -> Iterator[Program]:
    """Run the program, and kill it in the end."""
    program = Program(directory, log, *arguments)
    try:
        yield program
    finally:
        program.kill()
