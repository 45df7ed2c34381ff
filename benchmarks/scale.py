"""Benchmark of the load of many nodes on API server and controller: both are real, the agents are simulated.

`python -m benchmarks.scale [NODES…]`, as root, from the root of the project; without arguments 50, 500 and 1,000 nodes.
Prints a table in Markdown for each. docs/scale.md says what is measured, and what was.
"""

import asyncio
import contextlib
import ctypes
import datetime as dt
import json
import logging
import os
import ssl
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import aiohttp

from benchmarks.fleet import Fleet, SimulatedAgent, make_rows
from static_route_operator.api import API_VERSION
from static_route_operator.api.staticroute import KIND
from static_route_operator.cluster.listing import PATH
from tests.cluster.agent import NAMESPACE, SERVICE_ACCOUNT, eventually, install
from tests.cluster.controller import USER as CONTROLLER
from tests.cluster.controller import Controller
from tests.lab import processes
from tests.lab.audit import AuditLog
from tests.lab.cluster import Cluster
from tests.lab.namespace import Namespace

COUNTS = (50, 500, 1000)
ROUTES = 200
DESTINATIONS = 2000
GATEWAYS = ("10.116.0.5", "10.116.0.12")
API = "https://10.116.0.1:443"
AGENTS = f"system:serviceaccount:{NAMESPACE}:{SERVICE_ACCOUNT}"
# So many agents start at a time, as in a rolling update: one that has its lists makes room for the next.
STARTING = 8
# Requests of the administrator at a time.
PREPARING = 8
# After a change everybody may still write what they should not. Seconds.
AFTERMATH = 12.0
REST = 60.0  # seconds
PATIENCE = 600.0  # seconds

T = TypeVar("T")

_CLONE_NEWNET = 0x40000000
_TICKS = os.sysconf("SC_CLK_TCK")
_MEGABYTE = 1_000_000


def main(arguments: list[str]) -> None:
    """Measure, and print."""
    # Refused requests are counted, so the warnings of the agents add nothing.
    logging.disable(logging.WARNING)
    for count in [int(argument) for argument in arguments] or COUNTS:
        print(f"| {count} nodes | figure |\n|---|---|", flush=True)
        for what, figure in measure(count):
            print(f"| {what} | {figure} |", flush=True)
        print()


def measure(count: int) -> list[tuple[str, str]]:
    """Return the rows of the table for a number of nodes."""
    with tempfile.TemporaryDirectory() as directory:
        audit = AuditLog(Path(directory))
        lab = Cluster("srscale", 1, bare=True, apiserver_args=audit.apiserver_args())
        lab.down()
        with lab:
            install(lab, 0)
            # Nobody sends heartbeats of these nodes: who would take them for dead is switched off.
            program = "kube-controller-manager"
            processes.kill(lambda: _find(lab, program), program)
            controller = Controller(lab, API, Path(directory) / "controller.log")
            try:
                with inside(lab.namespace("node1")):
                    measurement = asyncio.run(_measure(lab, controller, count))
            except BaseException:
                print(controller.log()[-3000:], file=sys.stderr)
                raise
            finally:
                controller.kill()
            time.sleep(2)  # watches are in the log when they have ended
            return measurement.rows(audit)


@dataclass(frozen=True)
class Usage:
    """The resources used up to a moment.

    Attributes:
        time: of the wall clock, as in the audit log.
        api_server: seconds of processor time.
        controller: likewise.
        received: bytes by all agents, by kind.
    """

    time: float
    api_server: float
    controller: float
    received: Counter[str]


