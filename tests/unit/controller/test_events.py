"""Which transitions are told by an Event, and how."""

import asyncio
from typing import Any, cast

import pytest

from static_route_operator.controller.client import Client
from static_route_operator.controller.events import EventRecorder
from static_route_operator.controller.summaries import RouteSummary
from static_route_operator.observability.metrics import ControllerMetrics
from tests.unit import virtual_time
from tests.unit.builders import manifest
from tests.unit.cluster.fakeapi import FakeApi

READY, FAILING, ROLLING, DOWN = "AllNodesReady", "NodesFailing", "RollingOut", "NodesNotReady"


def status(reason: str, generation: int = 1, message: str = "") -> dict[str, Any]:
    """A status with this reason of its Ready condition."""
    return {
        "observedGeneration": generation,
        "nodes": {"pending": int(reason == ROLLING)},
        "conditions": [{"type": "Ready", "reason": reason, "message": message or reason}],
    }


def told(*statuses: dict[str, Any], before: dict[str, Any] | None = None, refusals: tuple[int, ...] = ()) -> list[Any]:
    """The Events written while an object goes through these statuses."""
    api = FakeApi(*refusals)
    summary = RouteSummary.parse(manifest(metadata={"uid": "u", "generation": 1}))

    async def run() -> None:
        recorder = EventRecorder(cast("Client", api), ControllerMetrics())
        task = asyncio.create_task(recorder.run())
        last = before or {}
        for each in statuses:
            recorder.record(summary, last, each)
            last = each
        await asyncio.sleep(1000)
        task.cancel()

    virtual_time.run(run())
    return [body for _, body, _ in api.patches]


@pytest.mark.parametrize(
    ("reasons", "events"),
    [
        ([ROLLING, READY], ["Ready"]),
        ([ROLLING, FAILING, READY], ["NodesFailing", "Ready"]),
        ([ROLLING, READY, ROLLING, READY], ["Ready"]),
        ([READY, DOWN, READY], ["Ready"]),
        (["NoNodesSelected", READY], ["NoNodesSelected", "Ready"]),
        (["InvalidSpec"], ["Invalid"]),
    ],
)
def test_transitions(reasons: list[str], events: list[str]) -> None:
    """Each state that an object may stay in is told once when it gets there; the way there is not."""
    assert [each["reason"] for each in told(*map(status, reasons))] == events


def test_warnings_are_warnings() -> None:
    """What needs a person is a Warning, what does not is Normal."""
    types = {each["reason"]: each["type"] for each in told(*map(status, (FAILING, READY, "InvalidSpec")))}

    assert types == {"NodesFailing": "Warning", "Ready": "Normal", "Invalid": "Warning"}


def test_event_is_found_by_kubectl() -> None:
    """It stands in namespace default and names the object by uid and without a namespace."""
    (event,) = told(status(READY, message="3 of 3 nodes ready"))

    assert event["metadata"]["namespace"] == "default"
    assert event["regarding"] == {
        "apiVersion": "networking.digitalocean.com/v1",
        "kind": "StaticRoute",
        "name": "nat",
        "uid": "u",
    }
    assert event["note"] == "3 of 3 nodes ready"
    assert "series" not in event


def test_the_same_again_is_counted() -> None:
    """An object that flaps, or is changed again and again, has one Event of each kind, with a count."""
    events = told(*(status(reason, generation) for generation in (1, 2, 3) for reason in (FAILING, READY)))

    assert len({each["metadata"]["name"] for each in events}) == 2
    assert [each.get("series", {}).get("count") for each in events] == [None, None, 2, 2, 3, 3]
    assert len({each["eventTime"] for each in events}) == 2


def test_other_words_are_another_event() -> None:
    """The API server lets nobody change the words of an Event."""
    events = told(status(FAILING, 1, "node1: a"), status(FAILING, 2, "node2: b"))

    assert len({each["metadata"]["name"] for each in events}) == 2


def test_a_restart_tells_nothing_again() -> None:
    """What the object said before the controller started was told then."""
    assert told(status(FAILING), before=status(FAILING)) == []
    assert len(told(status(READY), before=status(FAILING))) == 1


def test_a_roll_out_with_failures_is_told_when_it_has_settled() -> None:
    """As it begins it is not known yet who fails; later one node that never answers holds nothing back."""
    rolling = status(FAILING, message="early")
    rolling["nodes"]["pending"] = 1

    (settled,) = told(rolling, status(FAILING, message="settled"))
    assert settled["note"] == "settled"
    later = rolling | {"conditions": status(FAILING, message="later")["conditions"]}
    assert [each["note"] for each in told(rolling, later, status(FAILING))] == ["later"]


def test_long_words_are_cut() -> None:
    """A note has a limit in the API server."""
    assert len(told(status(FAILING, 1, "x" * 5000))[0]["note"]) == 1024


def test_event_is_tried_a_few_times() -> None:
    """An Event that can't be written is given up in the end: what it says stands in the status."""
    assert len(told(status(READY), refusals=(503, 500))) == 1
    assert told(status(READY), refusals=(503,) * 5) == []


def _with_gateways(**unhealthy: int) -> dict[str, Any]:
    """A status of which every gateway has so many nodes that it does not answer."""
    made = status(READY)
    reason = "GatewaysDown" if any(unhealthy.values()) else "AllGatewaysUp"
    made["gateways"] = [{"address": name, "unhealthyNodes": number} for name, number in unhealthy.items()]
    made["conditions"] += [{"type": "GatewaysHealthy", "reason": reason, "message": "…"}]
    return made


def test_gateway_is_told_once_for_all_nodes() -> None:
    """That a gateway goes down is one Event, however many nodes find out after each other; so is its return."""
    events = told(*(_with_gateways(a=number, b=0) for number in (0, 1, 2, 3, 1, 0)), before=_with_gateways(a=0, b=0))

    assert [(each["type"], each["reason"]) for each in events] == [
        ("Warning", "GatewaysDown"),
        ("Normal", "GatewaysHealthy"),
    ]


def test_another_gateway_is_another_event() -> None:
    """Each gateway that goes down is told; those that are up at first are no news."""
    events = told(*(_with_gateways(a=a, b=b) for a, b in ((0, 0), (1, 0), (1, 1))))

    assert [each["reason"] for each in events] == ["Ready", "GatewaysDown", "GatewaysDown"]
