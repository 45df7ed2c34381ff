"""Two gateways for 2,000 destinations: one dies, comes back, is drained, under a stream of requests from a pod."""

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import SITES, enter_pod, everywhere, installed
from tests.lab.cluster import Cluster
from tests.lab.commands import wait_until
from tests.lab.network import GATEWAYS
from tests.lab.release import NAMESPACE
from tests.lab.request import Request
from tests.lab.stream import Stream

FIRST, SECOND = "10.116.0.5", "10.116.0.12"
ANSWERS = {FIRST: "198.51.100.5", SECOND: "198.51.100.12"}
SITE = SITES["ifconfig.me"]
DESTINATIONS = [SITE, *(f"20.0.{number // 256}.{number % 256}" for number in range(2000))]
NAME = "staticroute/sites"
STANDBY: list[dict[str, Any]] = [{"address": FIRST}, {"address": SECOND, "priority": 1}]
CHECK = {"interval": "100ms"}

FIRST6, SECOND6 = "fd00:116::5", "fd00:116::12"
DESTINATION6 = "2001:db8:113::/64"
NAME6 = "staticroute/sites6"
STANDBY6: list[dict[str, Any]] = [{"address": FIRST6}, {"address": SECOND6, "priority": 1}]

# The pauses between writes of a status that nobody waits for, and some. Seconds.
LATE = 60

Start = Callable[..., Stream]


@pytest.fixture(scope="module")
def operator(cluster: Cluster) -> Iterator[Cluster]:
    """The cluster with the operator installed, for all tests here."""
    with installed(cluster):
        yield cluster


@pytest.fixture
def start(operator: Cluster, tmp_path: Path) -> Iterator[Start]:
    """Applies a StaticRoute with gateways, the first of which is used, and starts requests from the pod through it.

    Afterwards the gateways work again, and no StaticRoute is left.
    """
    streams: list[Stream] = []

    def start(gateways: Sequence[dict[str, Any]], **spec: Any) -> Stream:
        apply(operator, gateways, **spec)
        operator.kubectl("wait", "--for=condition=Ready", NAME, f"--timeout={LATE}s")
        stream = Stream("curl-test", enter_pod(operator), SITE, tmp_path / "requests.log")
        streams.append(stream)
        stream.wait()
        answered_by(stream, FIRST)
        return stream

    yield start
    for stream in streams:
        stream.stop()
    for gateway in GATEWAYS:
        operator.end_silence(gateway)
    operator.kubectl("delete", "staticroutes", "--all")
    everywhere(operator, {})


def apply(cluster: Cluster, gateways: Sequence[dict[str, Any]], **spec: Any) -> None:
    """The StaticRoute of IPv4, or the one of IPv6, is now so."""
    ipv6 = ":" in gateways[0]["address"]
    body = {
        "apiVersion": "networking.digitalocean.com/v1",
        "kind": "StaticRoute",
        "metadata": {"name": "sites6" if ipv6 else "sites"},
        "spec": {"destinations": [DESTINATION6] if ipv6 else DESTINATIONS, "gateways": gateways, **spec},
    }
    cluster.kubectl("apply", "--server-side", "-f", "-", input=json.dumps(body))


def answered_by(stream: Stream, gateway: str) -> None:
    """Wait until the last answer came through a gateway."""

    def answered() -> bool:
        return stream.requests()[-1].answer == ANSWERS[gateway]

    wait_until(answered, f"requests go through {gateway}", timeout=30)


def failed(requests: Sequence[Request]) -> list[Request]:
    """The requests that got no answer."""
    return [request for request in requests if request.failure]


def through(first: bool) -> dict[str, str]:
    """The routes of both StaticRoutes, through the first gateway or the second one."""
    return dict.fromkeys(DESTINATIONS, FIRST if first else SECOND) | {DESTINATION6: FIRST6 if first else SECOND6}


def counted(cluster: Cluster, name: str, expected: list[tuple[str, int, int]]) -> None:
    """Wait until the status says of each gateway how many nodes it answers, and how many it does not."""

    def so() -> bool:
        status = json.loads(cluster.kubectl("get", name, "-o", "json"))["status"]
        found = status.get("gateways", ())
        return [(each["address"], each["healthyNodes"], each["unhealthyNodes"]) for each in found] == expected

    wait_until(so, f"the status of {name} counts {expected}", timeout=LATE)


