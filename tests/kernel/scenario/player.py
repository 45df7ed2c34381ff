"""The player of a scenario: carries out its commands in order, and explains the first that ends otherwise."""

import asyncio
import shlex
import time
from pathlib import Path

import pytest

from static_route_operator.errors import StaticRouteError
from tests.kernel.machine import PATIENCE, Machine
from tests.kernel.scenario.commands import COMMANDS, Play, Result, UsageError
from tests.kernel.scenario.script import Script, ScriptError, Step, agrees, difference, merge, rewrite
from tests.kernel.scenario.stage import STAGES

# Seconds between two looks.
_PAUSE = 0.02
# Seconds until the present output is taken as the expected one.
_WRITING = 3.0
# Seconds before a look whose output is to be written, in which the kernel gets what was asked for.
_SETTLING = 0.6
# Commands after the first `put` that do not start the engine: it finds several objects at its start.
_BEFORE_START = frozenset({"put", "edit", "write", "start"})
# Lines of the log in an explanation.
_LOG = 30


class Player:
    """The player of one scenario.

    Args:
        script: the scenario.
        runner: see `STAGES`.
        directory: an empty one.
        writing: write the present output into the scenario where it is not as expected.
    """

    def __init__(self, script: Script, runner: str, directory: Path, *, writing: bool = False) -> None:
        self._script = script
        self._patience = _WRITING if writing else PATIENCE
        self._writing = writing
        self._play = Play(directory, STAGES[runner](directory))
        self._transcript: list[str] = []
        self._outputs: dict[int, list[str]] = {}
        self._last: Step | None = None
        self._has_objects = False

    async def play(self) -> None:
        """Play the scenario; fail the test at the first command that ends otherwise than it says."""
        try:
            if not self._script.steps[0].text.startswith("topology "):
                Machine().set_up()
            for step in self._script.steps:
                await self._carry_out(step)
        finally:
            await self._play.end()
        if self._outputs:
            self._script.file.write_text(rewrite(self._script, self._outputs))

    async def _carry_out(self, step: Step) -> None:
        begin = time.monotonic()
        name, *words = _split(self._script, step)
        if self._has_objects and self._play.arguments is None and name not in _BEFORE_START:
            await COMMANDS["start"].function(self._play, [], "")
        self._has_objects |= name == "put"
        if name == "holds":
            await self._hold(step, words)
        elif (command := COMMANDS.get(name)) and command.reads:
            await self._call(step)
        else:
            await self._look(step)
            self._last = step
        sign = "$!" if step.fails else "$"
        self._transcript += [f"{sign} {step.text}   # {time.monotonic() - begin:.2f} s"]
        self._transcript += [f"    {line}" for line in step.below]

    async def _look(self, step: Step) -> None:
        """Carry out a command; one with an expected output is repeated until it ends as expected."""
        command = COMMANDS.get(step.text.split()[0])
        again = bool(step.below) or (command is not None and command.repeated)
        if self._writing:
            await asyncio.sleep(_SETTLING)
        end = time.monotonic() + self._patience
        while not _is_good(step, result := await self._call(step)):
            if not again or time.monotonic() > end:
                self._disappoint(step, result)
                return
            await asyncio.sleep(_PAUSE)

    async def _hold(self, step: Step, words: list[str]) -> None:
        """Repeat the last look for a time, in which it must end as expected."""
        if self._last is None or len(words) != 1 or not words[0].endswith("s"):
            raise ScriptError(f"{self._script.where(step)}: write 'holds 1s' after a command that looks")
        end = time.monotonic() + float(words[0].removesuffix("s"))
        while time.monotonic() < end:
            result = await self._call(self._last)
            if not _is_good(self._last, result):
                self._disappoint(self._last, result, f"{self._script.where(step)}: does not hold for {words[0]}: ")
                return
            await asyncio.sleep(_PAUSE)

    async def _call(self, step: Step) -> Result:
        name, *words = _split(self._script, step)
        command = COMMANDS.get(name)
        try:
            if command is None:
                return await self._play.run(step.text)
            return await command.function(self._play, words, "\n".join(step.below)) or Result()
        except (StaticRouteError, OSError) as error:
            return Result(1, f"error: {error}")
        except UsageError as error:
            raise ScriptError(f"{self._script.where(step)}: {error}") from error
        except ValueError as error:
            takes = f"{name} {command.takes}" if command else name
            raise ScriptError(f"{self._script.where(step)}: {error}; write: {takes}") from error

    def _disappoint(self, step: Step, result: Result, where: str = "") -> None:
        good = (result.status != 0) == step.fails
        if self._writing and good:
            self._outputs[step.line] = merge(step.below, result.output)
            return
        where = where or f"{self._script.where(step)}: "
        sign = "$!" if step.fails else "$"
        if not good:
            wanted = "fails, since it begins with '$!'" if step.fails else "succeeds; if it should fail, write '$!'"
            problem = f"ended with {result.status}; expected that it {wanted}"
        else:
            problem = f"the output is another{f' for {self._patience:g} s' if step.below else ''}"
        log = self._play.stage.log().splitlines()[-_LOG:]
        pytest.fail(
            "\n".join(
                [
                    *self._transcript,
                    f"{sign} {step.text}",
                    "",
                    f"{where}{problem}",
                    difference(step.below or ("(nothing)",), result.output, self._script.where(step)),
                    "",
                    "The last lines of the log:",
                    *log,
                ]
            ),
            pytrace=False,
        )


def _split(script: Script, step: Step) -> list[str]:
    name, _, rest = step.text.partition(" ")
    if name not in COMMANDS and name != "holds":
        return [name]
    try:
        return [name, *shlex.split(rest)]
    except ValueError as error:
        raise ScriptError(f"{script.where(step)}: {error}") from error


def _is_good(step: Step, result: Result) -> bool:
    return (result.status != 0) == step.fails and agrees(step.below or ("(nothing)",), result.output)
