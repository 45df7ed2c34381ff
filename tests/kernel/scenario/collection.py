"""The files of the folder `scenarios` as tests: ``NAME[engine]`` and ``NAME[run]``."""

import asyncio
import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.kernel.namespaces import new_network_namespace
from tests.kernel.scenario.player import Player
from tests.kernel.scenario.script import RUNNERS, Script, ScriptError, parse

FOLDER = Path(__file__).parents[1] / "scenarios"


class ScenarioFile(pytest.File):
    """A file with a scenario."""

    def collect(self) -> Iterator[pytest.Item]:
        """Return a test for each runner."""
        try:
            runners = parse(self.path).runners
        except ScriptError:
            # The test tells.
            runners = RUNNERS
        for runner in runners:
            yield Scenario.from_parent(self, name=f"{self.path.stem}[{runner}]", runner=runner)


class Scenario(pytest.Item):
    """A scenario, to be played with one runner; see `Player`."""

    def __init__(self, *, runner: str, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._runner = runner

    def runtest(self) -> None:
        """Play the scenario in a directory and a network namespace of its own."""
        script = parse(self.path)
        with tempfile.TemporaryDirectory() as name, contextlib.chdir(name), new_network_namespace():
            asyncio.run(self._play(script, Path(name)))

    async def _play(self, script: Script, directory: Path) -> None:
        await Player(script, self._runner, directory, writing=os.environ.get("SCENARIOS") == "write").play()

    def reportinfo(self) -> tuple[Path, int, str]:
        """Return file, line and title."""
        return self.path, 0, self.name

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """Return the words of a mistake in the file, without a traceback."""
        if isinstance(excinfo.value, ScriptError):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Collect the scenarios."""
    if file_path.suffix == ".txt" and file_path.is_relative_to(FOLDER):
        return ScenarioFile.from_parent(parent, path=file_path)
    return None
