"""Benchmark of the time in which a route is restored that another program removed."""

import random
import statistics
import subprocess
import time
from typing import NamedTuple

from benchmarks.contender import Contender, at_work
from benchmarks.ours import Process
from benchmarks.peers import Frr, ScanningBird
from benchmarks.tables import duration, median_of, quantile
from benchmarks.testbed import GATEWAYS, Notifications, destinations, node


class Plan(NamedTuple):
    """The plan of the measurements of one contender.

    Attributes:
        trials: routes that are deleted, one after the other.
        pause: the longest one before a trial, in seconds; a scan must not find all of them soon after the last scan.
        flushes: how often all routes are deleted at once.
        protocol: of its routes.
    """

    trials: int
    pause: float
    flushes: int
    protocol: str


PLANS: dict[type[Contender], Plan] = {
    Process: Plan(500, 0.05, 5, "245"),
    ScanningBird: Plan(20, 1.0, 5, "12"),
    # `ip route flush` sends FRR's routes back to the kernel in a form that it refuses: they have a nexthop object.
    Frr: Plan(100, 0.2, 0, "196"),
}
HEAD = ("routes", "who", "trials", "one deleted: median", "p99", "longest", "all flushed: median")
# The shortest pause before a trial, so that it finds its contender at rest. Seconds.
_REST = 0.02


def repairs(number: int) -> list[list[str]]:
    """Return the rows for one number of routes."""
    return [_row(contender, number) for contender in PLANS if number <= contender.most]


def _row(contender: type[Contender], number: int) -> list[str]:
    plan = PLANS[contender]
    if missing := contender.missing():
        return [f"{number:,}", contender.name, f"{missing} is not installed", "", "", "", ""]
    targets = destinations(number)
    with node(), at_work(contender, targets) as one:
        one.install(GATEWAYS[0])
        delays = [_delete(one, plan.pause) for _ in range(plan.trials)]
    flushed = [_flush(contender, targets, plan.protocol) for _ in range(plan.flushes)]
    return [
        f"{number:,}",
        contender.name,
        str(plan.trials),
        duration(statistics.median(delays)),
        duration(quantile(delays, 0.99)),
        duration(max(delays)),
        median_of(flushed) if flushed else "",
    ]


def _delete(one: Contender, pause: float) -> float:
    """Seconds from before a route is deleted until the kernel tells that it is there again."""
    time.sleep(random.uniform(_REST, pause))  # noqa: S311  no secret
    destination = random.choice(one.destinations)  # noqa: S311  likewise
    heard = Notifications()
    started = time.perf_counter()
    one.kernel.delete(destination)
    delay = heard.wait(destination) - started
    heard.close()
    return delay


def _flush(contender: type[Contender], targets: list[str], protocol: str) -> float:
    """Seconds from the start of `ip route flush` until it has ended and all routes are there.

    Each time with a new one: a program whose routes are flushed again and again has reason to leave it be for a while.
    """
    with node(), at_work(contender, targets) as one:
        one.install(GATEWAYS[0])
        time.sleep(1)
        started = time.perf_counter()
        subprocess.run(["ip", "route", "flush", "proto", protocol], check=True, stdout=subprocess.DEVNULL)
        return one.kernel.wait(one.destinations, GATEWAYS[0]) - started
