"""The text of a scenario: the promise, and commands with their inputs or outputs below them."""

import difflib
import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

RUNNERS = ("engine", "run")

ANY = "..."
NOTHING = "(nothing)"
_INDENT = " " * 4
_ROOT = Path(__file__).parents[3]
# Times and durations, which differ each time.
_CHANCE = re.compile(r"\d{4}-\d\d-\d\dT[\d:]+Z|[\d.]+(?= m?s\b)")
_RUNS = re.compile(rf"runs: ({'|'.join(RUNNERS)}) \(.+\)")


class ScriptError(Exception):
    """A mistake in a scenario. The text has file, line and remedy."""


@dataclass(frozen=True, slots=True)
class Step:
    """One command.

    Attributes:
        line: number of its line, from 1.
        text: the command.
        fails: True if the command must fail.
        below: the lines below the command, without their indentation and without blank lines.
        lines: number of lines up to the next command that are the command's own.
    """

    line: int
    text: str
    fails: bool
    below: tuple[str, ...]
    lines: int


@dataclass(frozen=True, slots=True)
class Script:
    """A scenario as it stands in its file.

    Attributes:
        file: the file.
        promise: the first paragraph.
        runners: see `RUNNERS`.
        steps: the commands.
    """

    file: Path
    promise: str
    runners: tuple[str, ...]
    steps: tuple[Step, ...]

    def where(self, step: Step) -> str:
        """Return the place of a command."""
        return f"{_name(self.file)}:{step.line}"


def _name(file: Path) -> Path:
    return file.relative_to(_ROOT) if file.is_relative_to(_ROOT) else file


def parse(file: Path) -> Script:
    """Read a scenario.

    Raises:
        ScriptError: the text is not a scenario.
    """
    name = _name(file)
    lines = file.read_text().splitlines()
    first = next((number for number, line in enumerate(lines) if line.startswith("$")), len(lines))
    head = "\n".join(lines[:first]).strip()
    promise, *others = re.split(r"\n\s*\n", head)
    if not promise or promise.startswith(("#", "runs:")):
        raise ScriptError(f"{name}:1: begin with the promise: one or two sentences that the scenario proves")
    runners: tuple[str, ...] = RUNNERS
    for line in (line for other in others for line in other.splitlines() if not line.startswith("#")):
        if not (match := _RUNS.fullmatch(line)):
            raise ScriptError(f"{name}: '{line}' is no header; write 'runs: engine (reason)' or 'runs: run (reason)'")
        runners = (match[1],)
    steps = []
    number = first
    while number < len(lines):
        line = lines[number]
        if not line.strip() or line.startswith("#"):
            number += 1
            continue
        match = re.fullmatch(r"\$(!?) (\S.*)", line)
        if not match:
            problem = "begin a command with '$ ', a comment with '# ', and indent input and output by four spaces"
            raise ScriptError(f"{name}:{number + 1}: '{line}' is neither: {problem}")
        end = number + 1
        while end < len(lines) and (not lines[end].strip() or lines[end].startswith(_INDENT)):
            end += 1
        while not lines[end - 1].strip():
            end -= 1
        below = textwrap.dedent("\n".join(each for each in lines[number + 1 : end] if each.strip())).splitlines()
        steps.append(Step(number + 1, match[2].strip(), bool(match[1]), tuple(below), end - number))
        number = end
    if not steps:
        raise ScriptError(f"{name}: has no command; a command begins with '$ '")
    return Script(file, promise, runners, tuple(steps))


def squeeze(text: str) -> list[str]:
    """Return the lines of an output that count, with each run of spaces as one."""
    return [words for line in text.splitlines() if (words := " ".join(line.split()))]


def agrees(expected: Sequence[str], output: str) -> bool:
    """Report whether an output is as expected; ``...`` stands for any text, and as a whole line for any lines."""
    lines = [] if list(expected) == [NOTHING] else squeeze("\n".join(expected))
    pattern = "".join(r"(?:.*\n)*" if line == ANY else f"{_pattern(line)}\n" for line in lines)
    return re.fullmatch(pattern, "".join(f"{line}\n" for line in squeeze(output))) is not None


def _pattern(line: str) -> str:
    return ".*".join(map(re.escape, line.split(ANY)))


def merge(expected: Sequence[str], output: str) -> list[str]:
    """Return the lines of an output as expected ones.

    An expected line that has ``...`` stays in place of the first line that agrees with it.
    """
    general = [line for line in squeeze("\n".join(expected)) if ANY in line and line != ANY]
    merged = []
    for line in output.splitlines():
        squeezed = " ".join(line.split())
        same = next((each for each in general if re.fullmatch(_pattern(each), squeezed)), None)
        if same is not None:
            general.remove(same)
        if squeezed:
            merged.append(same or _CHANCE.sub(ANY, line.rstrip()))
    return merged or [NOTHING]


def difference(expected: Sequence[str], output: str, where: str) -> str:
    """Return a unified diff of the expected and the actual output."""
    lines = [] if list(expected) == [NOTHING] else squeeze("\n".join(expected))
    found = squeeze("\n".join(merge(expected, output))) if output.strip() else []
    return "\n".join(difflib.unified_diff(lines, found, f"{where} expected", "last output", lineterm="", n=99))


def rewrite(script: Script, outputs: Mapping[int, Sequence[str]]) -> str:
    """Return the text of a scenario with other outputs.

    Args:
        script: the scenario.
        outputs: the lines below a command, by the command's line.
    """
    lines = script.file.read_text().splitlines()
    for step in reversed(script.steps):
        if step.line in outputs:
            new = [f"{_INDENT}{line}" for line in outputs[step.line]]
            lines[step.line : step.line - 1 + step.lines] = new
    return "\n".join(lines) + "\n"
