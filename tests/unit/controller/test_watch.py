"""What the controller makes of the events that Kopf tells it, and which statuses it looks at because of them."""

import asyncio
import json
from typing import Any

import kopf
import pytest

from static_route_operator.controller.clusterstate import ClusterState, parse_node_state
from static_route_operator.controller.watch import CHUNK, ControllerWatch, controller_settings
from static_route_operator.observability.metrics import ControllerMetrics
from tests.unit.builders import manifest

SELECTOR = {"nodeSelectorTerms": [{"matchExpressions": [{"key": "zone", "operator": "In", "values": ["b"]}]}]}


def route(name: str = "a", generation: int = 1, version: int = 1, **changes: Any) -> dict[str, Any]:
    """A StaticRoute."""
    metadata = {"uid": f"uid-{name}", "generation": generation, "resourceVersion": str(version)}
    body = manifest(name, metadata=metadata | changes.pop("metadata", {}), **changes.pop("spec", {}))
    return body | changes


def node(name: str, *, ready: str = "True", uid: str = "", **labels: str) -> dict[str, Any]:
    """A Node."""
    metadata = {"name": name, "uid": uid or f"uid-{name}", "resourceVersion": "1", "labels": labels or None}
    conditions = [{"type": "MemoryPressure", "status": "False"}, {"type": "Ready", "status": ready}]
    return {"metadata": metadata, "status": {"conditions": conditions}}


def node_state(name: str, *rows: dict[str, Any], owner: str = "") -> dict[str, Any]:
    """A NodeRouteState, owned by the node of its name."""
    owners = [{"kind": "Node", "uid": owner or f"uid-{name}"}]
    metadata = {"name": name, "uid": f"state-{name}-{owner}", "resourceVersion": "1", "ownerReferences": owners}
    return {"metadata": metadata, "status": {"rows": list(rows)}}


def row(name: str = "a", state: str = "Programmed", generation: int = 1) -> dict[str, Any]:
    """What a node says of a StaticRoute."""
    return {"name": name, "observedGeneration": generation, "state": state, "reason": "Programmed", "message": ""}


class Told:
    """A watch fed by hand, and the state that it feeds."""

    def __init__(self) -> None:
        self.state = ClusterState()
        self.relists = 0
        self.finalizers: list[tuple[str, list[str]]] = []
        self._watch = ControllerWatch(self.state, ControllerMetrics())
        self._watch.on_relist.connect(self._count)
        self._watch.on_finalizers.connect(lambda name, each: self.finalizers.append((name, list(each))))
        self._handlers = {"sr": self._watch._on_route, "node": self._watch._on_node, "nrs": self._watch._on_state}

    def _count(self) -> None:
        self.relists += 1

    async def event(self, of: str, body: dict[str, Any], kind: str | None = "MODIFIED") -> None:
        """What Kopf does with an event."""
        event: Any = {"type": kind, "object": body}
        await self._handlers[of](event)
        await asyncio.sleep(0)

    def changed(self) -> list[str]:
        """The StaticRoutes to look at."""
        return [each.name for each in self.state.take_changed()]

    def summary(self, name: str = "a") -> str:
        """How one fares."""
        summary = self.state.summaries.find(name)
        assert summary is not None
        rollup = self.state.roll_up(summary)
        return f"{rollup.ready}/{rollup.selected} {rollup.condition.reason}"


@pytest.fixture
async def told() -> Told:
    """A StaticRoute on two nodes that have it."""
    told = Told()
    await told.event("sr", route())
    for name in ("node1", "node2"):
        await told.event("node", node(name))
        await told.event("nrs", node_state(name, row()))
    assert told.changed() == ["a"]
    return told


async def test_all_is_put_together(told: Told) -> None:
    """StaticRoutes, nodes and their reports, in whatever order they come."""
    assert told.summary() == "2/2 AllNodesReady"


async def test_a_status_wakes_nobody_who_knows_it(told: Told) -> None:
    """The event of a status that the controller has written is no reason to look again; somebody else's is."""
    summary = told.state.summaries.find("a")
    assert summary is not None
    told.state.record_status(summary, {"summary": "2/2"})
    await told.event("sr", route(version=2, status={"summary": "2/2"}))
    assert told.changed() == []

    await told.event("sr", route(version=3, status={"summary": "7/7"}))
    assert told.changed() == ["a"]


async def test_only_rows_that_changed_are_looked_at(told: Told) -> None:
    """A node's report wakes the StaticRoutes that it says something new of."""
    await told.event("sr", route("b"))
    told.changed()
    await told.event("nrs", node_state("node1", row(), row("b")))
    assert told.changed() == ["b"]
    await told.event("nrs", node_state("node1", row(), row("b")))
    assert told.changed() == []


