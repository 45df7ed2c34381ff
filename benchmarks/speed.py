"""Benchmark of installing, moving and deleting many routes, and of a run without changes."""

import gc
import resource
import statistics
import subprocess
import time
from collections import defaultdict
from collections.abc import Callable

from benchmarks.contender import Contender, at_work
from benchmarks.ours import Agent, KernelLayer
from benchmarks.peers import PEERS, ScanningBird
from benchmarks.tables import median_of, table
from benchmarks.testbed import GATEWAYS, Kernel, destinations, node

CONTENDERS: tuple[type[Contender], ...] = (Agent, KernelLayer, *PEERS)
STEPS = ("install", "gateway switch", "delete")

Figures = dict[type[Contender], dict[str, list[float]]]


def measure(number: int, rounds: int) -> Figures:
    """Seconds of each step in each round; in a round everybody has a turn."""
    targets = destinations(number)
    figures: Figures = defaultdict(lambda: defaultdict(list))
    for _ in range(rounds):
        for contender in CONTENDERS:
            if contender.missing() or number > contender.most:
                continue
            with node(), at_work(contender, targets) as one:
                gc.collect()
                figures[contender]["install"].append(one.install(GATEWAYS[0]))
                _expect(one.kernel, GATEWAYS[0], number)
                figures[contender]["gateway switch"].append(one.switch(GATEWAYS[1]))
                _expect(one.kernel, GATEWAYS[1], number)
                figures[contender]["delete"].append(one.delete())
                _expect(one.kernel, None, 0)
    return figures


def _expect(kernel: Kernel, gateway: str | None, number: int) -> None:
    found = kernel.count(gateway)
    assert found == (number, number), f"of {number} routes to {gateway} there are {found[0]}, and {found[1]} in all"


def speeds(number: int, rounds: int, figures: Figures) -> str:
    """Return the table for one number of routes."""
    rows = []
    for contender in CONTENDERS:
        if missing := contender.missing():
            rows.append([contender.name, *[f"{missing} is not installed"] * len(STEPS)])
        elif contender in figures:
            rows.append([contender.name, *(_cell(figures, contender, step) for step in STEPS)])
    return table([f"{number:,} routes, {rounds} rounds", *STEPS], rows)


def _cell(figures: Figures, contender: type[Contender], step: str) -> str:
    values = figures[contender][step]
    if contender is Agent:
        return f"**{median_of(values)}**"
    times = statistics.median(values) / statistics.median(figures[Agent][step])
    return f"{median_of(values)}: {times:.1f} x"


def growth(by_number: dict[int, Figures]) -> str:
    """Return the table of microseconds per route."""
    rows = [
        [
            f"{contender.name}: {step}",
            *(
                f"{statistics.median(figures[contender][step]) / number * 1e6:.2f}" if contender in figures else ""
                for number, figures in by_number.items()
            ),
        ]
        for contender in CONTENDERS
        for step in STEPS
        if all(contender in figures for figures in by_number.values())
    ]
    return table(["microseconds per route", *(f"{number:,} routes" for number in by_number)], rows)


def resync(number: int, rounds: int) -> list[str]:
    """Return the row for one number of routes: the cost of a run without changes."""
    targets = destinations(number)
    ours, shown, scans = [], [], []
    with node(), at_work(KernelLayer, targets) as one:
        one.install(GATEWAYS[0])
        for _ in range(rounds):
            gc.collect()
            ours.append(_measured(one.resync))
            shown.append(_measured(_show))
    if not ScanningBird.missing():
        with node(), at_work(ScanningBird, targets) as bird:
            bird.install(GATEWAYS[0])
            scans = [bird.scan() for _ in range(rounds)]
    cells = [cell for pairs in (ours, shown) for cell in map(median_of, zip(*pairs, strict=True))]
    return [f"{number:,}", *cells, median_of(scans) if scans else "BIRD is not installed"]


RESYNC_HEAD = (
    "routes",
    "static-route-operator",
    "its processor time",
    "`ip route show > /dev/null`",
    "its processor time",
    "a scan of BIRD: processor time",
)


def _show() -> None:
    subprocess.run(["ip", "route", "show"], check=True, stdout=subprocess.DEVNULL)


def _measured(action: Callable[[], None]) -> tuple[float, float]:
    """Time and processor time of something that this process does, or a child to its end."""
    busy, started = _processor_time(), time.perf_counter()
    action()
    return time.perf_counter() - started, _processor_time() - busy


def _processor_time() -> float:
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)
