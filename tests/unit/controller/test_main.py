"""The controller's loop, in virtual time."""

import asyncio
from typing import cast

from static_route_operator.api.noderoutestate import Reason, RowState
from static_route_operator.api.nodeselector import Node
from static_route_operator.controller.client import Client
from static_route_operator.controller.clusterstate import ClusterState, NodeState
from static_route_operator.controller.events import EventRecorder
from static_route_operator.controller.main import Controller
from static_route_operator.controller.statuswriter import StatusWriter
from static_route_operator.controller.summaries import NodeInfo, Report, RouteSummary
from static_route_operator.observability.metrics import ControllerMetrics
from tests.unit import virtual_time
from tests.unit.builders import manifest
from tests.unit.cluster.fakeapi import FakeApi

NODES = 50


async def _play(api: FakeApi, state: ClusterState) -> None:
    metrics = ControllerMetrics()
    recorder = EventRecorder(cast("Client", api), metrics)
    writer = StatusWriter(cast("Client", api), state, metrics, recorder.record)
    controller = Controller(state, writer, recorder, metrics)
    tasks = [asyncio.create_task(each.run()) for each in (controller, writer, recorder)]
    summary = RouteSummary.parse(manifest(metadata={"uid": "u", "generation": 1}))
    state.put_route(summary, {}, 1)
    names = [f"node{number}" for number in range(NODES)]
    for name in names:
        state.nodes.put(name, NodeInfo(Node(name), name, ready=True), 1)
    await asyncio.sleep(10)
    assert api.patches == [], "nothing is written before all objects are known"

    state.summaries.replace({"u": 1}, 1)
    state.nodes.replace(dict.fromkeys(names, 1), 1)
    state.states.replace({}, 1)
    await asyncio.sleep(1)
    for name in names:
        report = Report(1, RowState.PROGRAMMED, Reason.PROGRAMMED, "")
        state.states.put(name, NodeState(name, name, {"nat": report}), 2)
        await asyncio.sleep(0.05)
    await asyncio.sleep(1000)
    for task in tasks:
        task.cancel()


def test_one_change_of_one_object_is_two_writes_and_an_event() -> None:
    """One change causes two writes and one Event, whatever the number of nodes; without a change there are none."""
    api = FakeApi()
    virtual_time.run(_play(api, ClusterState()))

    statuses = [body["status"]["summary"] for path, body, _ in api.patches if path.endswith("/status")]
    events = [body["reason"] for path, body, _ in api.patches if "/events/" in path]
    assert statuses == [f"0/{NODES}", f"{NODES}/{NODES}"]
    assert events == ["Ready"]