class Measurement:
    """Takes what was used in each of some phases.

    Args:
        fleet: the agents.
        api_server: process id.

    Attributes:
        controller: process id; 0 while there is none.
    """

    def __init__(self, fleet: Fleet, api_server: int) -> None:
        self._fleet = fleet
        self._api_server = api_server
        self.controller = 0
        self._phases: list[tuple[str, Usage, Usage]] = []
        self._notes: list[tuple[str, str]] = []

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Measure what is done within."""
        before = self._usage()
        yield
        self._phases.append((name, before, self._usage()))

    def note(self, what: str, figure: str) -> None:
        """Keep a row for the table."""
        print(f"{what}: {figure}", file=sys.stderr, flush=True)
        self._notes.append((what, figure))

    def note_memory(self, when: str) -> None:
        """Keep the memory of the processes now."""
        for name, pid in (("controller", self.controller), ("API server", self._api_server)):
            if pid:
                status = _status(pid)
                self.note(f"{name} {when}: RSS", f"{status['VmRSS']} MiB, at most {status['VmHWM']} MiB")

    def note_totals(self) -> None:
        """Keep what the processes have used by now."""
        for name, pid in (("controller", self.controller), ("API server", self._api_server)):
            self.note(f"{name} from its start to the end: processor time", f"{_processor_time(pid):.1f} s")
        self.note("requests that were refused or not answered, and tried again", _listed(self._fleet.refused))

    def rows(self, audit: AuditLog) -> list[tuple[str, str]]:
        """Return the table, once all watches have ended."""
        requests = [_Request.read(each) for each in audit.requests()]
        rows = []
        for name, before, after in self._phases:
            rows.append((f"{name}: length", f"{after.time - before.time:.1f} s"))
            within = [each for each in requests if before.time <= each.time < after.time]
            for user, who in ((AGENTS, "all agents"), (CONTROLLER, "the controller")):
                counted = Counter(each.what for each in within if each.user == user)
                rows.append((f"{name}: requests of {who}", _listed(counted)))
            received = after.received - before.received
            amounts = {kind: f"{number / _MEGABYTE:.1f} MB" for kind, number in received.items()}
            rows.append((f"{name}: bodies received by all agents", _listed(amounts)))
            used = f"{after.api_server - before.api_server:.1f} s, {after.controller - before.controller:.1f} s"
            rows.append((f"{name}: processor time of the API server, of the controller", used))
        return rows + self._notes

    def _usage(self) -> Usage:
        api_server, controller = _processor_time(self._api_server), _processor_time(self.controller)
        return Usage(time.time(), api_server, controller, Counter(self._fleet.received))


@dataclass(frozen=True)
class _Request:
    time: float
    user: str
    what: str

    @classmethod
    def read(cls, record: dict[str, Any]) -> "_Request":
        received = dt.datetime.fromisoformat(record["requestReceivedTimestamp"]).timestamp()
        reference = record.get("objectRef") or {}
        subresource = f"/{reference['subresource']}" if "subresource" in reference else ""
        code = record["responseStatus"].get("code", 0)
        what = f"{record['verb']} {reference.get('resource', 'discovery')}{subresource}"
        return cls(received, record["user"]["username"], what if code < 400 else f"{what} (answered {code})")


async def _measure(lab: Cluster, controller: Controller, count: int) -> Measurement:
    config = json.loads(lab.kubectl("config", "view", "--raw", "-o", "json"))
    tls = ssl.create_default_context(cafile=config["clusters"][0]["cluster"]["certificate-authority"])
    names = [f"route-{number:03}" for number in range(ROUTES)]
    fleet = Fleet(API, tls, make_rows(names, GATEWAYS[0], DESTINATIONS))
    async with fleet.session(config["users"][0]["user"]["token"], keep=True) as session:
        administrator = Administrator(session)
        await _all(administrator.create_route(number, name) for number, name in enumerate(names))
        agents = [SimulatedAgent(fleet, *node) for node in await _all(map(administrator.create_node, range(count)))]
        measurement = Measurement(fleet, _find(lab, "kube-apiserver").pop())
        running: list[asyncio.Task[None]] = []
        with measurement.phase("start of all agents"):
            await _start(agents, fleet, running, measurement)
        with measurement.phase("start of the controller"):
            await _start_controller(lab, controller, fleet, names, measurement)
        measurement.note_memory("when every StaticRoute was Ready")
        with measurement.phase("one change"):
            await _change(administrator, fleet, names[0], measurement)
        with measurement.phase(f"at rest for {REST:.0f} s"):
            await asyncio.sleep(REST)
        measurement.note_memory("at the end")
        measurement.note_totals()
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
    return measurement


async def _start(
    agents: list[SimulatedAgent], fleet: Fleet, running: list[asyncio.Task[None]], measurement: Measurement
) -> None:
    began = time.monotonic()
    slots = asyncio.Semaphore(STARTING)

    async def start(agent: SimulatedAgent) -> None:
        async with slots:
            running.append(asyncio.create_task(agent.run()))
            await agent.ready.wait()

    await asyncio.gather(*map(start, agents))
    measurement.note("start of all agents: until the last had its lists", f"{time.monotonic() - began:.1f} s")
    await _until(lambda: len(fleet.reported) == len(agents), running)
    measurement.note("start of all agents: until the last report", f"{fleet.last_report - began:.1f} s")


async def _start_controller(
    lab: Cluster, controller: Controller, fleet: Fleet, names: list[str], measurement: Measurement
) -> None:
    began = time.monotonic()
    with contextlib.suppress(AssertionError):  # its start waits for 20 s only
        await asyncio.to_thread(controller.start)
    await asyncio.to_thread(eventually, "the controller is ready", controller.ready, PATIENCE)
    measurement.controller = _find_controller(lab)
    measurement.note("start of the controller: until it had seen everything", f"{time.monotonic() - began:.1f} s")
    await _until(lambda: all((name, 1) in fleet.ready for name in names), [])
    settled = max(fleet.ready[name, 1] for name in names)
    measurement.note("start of the controller: until every StaticRoute was Ready", f"{settled - began:.1f} s")
    await asyncio.sleep(AFTERMATH)


async def _change(administrator: "Administrator", fleet: Fleet, name: str, measurement: Measurement) -> None:
    await administrator.change_gateway(name, GATEWAYS[1])
    answered = time.monotonic()
    await _until(lambda: (name, 2) in fleet.ready, [])
    ready = fleet.ready[name, 2]
    await asyncio.sleep(AFTERMATH)
    reported = fleet.last_report
    measurement.note("one change: from its answer to the last node's report", f"{reported - answered:.1f} s")
    measurement.note(
        "one change: from the last node's report to Ready, as seen by the nodes", f"{ready - reported:.2f} s"
    )


class Administrator:
    """The author of the objects.

    Args:
        session: with the administrator's rights.
    """

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session
        self._slots = asyncio.Semaphore(PREPARING)

    async def create_route(self, number: int, name: str) -> None:
        """Make a StaticRoute with destinations that no other has."""
        first, second = 20 + number // 16, number % 16 * 16
        destinations = [f"{first}.{second + each // 256}.{each % 256}.0/24" for each in range(DESTINATIONS)]
        spec = {"destinations": destinations, "gateway": GATEWAYS[0]}
        await self._send(
            "POST", PATH, {"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": name}, "spec": spec}
        )

    async def create_node(self, number: int) -> tuple[str, str, str]:
        """Make a Node that is Ready; its name, its uid, and a token of the agents' account that is bound to it."""
        name = f"simulated-{number:04}"
        condition = {"type": "Ready", "status": "True", "reason": "Simulated", "message": ""}
        node = {
            "metadata": {"name": name, "labels": {"kubernetes.io/os": "linux"}},
            "status": {"conditions": [condition]},
        }
        uid = (await self._send("POST", "/api/v1/nodes", node))["metadata"]["uid"]
        path = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/{SERVICE_ACCOUNT}/token"
        bound = {"apiVersion": "v1", "kind": "Node", "name": name, "uid": uid}
        request = {"spec": {"boundObjectRef": bound, "expirationSeconds": 4 * 3600}}
        return name, uid, (await self._send("POST", path, request))["status"]["token"]

    async def change_gateway(self, name: str, gateway: str) -> None:
        """Change a StaticRoute."""
        await self._send("PATCH", f"{PATH}/{name}", {"spec": {"gateway": gateway}}, "application/merge-patch+json")

    async def _send(
        self, method: str, path: str, body: dict[str, Any], content_type: str = "application/json"
    ) -> dict[str, Any]:
        headers = {"Content-Type": content_type, "Accept-Encoding": "identity"}
        async with self._slots, self._session.request(method, path, data=json.dumps(body), headers=headers) as answer:
            text = await answer.text()
            assert answer.ok, text
            answered: dict[str, Any] = json.loads(text)
            return answered


