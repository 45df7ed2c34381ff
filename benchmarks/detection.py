"""Benchmark of the time in which each health check detects a gateway that dies silently."""

import asyncio
import logging
import random
import time
from collections.abc import Iterable

from benchmarks.tables import median_of, table
from static_route_operator.api.healthcheck import Check, CheckType
from static_route_operator.api.noderoutestate import GatewayState
from static_route_operator.health.detector import FIRST_SAMPLES
from static_route_operator.health.probers import Probers
from static_route_operator.planning.targets import Health, Target
from static_route_operator.routing.prefixes import pack_address
from tests.kernel.gateway import ADDRESSES, PORT, Gateway

INTERVALS = (0.01, 0.1)
# Besides the intervals until enough answers have come. Seconds.
LEARNING = 0.3
_PATIENCE = 60.0

# The probers log every gateway that goes down, which would disturb the tables.
logging.getLogger("static_route_operator").addHandler(logging.NullHandler())


class Observer:
    """Probers, and when a target went down."""

    def __init__(self) -> None:
        self.downs: list[float] = []
        self._changed = asyncio.Event()
        self.probers = Probers(self._note)

    def _note(self, _target: Target, health: Health) -> None:
        if health.state is GatewayState.DOWN:
            self.downs.append(time.monotonic())
        self._changed.set()

    async def all_are(self, state: GatewayState, targets: Iterable[Target]) -> None:
        """Wait until all are in a state."""
        async with asyncio.timeout(_PATIENCE):
            while any(self.probers.health(each).state is not state for each in targets):
                self._changed.clear()
                await self._changed.wait()


async def detect(gateway: Gateway, kind: CheckType, address: str, interval: float, trials: int) -> list[float]:
    """Seconds from each death to the verdict."""
    check = Check(kind, 0 if kind is CheckType.ICMP else PORT, interval=interval)
    target = Target(pack_address(address), gateway.interface, check)
    found = []
    for _ in range(trials):
        # Anew each time: a gateway that dies ten times in a row is held back.
        observer = Observer()
        observer.probers.want([target])
        await observer.all_are(GatewayState.UP, [target])
        await asyncio.sleep(LEARNING + (FIRST_SAMPLES + random.uniform(1, 2)) * interval)  # noqa: S311  the phase, no secret
        died = gateway.die()
        await observer.all_are(GatewayState.DOWN, [target])
        found.append(observer.downs[0] - died)
        gateway.live()
        observer.probers.close()
    return found


def detection(gateway: Gateway, trials: int) -> str:
    """Return the table."""
    rows = []
    for kind in CheckType:
        for address in ADDRESSES:
            found = [asyncio.run(detect(gateway, kind, address, interval, trials)) for interval in INTERVALS]
            rows.append([f"{kind.value}, {'IPv6' if ':' in address else 'IPv4'}", *map(median_of, found)])
    return table(["check", *(f"every {interval * 1000:g} ms, 3 losses" for interval in INTERVALS)], rows)
