"""A stream of requests from a pod: not one fails, whatever is done to gateways and agents meanwhile."""

import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.e2e.conftest import SITES, enter_pod, everywhere
from tests.lab.cluster import Cluster
from tests.lab.commands import wait_until
from tests.lab.release import NAMESPACE
from tests.lab.request import Request
from tests.lab.stream import Stream

GATEWAY, OTHER = "10.116.0.5", "10.116.0.12"
ANSWERS = {GATEWAY: "198.51.100.5", OTHER: "198.51.100.12"}
SITE = SITES["ifconfig.me"]
MANY = 2000


def staticroute(gateway: str) -> str:
    """A StaticRoute for the site and 2,000 more destinations."""
    destinations = [SITE, *(f"20.0.{number // 256}.{number % 256}" for number in range(MANY))]
    return json.dumps(
        {
            "apiVersion": "networking.digitalocean.com/v1",
            "kind": "StaticRoute",
            "metadata": {"name": "sites"},
            "spec": {"destinations": destinations, "gateway": gateway},
        }
    )


@pytest.fixture
def stream(operator: Cluster, tmp_path: Path) -> Iterator[Stream]:
    """Requests from the pod to the site, which is routed through the first gateway."""
    operator.kubectl("apply", "--server-side", "-f", "-", input=staticroute(GATEWAY))
    routed = {SITE: GATEWAY} | {f"20.0.{number // 256}.{number % 256}": GATEWAY for number in range(MANY)}
    everywhere(operator, routed)
    running = Stream("curl-test", enter_pod(operator), SITE, tmp_path / "requests.log")
    running.wait()
    yield running
    running.stop()


def test_gateway_edited_in_place(operator: Cluster, stream: Stream) -> None:
    """Editing `spec.gateway` moves 2,000 routes on all nodes without one failed request."""
    time.sleep(1)
    operator.kubectl("patch", "staticroute", "sites", "--type=merge", "-p", json.dumps({"spec": {"gateway": OTHER}}))
    wait_until(lambda: stream.requests()[-1].answer == ANSWERS[OTHER], "the other gateway answers", timeout=20)
    time.sleep(1)
    requests = stream.stop()
    assert failed(requests) == []
    answers = [request.answer for request in requests]
    assert set(answers) == set(ANSWERS.values())
    assert answers == sorted(answers, key=[ANSWERS[GATEWAY], ANSWERS[OTHER]].index), "it went back and forth"


def test_rolling_update(operator: Cluster, stream: Stream) -> None:
    """A rolling update of the agents goes by without one failed request, and none takes another way."""
    operator.kubectl("rollout", "restart", "daemonset/k8s-staticroute-operator", "-n", NAMESPACE)
    operator.kubectl("rollout", "status", "daemonset/k8s-staticroute-operator", "-n", NAMESPACE, "--timeout=120s")
    requests = stream.stop()
    assert failed(requests) == []
    assert {request.answer for request in requests} == {ANSWERS[GATEWAY]}


def failed(requests: Sequence[Request]) -> list[Request]:
    """The requests that got no answer."""
    return [request for request in requests if request.failure]
