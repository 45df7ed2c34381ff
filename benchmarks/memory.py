"""Benchmark of the memory of an agent, as a whole and by part: two tables of docs/performance.md.

`python -m benchmarks.memory [--write]`, as root, from the root of the project. Without `--write` it only prints. The
agent is one on a node of a real API server, beside the controller, with the rights that the release manifest gives it.
"""

import argparse
import itertools
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.cluster import API, GATEWAYS, manifest
from benchmarks.processes import Memory, highest, memory, parse_smaps
from benchmarks.tables import publish, table
from benchmarks.testbed import destinations
from static_route_operator.api.crd.schema import MAX_DESTINATIONS
from tests.cluster.agent import Agent, eventually, install
from tests.cluster.controller import Controller, Kubelets
from tests.lab.cluster import Cluster

NUMBERS = (2_000, 100_000)
SWITCHES = 10
RESYNCS = 100
RESYNC_EVERY = 1.0  # seconds
# Longer than any write of an agent may be put off. Seconds.
SETTLING = 15
PATIENCE = 120  # seconds

# Each is loaded on top of those before it.
IMPORTS = {
    "bare Python": "",
    "asyncio": "asyncio",
    "aiohttp": "aiohttp",
    # As the agent loads Kopf: without the clients that Kopf would import if they were installed.
    "Kopf": "static_route_operator.cluster",
    "pyroute2, what runs of it": "static_route_operator.kernel.netlink",
    "prometheus_client": "prometheus_client",
    "this program": "static_route_operator.agent.main",
}
STARTS = 3


def main() -> None:
    """Measure, print and publish."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--write", action="store_true", help="write the tables into docs/performance.md")
    write = parser.parse_args().write
    publish("imports", table(("loaded", "RSS", "USS", "RSS more than before"), imports()), write=write)
    publish("memory", table(("agent", "RSS", "USS", "highest RSS so far"), agents()), write=write)


def imports() -> Iterator[tuple[str, ...]]:
    """Rows of what is added by each package, in a process that does nothing else."""
    before = 0.0
    for number, (name, _) in enumerate(IMPORTS.items(), 1):
        modules = list(filter(None, itertools.islice(IMPORTS.values(), number)))
        code = "".join(f"import {module}\n" for module in modules) + "print(open('/proc/self/smaps_rollup').read())"
        figures = [
            parse_smaps(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
            for _ in range(STARTS)
        ]
        resident, own = (statistics.median(each) for each in zip(*figures, strict=True))
        yield name if number == 1 else f"+ {name}", f"{resident:.1f}", f"{own:.1f}", f"{resident - before:+.1f}"
        before = resident


def agents() -> Iterator[tuple[str, ...]]:
    """Rows of what an agent takes; for each number of routes it is a new one."""
    with tempfile.TemporaryDirectory() as directory:
        lab = Cluster("srmemory", 1, bare=True)
        lab.down()
        with lab:
            install(lab, 1)
            kubelets = Kubelets(lab, ["node1"])
            controller = Controller(lab, API, Path(directory) / "controller.log")
            agent = Agent(lab, 1, API, Path(directory) / "agent.log")
            try:
                kubelets.start()
                controller.start()
                for number in NUMBERS:
                    agent.start_and_sync("--daemonset=", f"--resync-seconds={RESYNC_EVERY}")
                    yield from _life(lab, agent, number)
                    agent.kill()
            finally:
                agent.kill()
                controller.kill()
                kubelets.stop()


def _life(lab: Cluster, agent: Agent, number: int) -> Iterator[tuple[str, ...]]:
    yield "idle", *_figures(agent)
    create(lab, agent, number)
    yield f"with {number:,} routes", *_figures(agent)
    for turn in range(1, SWITCHES + 1):
        switch(lab, agent, number, GATEWAYS[turn % 2])
    yield f"after {SWITCHES} gateway switches", *_figures(agent)
    enough = _runs(agent) + RESYNCS
    eventually("there are enough resyncs", lambda: _runs(agent) >= enough, RESYNCS * PATIENCE)
    yield f"after {RESYNCS} resyncs", *_figures(agent)
    lab.kubectl("delete", "staticroute", "--all")
    eventually("all routes are gone", lambda: _routes(agent) == 0, PATIENCE)
    yield "after all routes were deleted", *_figures(agent)


def create(lab: Cluster, agent: Agent, number: int) -> None:
    """Have destinations routed through the first gateway, by as few objects as can hold them, and wait for it."""
    every = destinations(number)
    parts = range(0, number, MAX_DESTINATIONS)
    objects = [manifest(f"part{start}", every[start : start + MAX_DESTINATIONS], GATEWAYS[0]) for start in parts]
    many = {"apiVersion": "v1", "kind": "List", "items": [json.loads(each) for each in objects]}
    lab.kubectl("apply", "--server-side", "-f", "-", input=json.dumps(many))
    _until_through(agent, number, GATEWAYS[0])


def switch(lab: Cluster, agent: Agent, number: int, gateway: str) -> None:
    """Move all objects to a gateway, and wait until all routes are moved."""
    patch = json.dumps({"spec": {"gateway": gateway}})
    for name in lab.kubectl("get", "staticroutes", "-o", "name").split():
        lab.kubectl("patch", name, "--type=merge", "-p", patch)
    _until_through(agent, number, gateway)


def _until_through(agent: Agent, number: int, gateway: str) -> None:
    eventually(f"{number} routes lead to {gateway}\n{agent.log()}", lambda: _routes(agent, gateway) == number, PATIENCE)


def _routes(agent: Agent, *gateway: str) -> int:
    via = [word for address in gateway for word in ("via", address)]
    return len(agent.ip("route", "show", "proto", "245", *via).splitlines())


def _runs(agent: Agent) -> int:
    """Return the number of runs of an agent; at rest every run is a resync."""
    found = re.search(r"reconcile_duration_seconds_count (\d+)", agent.get("/metrics"))
    return int(found[1]) if found else 0


def _figures(agent: Agent) -> tuple[str, str, str]:
    time.sleep(SETTLING)
    now: Memory = memory(agent.pid)
    return f"{now.resident:.1f}", f"{now.own:.1f}", f"{highest(agent.pid):.1f}"


if __name__ == "__main__":
    main()
