"""The kernel layer alone, beside `ip -batch`, in a throw-away network namespace.

`python -m benchmarks.kernel [ROUTES]`, as root, from the root of the project. Prints a table in Markdown: medians of
several rounds, each of which does everything with both, in turn.
"""

import asyncio
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

from static_route_operator.kernel.fib import Fib
from static_route_operator.keys import Keys, default_tail
from static_route_operator.planning.diff import diff
from static_route_operator.planning.routes import Path as RoutePath
from static_route_operator.planning.routes import Routes
from static_route_operator.prefixes import pack_address, pack_prefixes
from tests.kernel.namespaces import new_network_namespace

ROUTES = 100_000
ROUNDS = 5
GATEWAYS = ("10.0.0.1", "10.0.0.2")
_SET_UP = """
link add eth0 type veth peer name far
addr add 10.0.0.21/24 dev eth0
link set far up
link set eth0 up
"""


async def rounds(number: int) -> dict[tuple[str, str], list[float]]:
    """Seconds of each round, by what was done and by whom."""
    destinations = [f"20.{index >> 16}.{index >> 8 & 255}.{index & 255}" for index in range(number)]
    figures: dict[tuple[str, str], list[float]] = defaultdict(list)
    fib = Fib()
    interface = next(index for index, name in (await fib.look((), {})).interfaces.items() if name == "eth0")

    async def ours(what: str, gateway: str | None) -> None:
        started = time.perf_counter()
        keys = Keys.with_tail(5, pack_prefixes(destinations, 5), default_tail(pack_address(GATEWAYS[0])))
        wanted = Routes({RoutePath.via(pack_address(gateway), interface): keys}) if gateway else Routes()
        present = await fib.read()
        failures = await fib.apply(diff(wanted, present))
        figures[what, "static-route-operator"].append(time.perf_counter() - started)
        assert not failures, next(iter(failures.values()))

    def batch(what: str, form: Callable[[str], str]) -> None:
        with tempfile.TemporaryDirectory() as directory:
            file = Path(directory) / "batch"
            file.write_text("\n".join(map(form, destinations)) + "\n")
            started = time.perf_counter()
            subprocess.run(["ip", "-batch", file], check=True)
            figures[what, "ip -batch"].append(time.perf_counter() - started)

    def show() -> None:
        started = time.perf_counter()
        subprocess.run(["ip", "route", "show", "proto", "245"], check=True, stdout=subprocess.DEVNULL)
        figures["resync without drift", "ip route show"].append(time.perf_counter() - started)

    for _ in range(ROUNDS):
        await ours("install", GATEWAYS[0])
        await ours("gateway switch", GATEWAYS[1])
        await ours("resync without drift", GATEWAYS[1])
        show()
        await ours("delete", None)
        batch("install", lambda destination: f"route add {destination} via {GATEWAYS[0]} dev eth0")
        batch("gateway switch", lambda destination: f"route replace {destination} via {GATEWAYS[1]} dev eth0")
        batch("delete", lambda destination: f"route del {destination}")
    fib.close()
    return figures


def main(number: int = ROUTES) -> None:
    """Measure, and print."""
    with new_network_namespace():
        subprocess.run(["ip", "-batch", "-"], input=_SET_UP, text=True, check=True)
        figures = asyncio.run(rounds(number))
    print(f"| {number} routes | with | seconds, median of {ROUNDS} | fastest to slowest |\n|---|---|---|---|")
    for (what, tool), values in sorted(figures.items()):
        print(f"| {what} | {tool} | {statistics.median(values):.3f} | {min(values):.3f} to {max(values):.3f} |")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
