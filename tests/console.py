"""The blocks of a docs page that a test tries: consoles with commands and what they print, and files with their names.

A line of a ``console`` block that begins with a prompt is a command: ``$`` for the person's own machine, or the name of
a machine and ``#``, as in ``node1# ip route``. What follows up to the next one is its output. A block that begins with
a comment of a single word, as in ``# /etc/…`` or ``# first.yaml``, is that file.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_PROMPT = re.compile(r"(?:\$|([a-z][\w-]*)#) (.+)")
_FILE = re.compile(r"# (\S+)\n")


@dataclass(frozen=True)
class Command:
    """A command of a page.

    Attributes:
        machine: where it is typed; empty for the person's own.
        text: what is typed.
        output: the lines that it is to print.
        line: the number of its line in the page, from 1.
    """

    machine: str
    text: str
    output: tuple[str, ...]
    line: int


def blocks(page: str, language: str) -> Iterator[tuple[str, int]]:
    """The blocks of a language, each with the number of its first line."""
    for match in _BLOCK.finditer(page):
        if match[1] == language:
            yield match[2], page.count("\n", 0, match.start(2)) + 1


def commands(page: str) -> Iterator[Command]:
    """The commands of a page, in their order."""
    for text, first in blocks(page, "console"):
        lines = text.splitlines()
        starts = [index for index, line in enumerate(lines) if _PROMPT.fullmatch(line)]
        for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
            match = _PROMPT.fullmatch(lines[start])
            assert match
            yield Command(match[1] or "", match[2], tuple(lines[start + 1 : end]), first + start)


def files(page: str) -> dict[str, str]:
    """The files of a page by their names."""
    found = (match[2] for match in _BLOCK.finditer(page))
    return {named[1]: text for text in found if (named := _FILE.match(text))}


def rewrite(page: str, answer: Callable[[Command], list[str]]) -> str:
    """The page, with the lines that each command is answered with in the place of its output."""
    lines = page.splitlines()
    moved = 0
    for command in list(commands(page)):
        start = command.line + moved
        new = answer(command)
        lines[start : start + len(command.output)] = new
        moved += len(new) - len(command.output)
    return "\n".join(lines) + "\n"
