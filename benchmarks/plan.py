"""Benchmark of `plan`: the whole command, with 2,000 destinations, on a host with 100,000 routes.

python -m benchmarks.plan
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.program import host
from benchmarks.tables import machine, median_of, table
from benchmarks.testbed import GATEWAYS, destinations, ip, node
from static_route_operator.api import API_VERSION

THERE, ASKED = 100_000, 2_000
TIMES = 7


def _manifest(directory: Path) -> Path:
    """Destinations of which half are among the routes that there are, by another gateway."""
    asked = destinations(THERE + ASKED // 2)[-ASKED:]
    body = {
        "apiVersion": API_VERSION,
        "kind": "StaticRoute",
        "metadata": {"name": "asked"},
        "spec": {"gateway": GATEWAYS[1], "destinations": asked, "priority": 1},
    }
    file = directory / "asked.json"
    file.write_text(json.dumps(body))
    return file


def _measure(file: Path) -> tuple[str, str, dict[str, int]]:
    """Return the wall-clock time and the CPU time of the command, and its plan."""
    times, processor = [], []
    for _ in range(TIMES):
        started, used = time.perf_counter(), _used()
        done = subprocess.run(
            [sys.executable, "-m", "static_route_operator", "plan", str(file), "-o", "json"],
            capture_output=True,
            check=False,
        )
        times.append(time.perf_counter() - started)
        processor.append(_used() - used)
        summary: dict[str, int] = json.loads(done.stdout)["nodes"][0]["summary"]
    return median_of(times), median_of(processor), summary


def _used() -> float:
    """Seconds of the processor that commands have used so far; unlike the time it does not depend on who else works."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _row(name: str, file: Path) -> list[str]:
    taken, used, summary = _measure(file)
    return [name, taken, used, ", ".join(f"{number} {kind}" for kind, number in summary.items() if number)]


def main() -> None:
    """Measure, and print a table."""
    rows = []
    with tempfile.TemporaryDirectory() as directory:
        file = _manifest(Path(directory))
        with node():
            ip(*(f"route add {each} via {GATEWAYS[0]} proto static" for each in destinations(THERE)))
            rows.append(_row("of others, no agent", file))
        with node(), host({"there": {"gateway": GATEWAYS[0], "destinations": destinations(THERE)}}) as at_work:
            while at_work.installed() < THERE:
                time.sleep(0.1)
            rows.append(_row("of ours, the agent answers", file))
            at_work.program.kill()
            rows.append(_row("of ours, no agent", file))
    print(
        table([f"{THERE:,} routes", f"`plan` of {ASKED:,} destinations", "of that processor", "what it foresees"], rows)
    )
    print(f"\n{machine()}")


if __name__ == "__main__":
    main()
