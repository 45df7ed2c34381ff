"""Records what a command shows on a terminal, for the docs; and draws such a recording as an animated picture.

    recording.py FILE.cast TYPED COMMAND…    run a command, as if TYPED had been typed

FILE.cast is in the form of asciinema (asciicast v2). `make generate` draws FILE.svg from it. CSS alone moves the
picture, so that it plays wherever images are shown. Without animations it is the last screen.
"""

import codecs
import json
import os
import pty
import re
import sys
import time
from dataclasses import dataclass
from html import escape
from pathlib import Path

COLUMNS, ROWS = 84, 30
# Seconds, in the picture: for each line at the least, to read it; for a pause at most; for the last screen.
READING, LONGEST_PAUSE, LAST = 0.15, 2.0, 8.0
# Pixels.
CHARACTER, LINE, SIZE = 8, 18, 13
MARGIN, BAR = 14, 26

STYLES = {"1": "bold", "31": "red", "32": "green"}
_ESCAPE = re.compile(r"\033\[([\d;]*)m")

CSS = """
text { font: 13px ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace; fill: #d0d7de; \
white-space: pre }
.bold { font-weight: 600; fill: #ffffff } .red { fill: #ff7b72 } .green { fill: #56d364 }
@media (prefers-reduced-motion: reduce) { text, .screen { animation: none !important } }
"""


@dataclass(frozen=True)
class Line:
    """A line of the screen, and the time in seconds at which it appears."""

    text: str
    time: float


def record(path: Path, typed: str, command: list[str]) -> int:
    """Run a command on a terminal of its own, write a recording of it, and return its exit status."""
    header = {"version": 2, "width": COLUMNS, "height": ROWS, "title": typed}
    events: list[tuple[float, str, str]] = [(0.0, "o", f"\033[1m$ {typed}\033[0m\r\n")]
    started = time.monotonic()
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ |= {"TERM": "xterm-256color", "COLUMNS": str(COLUMNS), "LINES": str(ROWS)}
        os.execvp(command[0], command)  # noqa: S606  the person's own command
    decoder = codecs.getincrementaldecoder("utf-8")()
    while data := _read(terminal):
        if text := decoder.decode(data):
            events.append((round(time.monotonic() - started + 1, 3), "o", text))
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if status == 0:
        path.write_text("".join(f"{json.dumps(each, ensure_ascii=False)}\n" for each in [header, *events]))
    return status


def picture(cast: str) -> str:
    """Return a recording as an animated SVG."""
    header, *events = map(json.loads, cast.splitlines())
    lines = _lines(events)
    end = lines[-1].time + LAST
    frames = []
    rows = []
    offset = 0
    for index, line in enumerate(lines):
        at = f"{100 * line.time / end:.2f}%"
        offset = max(0, index + 1 - ROWS) * LINE
        frames.append(f"{at} {{ transform: translateY({-offset}px) }}")
        rows.append(
            f"<style>@keyframes line{index} {{ 0% {{ opacity: 0 }} {at} {{ opacity: 1 }} }}</style>"
            f'<text y="{index * LINE + SIZE}" style="animation-name: line{index}">{_spans(line.text)}</text>'
        )
    width, height = COLUMNS * CHARACTER, ROWS * LINE
    newline = "\n"
    return f"""\
<svg xmlns="http://www.w3.org/2000/svg" xml:space="preserve" role="img" aria-label="{escape(header["title"])}"
  viewBox="0 0 {width + 2 * MARGIN} {height + BAR + MARGIN}" width="{width + 2 * MARGIN}">
<style>{CSS}
text, .screen {{ animation: {end:.2f}s step-end infinite }}
.screen {{ animation-name: scroll }}
@keyframes scroll {{ 0% {{ transform: none }} {" ".join(frames)} }}
</style>
<rect width="100%" height="100%" rx="8" fill="#161b22"/>
<circle cx="18" cy="14" r="5" fill="#ff5f57"/>
<circle cx="36" cy="14" r="5" fill="#febc2e"/>
<circle cx="54" cy="14" r="5" fill="#28c840"/>
<svg x="{MARGIN}" y="{BAR}" width="{width}" height="{height}" overflow="hidden">
<g class="screen" transform="translate(0 {-offset})">
{newline.join(rows)}
</g>
</svg>
</svg>
"""


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # EIO: the other side is closed
        return b""


def _lines(events: list[tuple[float, str, str]]) -> list[Line]:
    """Return the lines of a recording, with long pauses cut short. A style ends with its line."""
    lines: list[Line] = []
    now = before = 0.0
    rest = ""
    for moment, _, text in events:
        now += min(moment - before, LONGEST_PAUSE)
        before = moment
        *whole, rest = (rest + text).replace("\r", "").split("\n")
        for line in whole:
            lines.append(Line(line, now))
            now += READING
    return lines


def _spans(text: str) -> str:
    """Return a line with its styles as SVG.

    Raises:
        KeyError: a style is not in `STYLES`.
    """
    pieces = _ESCAPE.split(text)
    out = escape(pieces[0])
    for style, piece in zip(pieces[1::2], pieces[2::2], strict=True):
        names = " ".join(STYLES[each] for each in style.split(";") if each not in {"", "0"})
        out += f'<tspan class="{names}">{escape(piece)}</tspan>' if names and piece else escape(piece)
    return out


def main() -> int:
    """Record, and return the command's exit status."""
    path, typed, *command = sys.argv[1:]
    if status := record(Path(path), typed, command):
        print(f"{' '.join(command)} ended with {status}: nothing is recorded", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
