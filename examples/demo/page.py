"""Output of the demo: headings, sentences, commands with their output, tables. Colours only on a terminal."""

import os
import sys
import textwrap
from collections.abc import Sequence

WIDTH = 80
_MARGIN = "    "

_PLAIN, _BOLD, _RED, _GREEN = "0", "1", "31", "32"


class Page:
    """A writer of blocks of text to standard output, with an empty line between them."""

    def __init__(self) -> None:
        terminal = sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
        self._coloured = terminal and not os.environ.get("NO_COLOR")
        self._gap = False

    def heading(self, text: str) -> None:
        """Write the heading of a section."""
        self._block(self._paint(text, _BOLD))
        self._gap = False

    def say(self, text: str) -> None:
        """Write a paragraph."""
        self._block(textwrap.fill(text, WIDTH, break_long_words=False, break_on_hyphens=False))

    def show(self, text: str) -> None:
        """Write a text unchanged, such as a manifest."""
        self._gap = True
        self._block(textwrap.indent(text.strip("\n"), _MARGIN))

    def run(self, machine: str, commands: Sequence[str], output: str) -> None:
        """Write commands that were run on a machine, and their output."""
        prompts = [self._paint(f"{machine}# {command}", _BOLD) for command in commands]
        self.show("\n".join([*prompts, output.strip("\n") or "(nothing)"]))

    def table(self, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Write a table; columns of counts and times are aligned to the right."""
        lines = [""] * (len(rows) + 1)
        for column in zip(header, *rows, strict=True):
            width = max(map(len, column))
            right = all(cell.isdecimal() or cell.endswith(" ms") for cell in column[1:])
            for index, cell in enumerate(column):
                lines[index] += f"   {cell.rjust(width) if right else cell.ljust(width)}"
        self.show("\n".join(line[3:].rstrip() for line in lines))

    def kept(self, text: str) -> None:
        """Write a promise that was kept."""
        self._mark("ok", _GREEN, text)

    def failed(self, text: str) -> None:
        """Write an error."""
        self._mark("FAILED", _RED, text)

    def _mark(self, mark: str, colour: str, text: str) -> None:
        margin = " " * (len(mark) + 2)
        filled = textwrap.fill(
            text,
            WIDTH,
            initial_indent=margin,
            subsequent_indent=margin,
            break_long_words=False,
            break_on_hyphens=False,
        )
        self._block(self._paint(mark, colour) + filled.removeprefix(" " * len(mark)))

    def _block(self, text: str) -> None:
        print(f"\n{text}" if self._gap else text, flush=True)
        self._gap = True

    def _paint(self, text: str, style: str) -> str:
        return f"\033[{style}m{text}\033[{_PLAIN}m" if self._coloured else text
