"""How soon a gateway that dies silently is noticed, what probing costs, and whether it ever raises a false alarm.

`python -m benchmarks.health [detection|cost|soak] [SECONDS]`, as root, from the root of the project; SECONDS is how
long to soak. Prints tables in Markdown.

Detection: a bridge port on the way to the gateway goes down, at a random moment; the node's own link stays up. From
then on to the verdict, in medians of ten trials. The bar is BIRD with BFD, measured in the same way up to the first
packet through the other gateway: 28 ms at 10 ms x 3, 256 ms at 100 ms x 3.
"""

import asyncio
import multiprocessing
import os
import random
import resource
import statistics
import sys
import time
from collections.abc import Iterable
from pathlib import Path as File

from static_route_operator.checks import Check, CheckType, Health, State, Target
from static_route_operator.health.probers import Probers
from static_route_operator.kernel.fib import Fib
from static_route_operator.keys import Keys, default_tail
from static_route_operator.planning.diff import diff
from static_route_operator.planning.routes import Path, Routes
from static_route_operator.prefixes import pack_address, pack_prefixes
from tests.kernel.gateway import ADDRESSES, PORT, Gateway
from tests.kernel.namespaces import new_network_namespace

TRIALS = 10
INTERVALS = (0.01, 0.1, 1.0)
MANY = 200
MEASURED_SECONDS = 20
SOAK_SECONDS = 60.0
ROUTES = 100_000
PATIENCE = 60.0


def _check(kind: CheckType, interval: float) -> Check:
    return Check(kind, 0 if kind is CheckType.ICMP else PORT, interval=interval)


class Observer:
    """Probers, and when a target last changed."""

    def __init__(self) -> None:
        self.downs: list[tuple[float, Target, Health]] = []
        self._changed = asyncio.Event()
        self.probers = Probers(self._note)

    def _note(self, target: Target, health: Health) -> None:
        if health.state is State.DOWN:
            self.downs.append((time.monotonic(), target, health))
        self._changed.set()

    async def all_are(self, state: State, targets: Iterable[Target]) -> None:
        """Wait until all are in a state."""
        async with asyncio.timeout(PATIENCE):
            while any(self.probers.health(each).state is not state for each in targets):
                self._changed.clear()
                await self._changed.wait()


async def detect(gateway: Gateway, kind: CheckType, address: str, interval: float) -> list[float]:
    """Seconds from each death to the verdict."""
    target = Target(pack_address(address), gateway.interface, _check(kind, interval))
    found = []
    for _ in range(TRIALS):
        # Anew each time: a gateway that dies ten times in a row is held back.
        observer = Observer()
        observer.probers.want([target])
        await observer.all_are(State.UP, [target])
        await asyncio.sleep(1 + random.uniform(1, 2) * interval)  # noqa: S311  the phase, no secret
        died = gateway.die()
        await observer.all_are(State.DOWN, [target])
        found.append(observer.downs[0][0] - died)
        gateway.live()
        observer.probers.close()
    return found


def detection(gateway: Gateway) -> None:
    """Measure and print how soon death is noticed."""
    print(f"| check | interval | ms to the verdict, median of {TRIALS} | least to most |\n|---|---|---|---|")
    for interval in INTERVALS:
        for kind in CheckType if interval < 1 else (CheckType.ICMP,):
            for address in ADDRESSES if interval < 1 else ADDRESSES[:1]:
                found = [each * 1000 for each in asyncio.run(detect(gateway, kind, address, interval))]
                name = f"{kind.value} {'IPv6' if ':' in address else 'IPv4'}"
                median = statistics.median(found)
                print(
                    f"| {name} | {interval * 1000:g} ms x 3 | {median:.0f} | {min(found):.0f} to {max(found):.0f} |",
                    flush=True,
                )


