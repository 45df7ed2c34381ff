"""The shutdown decision: the table of signs that can be trusted."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from static_route_operator.agent.shutdown import ShutdownDecision, decide
from static_route_operator.errors import ApiError
from tests.unit import virtual_time

DAEMONSET = "/apis/apps/v1/namespaces/static-routes/daemonsets/k8s-staticroute-operator"
NAMESPACE = "/api/v1/namespaces/static-routes"

Answer = Mapping[str, Any] | int | None

LIVE: Answer = {"metadata": {"name": "x"}}
GOING: Answer = {"metadata": {"name": "x", "deletionTimestamp": "2024-01-01T00:00:00Z"}}
SILENCE = None


def _daemonset_for(**labels: str) -> Answer:
    return {"metadata": {"name": "x"}, "spec": {"template": {"spec": {"nodeSelector": labels}}}}


class ApiServer:
    """An API server with given answers; an HTTP status or silence in place of an object is an error.

    Args:
        daemonset: the answers about the DaemonSet, of which the last is repeated.
        namespace: likewise about the Namespace.
    """

    def __init__(self, daemonset: list[Answer], namespace: list[Answer]) -> None:
        self._answers = {DAEMONSET: daemonset, NAMESPACE: namespace}
        self.asked: list[str] = []

    async def get(self, path: str) -> Mapping[str, Any]:
        """Return one answer."""
        self.asked.append(path)
        answers = self._answers[path]
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, Mapping):
            return answer
        raise ApiError(f"GET {path}", answer, "as set")


def _decide(
    daemonset: list[Answer], namespace: list[Answer], labels: Mapping[str, str] | None = None
) -> tuple[ShutdownDecision, float]:
    server = ApiServer(daemonset, namespace)
    return virtual_time.run(decide(server.get, "static-routes", "k8s-staticroute-operator", labels or {}))


@pytest.mark.parametrize(
    ("daemonset", "namespace", "decision"),
    [
        (LIVE, LIVE, ShutdownDecision.KEEP),
        (404, LIVE, ShutdownDecision.REMOVE),
        (LIVE, 404, ShutdownDecision.REMOVE),
        (GOING, LIVE, ShutdownDecision.REMOVE),
        (LIVE, GOING, ShutdownDecision.REMOVE),
        (404, GOING, ShutdownDecision.REMOVE),
        (SILENCE, 404, ShutdownDecision.REMOVE),
        (403, GOING, ShutdownDecision.REMOVE),
        (404, 403, ShutdownDecision.REMOVE),
        (503, GOING, ShutdownDecision.REMOVE),
    ],
)
def test_plain_answers_are_believed_at_once(daemonset: Answer, namespace: Answer, decision: ShutdownDecision) -> None:
    """Both exist: keep. One is gone or being deleted: remove, whatever the other is. Neither takes any time."""
    assert _decide([daemonset], [namespace]) == (decision, 0)


@pytest.mark.parametrize(
    ("selector", "labels", "decision"),
    [
        ({}, {"zone": "a"}, ShutdownDecision.KEEP),
        ({"zone": "a"}, {"zone": "a", "gpu": ""}, ShutdownDecision.KEEP),
        ({"zone": "a"}, {"zone": "b"}, ShutdownDecision.REMOVE),
        ({"zone": "a"}, {"gpu": ""}, ShutdownDecision.REMOVE),
        ({"zone": "a"}, {}, ShutdownDecision.KEEP),
    ],
)
def test_daemonset_that_does_not_want_this_node_is_as_good_as_gone(
    selector: dict[str, str], labels: dict[str, str], decision: ShutdownDecision
) -> None:
    """The operator leaves a node that the DaemonSet no longer selects; unknown labels decide nothing."""
    assert _decide([_daemonset_for(**selector)], [LIVE], labels)[0] is decision


@pytest.mark.parametrize(
    ("daemonset", "namespace"), [(403, 403), (401, 401), (403, LIVE), (401, LIVE), (LIVE, 403), (403, SILENCE)]
)
def test_lasting_refusal_means_an_uninstall(daemonset: Answer, namespace: Answer) -> None:
    """RBAC or the ServiceAccount is gone for three seconds: the operator is being uninstalled."""
    decision, seconds = _decide([daemonset], [namespace])

    assert decision is ShutdownDecision.REMOVE
    assert 3 <= seconds < 4


@pytest.mark.parametrize("status", [401, 403])
def test_short_refusal_is_waited_out(status: int) -> None:
    """A refusal that passes, as while a token is renewed, does not count."""
    decision, seconds = _decide([status, status, status, LIVE], [LIVE])

    assert decision is ShutdownDecision.KEEP
    assert 1 <= seconds < 2


@pytest.mark.parametrize("error", [SILENCE, 500, 503, 429])
def test_silence_keeps_the_routes(error: Answer) -> None:
    """The agent asks for 15 s if the API server does not answer, or only with errors of its own; then routes stay."""
    decision, seconds = _decide([error], [error])

    assert decision is ShutdownDecision.KEEP
    assert 15 <= seconds < 16


def test_refusals_count_in_a_row_only() -> None:
    """Refusals with silence between them prove nothing, however long that lasts."""
    daemonset: list[Answer] = [403, 403, 403, 503] * 20
    decision, seconds = _decide(daemonset, [SILENCE])

    assert decision is ShutdownDecision.KEEP
    assert 15 <= seconds < 16


@pytest.mark.parametrize(("last", "decision"), [(LIVE, ShutdownDecision.KEEP), (404, ShutdownDecision.REMOVE)])
def test_answer_after_silence_decides(last: Answer, decision: ShutdownDecision) -> None:
    """The first clear answer counts, also after many requests without one."""
    decided, seconds = _decide([SILENCE] * 10 + [last], [SILENCE] * 10 + [LIVE])

    assert decided is decision
    assert 5 <= seconds < 6


def test_slow_answers_count_as_time() -> None:
    """The limit covers all requests together, however long each takes."""

    async def get(path: str) -> Mapping[str, Any]:
        await asyncio.sleep(2)
        raise ApiError(f"GET {path}", None, "timed out")

    decision, seconds = virtual_time.run(decide(get, "static-routes", "k8s-staticroute-operator", {}))

    assert decision is ShutdownDecision.KEEP
    assert 15 <= seconds < 20


def test_own_objects_are_asked_about_by_name() -> None:
    """The agent asks for the given DaemonSet and Namespace, and for nothing else."""
    server = ApiServer([LIVE], [LIVE])
    virtual_time.run(decide(server.get, "static-routes", "k8s-staticroute-operator", {}))

    assert server.asked == [DAEMONSET, NAMESPACE]