@contextmanager
def inside(namespace: Namespace) -> Iterator[None]:
    """Be in a network namespace, with this thread and the threads that it starts."""
    with Path("/proc/thread-self/ns/net").open() as outside, namespace.path.open() as there:
        _set_namespace(there.fileno())
        try:
            yield
        finally:
            _set_namespace(outside.fileno())


def _set_namespace(descriptor: int) -> None:
    if ctypes.CDLL(None, use_errno=True).setns(descriptor, _CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


async def _all(tasks: Iterable[Awaitable[T]]) -> list[T]:
    return list(await asyncio.gather(*tasks))


async def _until(condition: Callable[[], bool], running: Iterable[asyncio.Task[None]]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "not in time"
        for task in running:
            if task.done():
                task.result()
        await asyncio.sleep(0.1)


def _find(lab: Cluster, program: str) -> set[int]:
    return {pid for pid in lab.namespace("cp").pids() if processes.program(pid) == program}


def _find_controller(lab: Cluster) -> int:
    command = b"static_route_operator\0controller\0"
    return next(pid for pid in lab.namespace("cp").pids() if command in Path(f"/proc/{pid}/cmdline").read_bytes())


def _processor_time(pid: int) -> float:
    """Seconds of user and system time; none for no process."""
    if not pid:
        return 0.0
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _status(pid: int) -> dict[str, int]:
    """Return the memory sizes of a process in MiB."""
    lines = (line.split() for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.endswith(" kB"))
    return {key.rstrip(":"): int(value) // 1024 for key, value, _ in lines}


def _listed(figures: dict[str, Any]) -> str:
    return ", ".join(f"{what}: {figure}" for what, figure in sorted(figures.items())) or "none"


if __name__ == "__main__":
    main(sys.argv[1:])
