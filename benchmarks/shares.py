"""Traffic that is shared 3:1: who gets how much of 1,000 flows, and who suffers when a gateway dies."""

from collections import Counter
from collections.abc import Mapping

from benchmarks.program import host
from benchmarks.tables import table
from tests.kernel.flows import NUMBER, Flows
from tests.kernel.gateway import Gateway
from tests.kernel.machine import wait_until

MORTAL, OTHER = ("10.9.0.1", "fd09::1"), ("10.8.0.1", "fd08::1")
DESTINATIONS = ("192.0.2.1", "2001:db8::1")
# In the gateways' namespace.
_MORTAL, _OTHER = "gw0", "gw1"


def shares(gateway: Gateway, _trials: int) -> str:
    """Return the table."""
    rows = []
    for mortal, other, destination in zip(MORTAL, OTHER, DESTINATIONS, strict=True):
        rows += _measure(gateway, mortal, other, destination)
    head = [f"{NUMBER:,} flows", "arrived by the gateway of weight 3", "by that of weight 1", "lost", "moved"]
    return table(head, rows)


def _measure(gateway: Gateway, mortal: str, other: str, destination: str) -> list[list[str]]:
    spec = {
        "destinations": [destination],
        "gateways": [{"address": mortal, "weight": 3}, {"address": other}],
        "healthCheck": {},
    }
    family = "IPv6" if ":" in destination else "IPv4"
    rows = []
    with host({"weighted": spec}) as running:
        for each in (mortal, other):
            running.program.says(f"Gateway {each} is up")
        flows = Flows(gateway, destination)
        before = flows.send()
        rows.append(_row(f"{family}, both alive", before, before))
        gateway.die()
        wait_until(lambda: len(flows.send()) < NUMBER, "the gateway is dead")
        rows.append(_row("until that of weight 3, dead, is withdrawn", flows.send(), before))
        running.program.says(f"Gateway {mortal} is down")
        wait_until(lambda: len(flows.send()) == NUMBER, "the routes are moved")
        rows.append(_row("after that", flows.send(), before))
        gateway.live()
        wait_until(lambda: flows.send() == before, "all is as it was")
        rows.append(_row("when it is back", flows.send(), before))
        flows.close()
    return rows


def _row(what: str, now: Mapping[int, str], before: Mapping[int, str]) -> list[str]:
    counts = Counter(now.values())
    moved = sum(before[flow] != interface for flow, interface in now.items())
    return [what, *(f"{each:,}" for each in (counts[_MORTAL], counts[_OTHER], NUMBER - len(now), moved))]
