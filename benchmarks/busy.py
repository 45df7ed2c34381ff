"""Drift and fail-over on nodes where other programs have much, and change it all the time: a table.

`python -m benchmarks.busy [--write] [--rounds N] [--before DIRECTORY] [STATE…]`, as root, from the root of the project.
Each kind of node is a network namespace of its own. In each round, the program has a turn on each of them, so that
other load on the machine meets all kinds alike. With `--before`, the program from another checkout has turns too.
"""

import argparse
import contextlib
import random
import statistics
import time
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.churn import Churn
from benchmarks.detection import LEARNING
from benchmarks.processes import processor_time
from benchmarks.program import Host, host
from benchmarks.tables import duration, machine, median_of, publish, quantile, table
from benchmarks.testbed import Kernel, Notifications, destinations, ip
from static_route_operator.health.detector import FIRST_SAMPLES
from tests.kernel.gateway import Gateway
from tests.kernel.machine import PATIENCE
from tests.kernel.namespaces import network_namespace_of, new_network_namespace

ROUTES = 2_000
MORTAL, OTHER = "10.9.0.1", "10.8.0.1"
INTERVAL = 0.01
# Routes that are deleted in each turn, one after the other, and the pauses between them in seconds.
DELETIONS = 20
PAUSES = (0.03, 0.08)
# Seconds between the start of the changes and the measurement, and of the measurement of the processor time.
SETTLING = 1.0
MEASURED = 2.0

# Protocol of the routes of `ip -batch`.
BATCH = 250

ROUNDS = 7
HERE = Path(__file__).resolve().parent.parent


class State(NamedTuple):
    """The objects of other programs on a node.

    Attributes:
        words: for the table.
        kind: a key of `churn.KINDS`.
        number: number of objects; 0 for none.
        rate: changes a second; 0 for none.
    """

    words: str
    kind: str = "addresses"
    number: int = 0
    rate: float = 0


STATES = {
    "quiet": State("nothing else"),
    "addresses": State("5,000 addresses on kube-ipvs0", "addresses", 5_000),
    "changing-addresses": State("5,000 addresses, 100 a second go and 100 others come", "addresses", 5_000, 100),
    "links": State("2,000 virtual Ethernet links, 20 a second go and 20 others come", "links", 1_000, 10),
    "rules": State("10,000 rules, 20 a second go and 20 others come", "rules", 10_000, 20),
    "routes": State("100,000 routes of others, 100 a second change their gateway", "routes", 100_000, 100),
}


class Turn(NamedTuple):
    """The figures of one turn.

    Attributes:
        repairs: seconds from the deletion of a route until it is back.
        failover: seconds from the death of the gateway until the first route has moved, and until all have.
        batch: seconds in which `ip -batch` moves as many routes, which the kernel's own work bounds as well.
        start: seconds from the start of a new process until it has installed all routes.
        processor: share of a processor that the program takes, with nothing to do for itself.
        failed: runs that failed.
    """

    repairs: list[float]
    failover: tuple[float, float]
    batch: float
    start: float
    processor: float
    failed: int


class Node:
    """A node with two gateways, one of which can die, and with objects of other programs.

    Args:
        state: these objects.
    """

    def __init__(self, state: State) -> None:
        self.state = state
        with new_network_namespace():
            self.gateway = Gateway()
            self.gateway.add_second()
            self._churn = Churn(state.kind, state.number, state.rate)

    def stop(self) -> None:
        """End all processes; the namespace goes with them."""
        self._churn.stop()
        self.gateway.stop()

    def restore(self) -> None:
        """Bring the gateway back, and remove the routes of the program."""
        self.gateway.live()
        self.gateway.run("ip route flush proto 245")

    def enter(self) -> contextlib.AbstractContextManager[None]:
        """Move this thread to the node inside the context."""
        return network_namespace_of(self._churn.pid)

    def busy(self) -> contextlib.AbstractContextManager[None]:
        """Let objects come and go inside the context."""
        return self._churn.going() if self.state.rate else contextlib.nullcontext()


def take_turn(node: Node, source: Path) -> Turn:
    """Run the program of a checkout on a node, and measure."""
    spec = {
        "destinations": destinations(ROUTES),
        "gateways": [{"address": MORTAL}, {"address": OTHER, "priority": 1}],
        "healthCheck": {"interval": f"{INTERVAL * 1000:g}ms"},
    }
    # The program is that of the directory in which Python starts.
    with node.enter(), contextlib.chdir(source):
        try:
            with host({"many": spec}) as running:
                running.program.says(f"Gateway {MORTAL} is up")
                time.sleep(LEARNING + (FIRST_SAMPLES + 1) * INTERVAL)
                with node.busy():
                    turn = _measure(node, running)
            node.restore()
            with node.busy():
                return turn._replace(batch=_batch(), start=_start(spec))
        finally:
            node.restore()


