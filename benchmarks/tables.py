"""Tables in Markdown, the machine they are of, and the page they go into."""

import os
import platform
import re
import shutil
import statistics
import subprocess
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path

PAGE = Path(__file__).resolve().parent.parent / "docs/performance.md"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def duration(seconds: float) -> str:
    """Seconds in three digits."""
    if seconds < 1e-3:
        return f"{seconds * 1e6:.0f} µs"
    return f"{seconds * 1e3:.3g} ms" if seconds < 0.9995 else f"{seconds:.3g} s"


def median_of(values: Sequence[float]) -> str:
    """Return the median and the extremes as text."""
    return f"{duration(statistics.median(values))} ({duration(min(values))} to {duration(max(values))})"


def quantile(values: Sequence[float], share: float) -> float:
    """Return a quantile of the values."""
    return sorted(values)[min(int(len(values) * share), len(values) - 1)]


def machine() -> str:
    """One sentence about where all this is measured, and with what."""
    parts = [
        f"{os.cpu_count()} CPUs",
        f"Linux {platform.release()}",
        f"Python {platform.python_version()}",
        f"iproute2 {_says('ip', '-V')}",
        f"BIRD {_says('bird', '--version')}",
        f"FRR {_says('/usr/lib/frr/zebra', '--version')}",
        f"pyroute2 {version('pyroute2')}",
        f"load average before it began {os.getloadavg()[0]:.1f}",
    ]
    return ", ".join(parts) + "."


def _says(*command: str) -> str:
    if shutil.which(command[0]) is None:
        return "not installed"
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = re.search(r"\d+\.[\w.]*", done.stdout + done.stderr)
    return found[0] if found else "of an unknown version"


def publish(name: str, text: str, *, write: bool) -> None:
    """Print a part of the page; and put it there, in place of what stands between its marks."""
    print(f"\n{text}", flush=True)
    if not write:
        return
    begin, end = f"<!-- measured: {name} -->", "<!-- end -->"
    before, _, rest = PAGE.read_text().partition(begin)
    assert rest, f"{PAGE} has no place for {name}"
    PAGE.write_text(f"{before}{begin}\n{text}\n{end}{rest.partition(end)[2]}")
