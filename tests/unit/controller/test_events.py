"""The Events of transitions."""

import asyncio
from typing import Any, cast

import pytest

from static_route_operator.api.nodeselector import Node
from static_route_operator.controller import events
from static_route_operator.controller.client import Client
from static_route_operator.controller.events import EventRecorder
from static_route_operator.controller.summaries import NodeInfo, RouteSummary
from static_route_operator.observability.metrics import ControllerMetrics
from tests.unit import virtual_time
from tests.unit.builders import manifest
from tests.unit.cluster.fakeapi import FakeApi

READY, FAILING, ROLLING, DOWN = "AllNodesReady", "NodesFailing", "RollingOut", "NodesNotReady"


def status(reason: str, generation: int = 1, message: str = "") -> dict[str, Any]:
    """Return a status with a reason of its Ready condition."""
    return {
        "observedGeneration": generation,
        "nodes": {"pending": int(reason == ROLLING)},
        "conditions": [{"type": "Ready", "reason": reason, "message": message or reason}],
    }


def recorded(
    *statuses: dict[str, Any],
    before: dict[str, Any] | None = None,
    refusals: tuple[int | None, ...] = (),
    name: str = "nat",
) -> list[Any]:
    """Return the Events of an object that goes through these statuses."""
    api = FakeApi(*refusals)
    summary = RouteSummary.parse(manifest(metadata={"name": name, "uid": "u", "generation": 1}))

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
    """Each lasting state causes one Event when the object enters it; states of a roll-out cause none."""
    assert [each["reason"] for each in recorded(*map(status, reasons))] == events


def test_warnings_are_warnings() -> None:
    """An Event is a Warning if a user must act, else Normal."""
    types = {each["reason"]: each["type"] for each in recorded(*map(status, (FAILING, READY, "InvalidSpec")))}

    assert types == {"NodesFailing": "Warning", "Ready": "Normal", "Invalid": "Warning"}


def test_event_is_found_by_kubectl() -> None:
    """An Event is in namespace default and refers to the object by uid, without a namespace."""
    (event,) = recorded(status(READY, message="3 of 3 nodes ready"))

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
    """An object that flaps or changes repeatedly has one Event of each kind, with a count."""
    events = recorded(*(status(reason, generation) for generation in (1, 2, 3) for reason in (FAILING, READY)))

    assert len({each["metadata"]["name"] for each in events}) == 2
    assert [each.get("series", {}).get("count") for each in events] == [None, None, 2, 2, 3, 3]
    assert len({each["eventTime"] for each in events}) == 2


def test_other_words_are_another_event() -> None:
    """Another note is another Event, since the API server lets nobody change a note."""
    events = recorded(status(FAILING, 1, "node1: a"), status(FAILING, 2, "node2: b"))

    assert len({each["metadata"]["name"] for each in events}) == 2


def test_a_restart_tells_nothing_again() -> None:
    """The status stored before the controller started causes no Event."""
    assert recorded(status(FAILING), before=status(FAILING)) == []
    assert len(recorded(status(READY), before=status(FAILING))) == 1


def test_a_roll_out_with_failures_causes_an_event_when_it_has_settled() -> None:
    """A failure at the start of a roll-out causes no Event yet; later, a pending node delays no Event."""
    rolling = status(FAILING, message="early")
    rolling["nodes"]["pending"] = 1

    (settled,) = recorded(rolling, status(FAILING, message="settled"))
    assert settled["note"] == "settled"
    later = rolling | {"conditions": status(FAILING, message="later")["conditions"]}
    assert [each["note"] for each in recorded(rolling, later, status(FAILING))] == ["later"]


def test_long_words_are_cut() -> None:
    """A note is cut at the API server's limit."""
    assert len(recorded(status(FAILING, 1, "x" * 5000))[0]["note"]) == 1024


def test_event_is_tried_a_few_times() -> None:
    """An Event is given up after some attempts, since the status has the same message."""
    assert len(recorded(status(READY), refusals=(503, 500))) == 1
    assert recorded(status(READY), refusals=(503,) * 5) == []


@pytest.mark.parametrize("refusal", [400, 403, 404, 413, 422])
def test_refused_event_stops_no_other(refusal: int) -> None:
    """An Event that the API server refuses for good is not tried again, and the next one is written at once."""
    written = recorded(status(READY), status(FAILING), refusals=(refusal,))

    assert [each["reason"] for each in written] == ["NodesFailing"]


@pytest.mark.parametrize("refusal", [408, 409, 429, 500, None])
def test_passing_refusal_is_tried_again(refusal: int | None) -> None:
    """An Event is written in a later attempt when the API server had no time for the first one."""
    assert len(recorded(status(READY), refusals=(refusal,))) == 1


def test_events_without_end_take_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Events for which there is no room are counted; those that wait are written."""
    monkeypatch.setattr(events, "MOST_WAITING", 2)

    assert len(recorded(*(status(READY, generation) for generation in range(1, 6)))) == 2


@pytest.mark.parametrize("cut", ["-", "."])
def test_name_of_an_event_is_valid(monkeypatch: pytest.MonkeyPatch, cut: str) -> None:
    """No part of an Event's name ends with a dash or a dot, wherever the name of its object is cut."""
    monkeypatch.setattr(events, "LONGEST_NAME", 4)

    (event,) = recorded(status(READY), name=f"abc{cut}def")
    assert event["metadata"]["name"].startswith("abc.")


def _with_gateways(**unhealthy: int) -> dict[str, Any]:
    """Return a status with the number of nodes on which each gateway is down."""
    made = status(READY)
    reason = "GatewaysDown" if any(unhealthy.values()) else "AllGatewaysUp"
    made["gateways"] = [{"address": name, "unhealthyNodes": number} for name, number in unhealthy.items()]
    made["conditions"] += [{"type": "GatewaysHealthy", "reason": reason, "message": "…"}]
    return made


def test_gateway_causes_one_event_for_all_nodes() -> None:
    """A gateway that goes down causes one Event, however many nodes report it; so does its return."""
    events = recorded(
        *(_with_gateways(a=number, b=0) for number in (0, 1, 2, 3, 1, 0)), before=_with_gateways(a=0, b=0)
    )

    assert [(each["type"], each["reason"]) for each in events] == [
        ("Warning", "GatewaysDown"),
        ("Normal", "GatewaysHealthy"),
    ]


def test_another_gateway_is_another_event() -> None:
    """Each gateway that goes down causes an Event; gateways that are up at first cause none."""
    events = recorded(*(_with_gateways(a=a, b=b) for a, b in ((0, 0), (1, 0), (1, 1))))

    assert [each["reason"] for each in events] == ["Ready", "GatewaysDown", "GatewaysDown"]


def test_warning_about_a_node_is_found_by_kubectl() -> None:
    """A Warning about a Node refers to the Node by its uid, so that `kubectl describe node` shows the text."""
    api = FakeApi()

    async def run() -> None:
        recorder = EventRecorder(cast("Client", api), ControllerMetrics())
        task = asyncio.create_task(recorder.run())
        recorder.warn_node(NodeInfo(Node("node1"), "uid-1", ready=True), "wrong " * 1000)
        await asyncio.sleep(10)
        task.cancel()

    virtual_time.run(run())

    ((_, event, _),) = api.patches
    assert event["regarding"] == {"apiVersion": "v1", "kind": "Node", "name": "node1", "uid": "uid-1"}
    assert (event["type"], event["reason"]) == ("Warning", "WrongAddresses")
    assert len(event["note"]) <= 1024