def _measure(node: Node, running: Host) -> Turn:
    time.sleep(SETTLING)
    started, used = time.monotonic(), processor_time(running.program.pid)
    time.sleep(MEASURED)
    processor = (processor_time(running.program.pid) - used) / (time.monotonic() - started)
    repairs = [_delete() for _ in range(DELETIONS)]
    time.sleep(random.uniform(*PAUSES))  # noqa: S311  the phase, no secret
    failover = PATIENCE, PATIENCE
    with contextlib.closing(Notifications()) as heard, contextlib.suppress(TimeoutError):
        died = node.gateway.die()
        first, last = heard.moves(OTHER, ROUTES, PATIENCE)
        failover = first - died, last - died
    failed = int(running.metric("reconcile_errors_total"))
    return Turn(repairs, failover, batch=0, start=0, processor=processor, failed=failed)


def _start(spec: dict[str, Any]) -> float:
    """Return the seconds from the start of the program until it has installed all routes."""
    started = time.monotonic()
    with contextlib.suppress(AssertionError), host({"many": spec}):
        return time.monotonic() - started
    return PATIENCE


def _batch() -> float:
    """Return the seconds in which `ip -batch` moves as many routes from one gateway to the other."""
    ip(*(f"route add {each} via {MORTAL} proto {BATCH}" for each in destinations(ROUTES)))
    started = time.monotonic()
    ip(*(f"route replace {each} via {OTHER} proto {BATCH}" for each in destinations(ROUTES)))
    took = time.monotonic() - started
    ip(f"route flush proto {BATCH}")
    return took


def _delete() -> float:
    """Return the seconds from before a route is deleted until the kernel reports that it is back."""
    time.sleep(random.uniform(*PAUSES))  # noqa: S311  the phase, no secret
    destination = random.choice(destinations(ROUTES))  # noqa: S311  likewise
    with contextlib.closing(Kernel()) as kernel, contextlib.closing(Notifications()) as heard:
        started = time.perf_counter()
        kernel.delete(destination)
        with contextlib.suppress(TimeoutError):
            return heard.wait(destination, PATIENCE) - started
    return PATIENCE


def figures(states: list[State], sources: dict[str, Path], rounds: int) -> str:
    """Return the table."""
    turns: dict[tuple[State, str], list[Turn]] = {(state, name): [] for state in states for name in sources}
    with contextlib.ExitStack() as stack:
        nodes = []
        for state in states:
            nodes.append(Node(state))
            stack.callback(nodes[-1].stop)
        for _ in range(rounds):
            for node in nodes:
                for name, source in sources.items():
                    turns[node.state, name].append(take_turn(node, source))
    head = ["others on the node", "one deleted: median", "p99", "gateway dead: first route moved", "all moved"]
    head += ["`ip -batch` moves as many", "start of the program", "of a core", "failed runs"]
    rows = [_row(state, name, found, turns[states[0], name]) for (state, name), found in turns.items()]
    if len(sources) == 1:
        return table(head, [row[1:] for row in rows])
    return table(["program", *head], rows)


def _row(state: State, name: str, found: list[Turn], quiet: list[Turn]) -> list[str]:
    repairs, failovers = _repairs(found), [turn.failover for turn in found]
    shares = [turn.processor for turn in found]
    return [
        name,
        state.words,
        _compared(repairs, _repairs(quiet)),
        duration(quantile(repairs, 0.99)),
        *(_compared([each[at] for each in failovers], [turn.failover[at] for turn in quiet]) for at in (0, 1)),
        duration(statistics.median(turn.batch for turn in found)),
        duration(statistics.median(turn.start for turn in found)),
        f"{statistics.median(shares) * 100:.1f} % ({min(shares) * 100:.1f} % to {max(shares) * 100:.1f} %)",
        str(sum(turn.failed for turn in found)),
    ]


def _repairs(turns: list[Turn]) -> list[float]:
    return [each for turn in turns for each in turn.repairs]


def _compared(values: list[float], quiet: list[float]) -> str:
    return f"{median_of(values)}: {statistics.median(values) / statistics.median(quiet):.1f} x"


def main() -> None:
    """Measure, print and publish."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--write", action="store_true", help="write the table into docs/performance.md")
    parser.add_argument("--rounds", type=int, default=ROUNDS, metavar="N", help=f"turns each (default: {ROUNDS})")
    parser.add_argument("--before", type=Path, metavar="DIRECTORY", help="another checkout, to compare with")
    parser.add_argument("states", nargs="*", metavar="STATE", help=f"{', '.join(STATES)}; all unless given")
    arguments = parser.parse_args()
    sources = {"before": arguments.before.resolve()} if arguments.before else {}
    sources["now"] = HERE
    # The first kind of node is that which the others are compared with.
    states = [STATES[name] for name in dict.fromkeys(["quiet", *(arguments.states or STATES)])]
    publish("machine for busy nodes", machine(), write=arguments.write)
    publish("busy", figures(states, sources, arguments.rounds), write=arguments.write)


if __name__ == "__main__":
    main()