def _resident() -> float:
    """This process's memory in MiB."""
    return int(File("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / (1 << 20)


async def probe_many(gateway: Gateway, kind: CheckType, ipv6: bool) -> tuple[float, float]:
    """Share of a core, and MiB, that many targets cost at 1 s."""
    addresses = [f"fd09::1:{each:x}" if ipv6 else f"10.9.0.{each + 20}" for each in range(MANY)]
    targets = [Target(pack_address(each), gateway.interface, _check(kind, 1.0)) for each in addresses]
    before = _resident()
    observer = Observer()
    observer.probers.want(targets)
    await observer.all_are(State.UP, targets)
    await asyncio.sleep(2)
    started, used = time.monotonic(), time.process_time()
    await asyncio.sleep(MEASURED_SECONDS)
    share = (time.process_time() - used) / (time.monotonic() - started)
    memory = _resident() - before
    assert not observer.downs, observer.downs[0]
    observer.probers.close()
    return share, memory


def cost(gateway: Gateway) -> None:
    """Measure and print what probing costs."""
    gateway.add(*(f"10.9.0.{each + 20}/24" for each in range(MANY)))
    gateway.add(*(f"fd09::1:{each:x}/64" for each in range(MANY)))
    print(f"| {MANY} targets at 1 s | % of a core | MiB |\n|---|---|---|")
    for kind in CheckType:
        for ipv6 in (False, True):
            share, memory = asyncio.run(probe_many(gateway, kind, ipv6))
            print(f"| {kind.value} {'IPv6' if ipv6 else 'IPv4'} | {share * 100:.1f} | {memory:.1f} |", flush=True)


def _burn() -> None:
    while True:
        pass


async def install(interface: int) -> None:
    """Install and remove 100,000 routes again and again, in this very event loop, as the agent does."""
    destinations = [f"20.{index >> 16}.{index >> 8 & 255}.{index & 255}" for index in range(ROUTES)]
    via = pack_address(ADDRESSES[0])
    wanted = Routes({Path.via(via, interface): Keys.with_tail(5, pack_prefixes(destinations, 5), default_tail(via))})
    fib = Fib()
    try:
        while True:
            for routes in (wanted, Routes()):
                assert not await fib.apply(diff(routes, await fib.read()))
                await asyncio.sleep(1)
    finally:
        fib.close()


async def soak(gateway: Gateway, seconds: float) -> tuple[int, int, list[tuple[float, Target, Health]]]:
    """Probes sent and lost, and false alarms, while every core is busy and routes come and go."""
    targets = [
        Target(pack_address(address), gateway.interface, _check(kind, interval))
        for address in ADDRESSES
        for kind in CheckType
        for interval in INTERVALS
    ]
    observer = Observer()
    observer.probers.want(targets)
    await observer.all_are(State.UP, targets)
    burners = [multiprocessing.Process(target=_burn, daemon=True) for _ in range(2 * (os.cpu_count() or 1))]
    for burner in burners:
        burner.start()
    installing = asyncio.create_task(install(gateway.interface))
    try:
        await asyncio.wait([installing], timeout=seconds)
        assert not installing.done(), installing.exception()
    finally:
        installing.cancel()
        for burner in burners:
            burner.kill()
    healths = [observer.probers.health(each) for each in targets]
    for target, health in zip(targets, healths, strict=True):
        check = target.check
        rtt = health.smoothed_rtt or 0
        print(
            f"| {check.type.value} {target.address} | {check.interval * 1000:g} | {health.sent} | {health.lost} |"
            f" {health.flaps} | {rtt * 1000:.2f} |"
        )
    observer.probers.close()
    return sum(each.sent for each in healths), sum(each.lost for each in healths), observer.downs


def soaking(gateway: Gateway, seconds: float = SOAK_SECONDS) -> None:
    """Look for false alarms."""
    print("| check | interval, ms | sent | late or lost | false alarms | smoothed ms |\n|---|---|---|---|---|---|")
    sent, lost, downs = asyncio.run(soak(gateway, seconds))
    print(f"\n{seconds:g} s, {sent} probes, {lost} late or lost, {len(downs)} false alarms")
    for _, target, health in downs[:20]:
        print(target.check.type.value, target.check.interval, target.address, health.reason)


def main(what: str = "", seconds: str = str(SOAK_SECONDS)) -> None:
    """Measure, and print."""
    with new_network_namespace():
        gateway = Gateway()
        try:
            if what in {"", "detection"}:
                detection(gateway)
            if what in {"", "cost"}:
                cost(gateway)
            if what in {"", "soak"}:
                soaking(gateway, float(seconds))
        finally:
            gateway.stop()


if __name__ == "__main__":
    main(*sys.argv[1:])
