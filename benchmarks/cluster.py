"""Agents on three nodes of a real API server: how soon a change is in every kernel, and what an agent costs.

`python -m benchmarks.cluster`, as root, from the root of the project. Prints a table in Markdown.
"""

import json
import queue
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks import processes
from tests.cluster.agent import NAMESPACE, SERVICE_ACCOUNT, Agent, eventually, everywhere, install
from tests.cluster.controller import USER, Controller, Kubelets
from tests.lab.audit import AuditLog
from tests.lab.cluster import Cluster

NODES = 3
MANY = 2000
CHANGES = 100
REPEATS = 5
REST = 300  # seconds
SETTLING = 45  # seconds: longer than any write may be put off
GATEWAYS = ("10.116.0.5", "10.116.0.12")
API = "https://10.116.0.1:443"
PATH = "/apis/networking.digitalocean.com/v1/staticroutes"


def main() -> None:
    """Measure, and print."""
    with tempfile.TemporaryDirectory() as directory:
        audit = AuditLog(Path(directory))
        lab = Cluster("srbench", NODES, bare=True, apiserver_args=audit.apiserver_args())
        lab.down()
        with lab:
            install(lab, NODES)
            agents = [Agent(lab, number, API, Path(directory) / f"agent{number}.log") for number in range(1, NODES + 1)]
            kubelets = Kubelets(lab, [f"node{number}" for number in range(1, NODES + 1)])
            controller = Controller(lab, API, Path(directory) / "controller.log")
            try:
                kubelets.start()
                controller.start()
                for agent in agents:
                    agent.start_and_sync()
                print("| what | figure |\n|---|---|")
                for row in measure(lab, agents, audit):
                    print(f"| {row[0]} | {row[1]} |", flush=True)
            finally:
                for agent in agents:
                    agent.kill()
                controller.kill()
                kubelets.stop()


def measure(lab: Cluster, agents: list[Agent], audit: AuditLog) -> Iterator[tuple[str, str]]:
    """Yield the rows of the table."""
    yield "memory of an agent, idle: RSS, of which its own", memory(agents)
    installs, switches = [], []
    for _ in range(REPEATS):
        installs.append(apply_many(lab, agents, GATEWAYS[0]))
        switches.append(apply_many(lab, agents, GATEWAYS[1]))
        routed = memory(agents)
        lab.kubectl("delete", "staticroute", "many")
        everywhere(agents, {})
    what = f"{MANY} destinations in one object, from the return of `kubectl apply` to the last route on the last node"
    yield f"{what}: created", seconds(installs)
    yield f"{what}: moved to another gateway", seconds(switches)
    yield f"memory of an agent with {MANY} routes: RSS, of which its own", routed
    delays = changes(lab, agents)
    yield (
        f"{CHANGES} changes of a gateway in a row, from the API server's answer to the last kernel",
        f"median {statistics.median(delays) * 1000:.0f} ms, p99 {quantile(delays, 0.99) * 1000:.0f} ms",
    )
    agent_user = f"system:serviceaccount:{NAMESPACE}:{SERVICE_ACCOUNT}"
    apply_many(lab, agents, GATEWAYS[0])
    time.sleep(SETTLING)
    before = {user: len(audit.writes(user)) for user in (agent_user, USER)}
    apply_many(lab, agents, GATEWAYS[1])
    time.sleep(SETTLING)
    changed = {user: audit.writes(user)[before[user] :] for user in before}
    counts = [_count(changed[agent_user], "noderoutestates")]
    counts += [_count(changed[USER], resource) for resource in ("staticroutes", "events")]
    yield (
        f"one change of an object with {MANY} destinations: writes of all {NODES} agents; of the controller; Events",
        "; ".join(map(str, counts)),
    )
    requests = len(list(audit.requests(agent_user)))
    before = {user: len(audit.writes(user)) for user in before}
    time.sleep(REST)
    written = sum(len(audit.writes(user)) - before[user] for user in before)
    yield f"writes of all agents and the controller in {REST} s at rest", str(written)
    requests = len(list(audit.requests(agent_user))) - requests
    yield f"requests of all agents in these {REST} s, finished watches included", str(requests)


def _count(requests: Sequence[Mapping[str, Any]], resource: str) -> int:
    return sum(request["objectRef"]["resource"] == resource for request in requests)


def manifest(name: str, destinations: Iterable[str], gateway: str) -> str:
    """Return a StaticRoute as JSON."""
    return json.dumps(
        {
            "apiVersion": "networking.digitalocean.com/v1",
            "kind": "StaticRoute",
            "metadata": {"name": name},
            "spec": {"destinations": list(destinations), "gateway": gateway},
        }
    )


