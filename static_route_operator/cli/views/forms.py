"""Output formats of every answer: a table for people, JSON and YAML for programs."""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import click

# Control characters other than the escape sequences of colours: a text of a node must not steer the terminal.
_UNPRINTABLE = re.compile(r"\x1b(?!\[[0-9;]*m)|[\x00-\x1a\x1c-\x1f\x7f-\x9f]")


def show(answer: Mapping[str, Any], output: str, table: Callable[..., Iterable[str]]) -> None:
    """Print an answer.

    Args:
        answer: a JSON object.
        output: table, wide, json or yaml.
        table: makes the lines of the table; its argument ``wide`` adds columns.
    """
    click.echo(form(answer, output, table), nl=False)


def form(answer: Mapping[str, Any], output: str, table: Callable[..., Iterable[str]]) -> str:
    """Return an answer as text; see `show`."""
    if output == "json":
        return json.dumps(answer, indent=2) + "\n"
    if output == "yaml":
        import yaml  # noqa: PLC0415  20 ms, for this format only

        return str(yaml.safe_dump(dict(answer), sort_keys=False))
    return "".join(f"{_UNPRINTABLE.sub('�', line)}\n" for line in table(answer, wide=output == "wide"))


def columns(
    header: Sequence[str], rows: Sequence[Sequence[str]], color: Callable[[Sequence[str]], str | None] | None = None
) -> list[str]:
    """Align rows under a header.

    Args:
        header: names of the columns.
        rows: texts of the cells.
        color: returns the colour of a row, or None.
    """
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header) - 1)]
    lines = [
        "   ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]])
        for row in (header, *rows)
    ]
    if color is None:
        return lines
    return [lines[0], *(paint(line, color(row)) for line, row in zip(lines[1:], rows, strict=True))]


def paint(text: str, color: str | None) -> str:
    """Return a text in a colour, which `click.echo` removes if the output is not a terminal."""
    return click.style(text, fg=color) if color else text


def some(texts: Sequence[str], most: int = 3) -> str:
    """Join the first few texts, and count the others."""
    rest = len(texts) - most
    return ", ".join(texts[:most]) + (f" and {rest} more" if rest > 0 else "")


def unanswered(problems: Sequence[Mapping[str, str]]) -> list[str]:
    """Return a line for each node that could not be asked, with the reason."""
    return [paint(f"# {each['node']} could not be asked: {each['problem']}", "yellow") for each in problems]