async def test_heartbeats_of_nodes_are_passed_over(told: Told) -> None:
    """A Node of the same name, labels and readiness changes nothing; else those that select it are looked at."""
    await told.event("sr", route("b", spec={"nodeSelector": SELECTOR}))
    told.changed()
    await told.event("node", node("node1"))
    assert told.changed() == []
    await told.event("node", node("node1", zone="b"))
    assert told.changed() == ["a", "b"]
    await told.event("node", node("node2", ready="Unknown"))
    assert told.changed() == ["a"]
    assert told.summary() == "1/2 NodesNotReady"


@pytest.mark.parametrize("kind", ["DELETED", "MODIFIED"])
async def test_a_node_that_goes_is_not_counted(told: Told, kind: str) -> None:
    """Counts follow when a Node is deleted, or is going."""
    body = node("node2")
    body["metadata"]["deletionTimestamp"] = "2024-01-01T00:00:00Z"
    await told.event("node", body, kind)

    assert told.changed() == ["a"]
    assert told.summary() == "1/1 AllNodesReady"


async def test_a_new_node_is_not_taken_for_its_predecessor(told: Told) -> None:
    """What a node said that is gone does not count for another one of its name."""
    await told.event("node", node("node2"), "DELETED")
    await told.event("node", node("node2", uid="new"))
    assert told.summary() == "1/2 RollingOut"

    await told.event("nrs", node_state("node2", row(), owner="new"))
    assert told.summary() == "2/2 AllNodesReady"


async def test_state_that_goes_counts_no_more(told: Told) -> None:
    """A node without a state has not answered."""
    await told.event("nrs", node_state("node2"), "DELETED")

    assert told.changed() == ["a"]
    assert told.summary() == "1/2 RollingOut"


async def test_rows_of_other_versions_are_no_answer(told: Told) -> None:
    """A state or a shape that this version does not know is passed over, and its neighbours count."""
    await told.event("nrs", node_state("node1", {"name": "x"}, row("a", "Levitating"), row("b")))

    assert told.summary() == "1/2 RollingOut"


async def test_object_that_is_being_deleted_has_no_status(told: Told) -> None:
    """A StaticRoute that is going is forgotten, but its finalizers are told."""
    metadata = {"deletionTimestamp": "2024-01-01T00:00:00Z", "finalizers": ["other"]}
    await told.event("sr", route(metadata=metadata))

    assert told.state.summaries.items == {}
    assert told.finalizers == [("a", ["other"])]


async def test_relist_is_noticed(told: Told) -> None:
    """An object of any kind that is listed for the second time shows that deletions may have been missed."""
    for of, body in (("sr", route()), ("node", node("node1")), ("nrs", node_state("node1"))):
        await told.event(of, body, None)

    assert told.relists == 3


async def test_complete_is_everything_of_every_kind(told: Told) -> None:
    """No status is made before all three kinds were listed and seen."""
    state = told.state
    for collection, listed in (
        (state.summaries, {"uid-a": 1}),
        (state.nodes, {"uid-node1": 1, "uid-node2": 1}),
        (state.states, {"state-node1-": 1, "late": 1}),
    ):
        assert not state.complete
        collection.replace(listed, 5)
    assert not state.complete
    assert told.summary() == "1/2 RollingOut"

    await told.event("nrs", node_state("late") | {"metadata": {"name": "late", "uid": "late", "resourceVersion": "1"}})
    assert state.complete


async def test_crd_that_is_gone(told: Told) -> None:
    """Without the resource nobody says anything, and nothing is remembered as gone."""
    told.state.states.clear()
    assert told.summary() == "0/2 RollingOut"

    await told.event("nrs", node_state("node1", row()))
    assert told.summary() == "1/2 RollingOut"


async def test_kopf_writes_nothing(told: Told) -> None:
    """Only event handlers are registered, Kopf posts no events and waits for no peers."""
    registry = told._watch._registry()
    settings = controller_settings()

    assert len(registry._watching.get_all_handlers()) == 3
    for writing in (registry._changing, registry._spawning, registry._indexing, registry._webhooks):
        assert writing.get_all_handlers() == []
    assert settings.posting.enabled is False
    assert settings.peering.standalone is True
    assert isinstance(settings, kopf.OperatorSettings)


def test_all_is_not_read_at_once() -> None:
    """What thousands of nodes say is listed in parts."""
    assert controller_settings().watching.chunk_size == CHUNK


def test_equal_words_of_many_nodes_are_kept_once() -> None:
    """A thousand nodes that say the same take the room of one; one that says something else is on its own."""
    texts = [json.dumps(node_state(f"node{number}", row("a"), row("b"))) for number in range(3)]
    first, second, third = (parse_node_state(json.loads(text)) for text in texts)
    other = parse_node_state(node_state("node9", row("a"), row("b", "Failed")))

    assert first.reports is second.reports is third.reports
    assert other.reports["a"] is first.reports["a"]
    assert other.reports["b"] != first.reports["b"]