def apply_many(lab: Cluster, agents: list[Agent], gateway: str) -> float:
    """Seconds from the return of `kubectl apply` of 2,000 destinations until all nodes have them."""
    destinations = [f"20.0.{number // 256}.{number % 256}" for number in range(MANY)]
    with events(lab, gateway) as arrivals:
        lab.kubectl("apply", "--server-side", "-f", "-", input=manifest("many", destinations, gateway))
        returned = time.monotonic()
        last = returned
        for _ in range(MANY * NODES):
            last = arrivals.get(timeout=60)
    everywhere(agents, dict.fromkeys(destinations, gateway))
    return max(last - returned, 0.0)


def changes(lab: Cluster, agents: list[Agent]) -> list[float]:
    """Seconds from the API server's answer to the last of three kernels, for each of many changes of a gateway."""
    lab.kubectl("apply", "--server-side", "-f", "-", input=manifest("one", ["20.1.0.1"], GATEWAYS[1]))
    everywhere(agents, {"20.1.0.1": GATEWAYS[1]})
    delays = []
    client = patching_client(lab)
    assert client.stdin is not None
    assert client.stdout is not None
    with events(lab, "") as arrivals:
        for number in range(CHANGES):
            client.stdin.write(json.dumps({"spec": {"gateway": GATEWAYS[number % 2]}}) + "\n")
            client.stdin.flush()
            answered = float(client.stdout.readline())
            last = max(arrivals.get(timeout=60) for _ in range(NODES))
            delays.append(max(last - answered, 0.0))
    client.stdin.close()
    client.wait(10)
    lab.kubectl("delete", "staticroute", "one")
    everywhere(agents, {})
    return delays


# Reads merge patches, one a line, sends each to the object on one kept connection, and prints when it was answered.
_CLIENT = """
import http.client, ssl, sys, time
context = ssl._create_unverified_context()
connection = http.client.HTTPSConnection("10.116.0.1", 443, context=context)
headers = {"Authorization": "Bearer " + sys.argv[1], "Content-Type": "application/merge-patch+json"}
for line in sys.stdin:
    connection.request("PATCH", sys.argv[2], line.strip(), headers)
    answer = connection.getresponse()
    text = answer.read()
    assert answer.status == 200, text
    print(time.monotonic(), flush=True)
"""


def patching_client(lab: Cluster) -> subprocess.Popen[str]:
    """Start a process that patches the object ``one`` as the administrator."""
    config = json.loads(lab.kubectl("config", "view", "--raw", "-o", "json"))
    token = config["users"][0]["user"]["token"]
    argv = [sys.executable, "-c", _CLIENT, token, f"{PATH}/one"]
    return lab.popen_in("cp", argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


@contextmanager
def events(lab: Cluster, gateway: str) -> Iterator["queue.Queue[float]"]:
    """Return the times at which the kernels of all nodes report a route of the operator, through a gateway if given.

    A monitor in each namespace receives the notifications of its kernel; the time is that of their arrival here.
    """
    arrivals: queue.Queue[float] = queue.Queue()
    monitors = []

    def read(monitor: subprocess.Popen[str]) -> None:
        assert monitor.stdout is not None
        for line in monitor.stdout:
            if "proto 245" in line and gateway in line and not line.startswith("Deleted"):
                arrivals.put(time.monotonic())

    for number in range(1, NODES + 1):
        argv = ["stdbuf", "-oL", "ip", "-o", "monitor", "route"]
        monitor = lab.popen_in(f"node{number}", argv, stdout=subprocess.PIPE)
        monitors.append(monitor)
        threading.Thread(target=read, args=(monitor,), daemon=True).start()
    time.sleep(0.3)
    try:
        yield arrivals
    finally:
        for monitor in monitors:
            monitor.kill()
            monitor.wait()


def memory(agents: list[Agent]) -> str:
    """Return the median of the agents' resident memory, and of the part that no other process shares."""
    eventually("agents are settled", lambda: all(agent.ready() for agent in agents))
    time.sleep(6)
    resident, own = [], []
    for agent in agents:
        now = processes.memory(agent.pid)
        resident.append(now.resident)
        own.append(now.own)
    return f"{statistics.median(resident):.1f} MiB, {statistics.median(own):.1f} MiB"


def seconds(values: list[float]) -> str:
    """Median and extremes."""
    return f"median {statistics.median(values):.2f} s ({min(values):.2f} to {max(values):.2f}, {len(values)} times)"


def quantile(values: list[float], share: float) -> float:
    """Return a quantile of the values."""
    return sorted(values)[min(int(len(values) * share), len(values) - 1)]


if __name__ == "__main__":
    main()
