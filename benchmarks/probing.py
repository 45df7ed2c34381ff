"""Benchmark of the cost of probing, and of false alarms under load."""

import contextlib
import multiprocessing
import os
import time
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from benchmarks.processes import memory, processor_time
from benchmarks.program import Host, host
from benchmarks.tables import table
from benchmarks.testbed import destinations
from static_route_operator.api.healthcheck import CheckType
from tests.kernel.gateway import PORT, Gateway
from tests.kernel.machine import wait_until

MANY = 200
_PER_OBJECT = 20
_SETTLING = 5  # seconds
_MEASURED = 10  # seconds

# As many probes of a gateway with the default check in three minutes as one gateway gets in an hour.
SOAK_SECONDS = 180.0
SOAKED = 20
ROUTES = 100_000
_PATIENCE = 120.0


def _addresses(number: int, *, ipv6: bool) -> list[str]:
    return [f"fd09::1:{each:x}" if ipv6 else f"10.9.0.{each + 20}" for each in range(number)]


def _check(kind: CheckType, **times: str) -> dict[str, Any]:
    return {"type": kind.value, **({} if kind is CheckType.ICMP else {"port": PORT}), **times}


def _destination(number: int, *, ipv6: bool) -> str:
    return f"2001:db8:{number:x}::/48" if ipv6 else f"198.18.{number}.0/24"


def _states(running: Host) -> list[str]:
    return [each["state"] for each in running.report()["gateways"]]


def cost(gateway: Gateway, _trials: int) -> str:
    """Return the table of the cost of many gateways."""
    gateway.add(*(f"{each}/24" for each in _addresses(MANY, ipv6=False)))
    gateway.add(*(f"{each}/64" for each in _addresses(MANY, ipv6=True)))
    rows = [_cost("no check", {}, ipv6=False)]
    rows += [
        _cost(kind.value, {"healthCheck": _check(kind, interval="1s")}, ipv6=ipv6)
        for kind in CheckType
        for ipv6 in (False, True)
    ]
    return table([f"{MANY} gateways, each every second", "of a core", "RSS, MiB", "USS, MiB"], rows)


def _cost(name: str, spec: dict[str, Any], *, ipv6: bool) -> list[str]:
    addresses = _addresses(MANY, ipv6=ipv6)
    specs = {
        f"object{first}": {
            "destinations": [_destination(first, ipv6=ipv6)],
            "gateways": [{"address": each} for each in addresses[first : first + _PER_OBJECT]],
            **spec,
        }
        for first in range(0, MANY, _PER_OBJECT)
    }
    with host(specs) as running:
        if spec:
            wait_until(lambda: _states(running) == ["Up"] * MANY, "all gateways are up")
        time.sleep(_SETTLING)
        started, used = time.monotonic(), processor_time(running.program.pid)
        time.sleep(_MEASURED)
        share = (processor_time(running.program.pid) - used) / (time.monotonic() - started)
        assert not spec or _states(running) == ["Up"] * MANY, "a gateway went down"
        resident, own = memory(running.program.pid)
    family = "" if not spec else ", IPv6" if ipv6 else ", IPv4"
    return [f"{name}{family}", f"{share * 100:.1f} %", f"{resident:.1f}", f"{own:.1f}"]


def soak(gateway: Gateway, _trials: int, seconds: float = SOAK_SECONDS) -> str:
    """Return the table of probes, losses and false alarms while every core is busy and 100,000 routes come and go."""
    gateway.add(*(f"{each}/24" for each in _addresses(SOAKED, ipv6=False)))
    gateway.add(*(f"{each}/64" for each in _addresses(SOAKED, ipv6=True)))
    specs: dict[str, dict[str, Any]] = {}
    checks = [_check(CheckType.ICMP), _check(CheckType.TCP), _check(CheckType.HTTP)]
    checks += [_check(CheckType.ICMP, interval="100ms"), _check(CheckType.ICMP, interval="10ms")]
    for number, check in enumerate(checks):
        for ipv6 in (False, True):
            # The short intervals once per family: what matters is how they fare, not how many they are.
            addresses = _addresses(1 if "interval" in check else SOAKED, ipv6=ipv6)
            specs[f"object{number}-{'ipv6' if ipv6 else 'ipv4'}"] = {
                "destinations": [_destination(number, ipv6=ipv6)],
                "gateways": [{"address": each} for each in addresses],
                "healthCheck": check,
            }
    probed = sum(len(each["gateways"]) for each in specs.values())
    with host(specs) as running:
        wait_until(lambda: _states(running) == ["Up"] * probed, "all gateways are up")
        with _burning():
            rounds = _install(running, seconds)
        report = running.report()["gateways"]
        false_alarms = [line for line in running.program.log.splitlines() if " is down" in line]
    counts: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    for each in report:
        family = "IPv6" if ":" in each["address"] else "IPv4"
        for index, value in enumerate((1, each["sent"], each["lost"])):
            counts[f"{each['check']}, {family}"][index] += value
    rows = [[name, *(f"{each:,}" for each in numbers)] for name, numbers in counts.items()]
    said = f"{seconds:g} s on {os.cpu_count()} busy cores, {rounds} times {ROUTES:,} routes added and removed: "
    said += f"{len(false_alarms)} false alarms"
    return "\n\n".join([table(["check", "gateways", "probes", "late or lost"], rows), said, *false_alarms[:20]])


def _install(running: Host, seconds: float) -> int:
    """Add and remove all routes again and again; how often that was."""
    spec = {"destinations": destinations(ROUTES), "gateway": "10.9.0.1"}
    others = running.installed()
    rounds, end = 0, time.monotonic() + seconds
    while time.monotonic() < end:
        running.put("many", spec)
        _wait_for(running, others + ROUTES)
        running.remove("many")
        _wait_for(running, others)
        rounds += 1
    return rounds


def _wait_for(running: Host, routes: int) -> None:
    deadline = time.monotonic() + _PATIENCE
    while running.installed() != routes:
        assert time.monotonic() < deadline, f"{running.installed()} routes, not {routes}, after {_PATIENCE:g} s"
        time.sleep(0.5)


@contextlib.contextmanager
def _burning() -> Iterator[None]:
    """Two processes per core that never rest."""
    burners = [multiprocessing.Process(target=_burn, daemon=True) for _ in range(2 * (os.cpu_count() or 1))]
    for burner in burners:
        burner.start()
    try:
        yield
    finally:
        for burner in burners:
            burner.kill()


def _burn() -> None:
    while True:
        pass