def test_silent_death_and_return(operator: Cluster, start: Start) -> None:
    """All routes and the stream go over to the other gateway and, when the first one is back, return without a failure.

    It is seen in the status, in one Event of each object for each transition, and in what an agent reports.
    """
    objects = {NAME: (FIRST, SECOND), NAME6: (FIRST6, SECOND6)}
    apply(operator, STANDBY6, healthCheck=CHECK)
    everywhere(operator, {DESTINATION6: FIRST6})
    stream = start(STANDBY, healthCheck=CHECK)
    for name, (first, second) in objects.items():
        counted(operator, name, [(first, 3, 0), (second, 3, 0)])

    operator.silence("gw1")
    answered_by(stream, SECOND)
    everywhere(operator, through(first=False))
    report = operator.kubectl(
        "exec", "-n", NAMESPACE, "daemonset/k8s-staticroute-operator", "--", "static-route-operator", "routes"
    )
    states = {line.split()[0]: line for line in report.splitlines() if " ICMP every 0.1 s " in line}
    assert states.keys() == {FIRST, SECOND, FIRST6, SECOND6}
    for first, second in objects.values():
        assert " Down " in states[first]
        assert " Up " in states[second]
        assert f"gateway {first} is down" in report
    for name, (first, second) in objects.items():
        counted(operator, name, [(first, 0, 3), (second, 3, 0)])
        for condition in ("GatewaysHealthy=False", "Ready"):
            operator.kubectl("wait", f"--for=condition={condition}", name, "--timeout=5s")

    operator.end_silence("gw1")
    answered_by(stream, FIRST)
    everywhere(operator, through(first=True))
    for name, (first, second) in objects.items():
        counted(operator, name, [(first, 3, 0), (second, 3, 0)])
        operator.kubectl("wait", "--for=condition=GatewaysHealthy", name, "--timeout=5s")
        told = [line for line in operator.kubectl("events", "--for", name).splitlines() if "Gateways" in line]
        assert [line.split()[2] for line in told] == ["GatewaysDown", "GatewaysHealthy"], told
        assert f"down: {first}" in told[0]
    requests = stream.stop()
    switched = next(index for index, each in enumerate(requests) if each.answer == ANSWERS[SECOND])
    # Packets on their way through the gateway are lost with it, and requests fail until the detection.
    assert failed(requests[switched:]) == []


def test_drain_and_removal(operator: Cluster, start: Start) -> None:
    """Weight 0 moves the stream to the other gateway, and so does removal; nothing fails on the way there and back."""
    stream = start(STANDBY)
    apply(operator, [STANDBY[0] | {"weight": 0}, STANDBY[1]])
    answered_by(stream, SECOND)
    everywhere(operator, dict.fromkeys(DESTINATIONS, SECOND))
    apply(operator, STANDBY)
    answered_by(stream, FIRST)
    everywhere(operator, dict.fromkeys(DESTINATIONS, FIRST))
    apply(operator, STANDBY[1:])
    answered_by(stream, SECOND)
    everywhere(operator, dict.fromkeys(DESTINATIONS, SECOND))
    requests = stream.stop()
    assert failed(requests) == []
    assert {each.answer for each in requests} == set(ANSWERS.values())


def test_failover_without_the_api_server(operator: Cluster, start: Start) -> None:
    """While the API server is away, a gateway's death and return still move traffic; the status follows afterwards."""
    stream = start(STANDBY, healthCheck=CHECK)
    # Told when the nodes live with the change: an API server that goes away before could undo it for a moment.
    counted(operator, NAME, [(FIRST, 3, 0), (SECOND, 3, 0)])
    operator.stop_api()
    try:
        operator.silence("gw1")
        answered_by(stream, SECOND)
        everywhere(operator, dict.fromkeys(DESTINATIONS, SECOND))
        operator.end_silence("gw1")
        answered_by(stream, FIRST)
        everywhere(operator, dict.fromkeys(DESTINATIONS, FIRST))
        operator.silence("gw1")
        answered_by(stream, SECOND)
    finally:
        operator.start_api()
    counted(operator, NAME, [(FIRST, 0, 3), (SECOND, 3, 0)])
    everywhere(operator, dict.fromkeys(DESTINATIONS, SECOND))
