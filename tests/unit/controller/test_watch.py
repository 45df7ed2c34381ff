"""Kopf's events, the resulting cluster state, and the statuses that may change."""

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
    """Return a StaticRoute."""
    metadata = {"uid": f"uid-{name}", "generation": generation, "resourceVersion": str(version)}
    body = manifest(name, metadata=metadata | changes.pop("metadata", {}), **changes.pop("spec", {}))
    return body | changes


def node(name: str, *, ready: str = "True", uid: str = "", **labels: str) -> dict[str, Any]:
    """Return a Node."""
    metadata = {"name": name, "uid": uid or f"uid-{name}", "resourceVersion": "1", "labels": labels or None}
    conditions = [{"type": "MemoryPressure", "status": "False"}, {"type": "Ready", "status": ready}]
    return {"metadata": metadata, "status": {"conditions": conditions}}


def node_state(name: str, *rows: dict[str, Any], owner: str = "") -> dict[str, Any]:
    """Return a NodeRouteState, owned by the node of its name."""
    owners = [{"kind": "Node", "uid": owner or f"uid-{name}"}]
    metadata = {"name": name, "uid": f"state-{name}-{owner}", "resourceVersion": "1", "ownerReferences": owners}
    return {"metadata": metadata, "status": {"rows": list(rows)}}


def row(name: str = "a", state: str = "Programmed", generation: int = 1) -> dict[str, Any]:
    """Return a row of a NodeRouteState."""
    return {"name": name, "observedGeneration": generation, "state": state, "reason": "Programmed", "message": ""}


class Scene:
    """A watch that receives events from the test, and its cluster state."""

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
        """Deliver an event, as Kopf does."""
        event: Any = {"type": kind, "object": body}
        await self._handlers[of](event)
        await asyncio.sleep(0)

    def changed(self) -> list[str]:
        """Return the names of the changed StaticRoutes."""
        return [each.name for each in self.state.take_changed()]

    def summary(self, name: str = "a") -> str:
        """Return counts and reason of a StaticRoute."""
        summary = self.state.summaries.find(name)
        assert summary is not None
        rollup = self.state.roll_up(summary)
        return f"{rollup.ready}/{rollup.selected} {rollup.condition.reason}"


@pytest.fixture
async def scene() -> Scene:
    """Return a scene of a StaticRoute and two nodes that have its routes."""
    scene = Scene()
    await scene.event("sr", route())
    for name in ("node1", "node2"):
        await scene.event("node", node(name))
        await scene.event("nrs", node_state(name, row()))
    assert scene.changed() == ["a"]
    return scene


async def test_all_is_put_together(scene: Scene) -> None:
    """The order in which StaticRoutes, nodes and reports arrive does not matter."""
    assert scene.summary() == "2/2 AllNodesReady"


async def test_a_known_status_is_no_change(scene: Scene) -> None:
    """The event of a status that the controller has written is no change; another program's status is one."""
    summary = scene.state.summaries.find("a")
    assert summary is not None
    scene.state.record_status(summary, {"summary": "2/2"})
    await scene.event("sr", route(version=2, status={"summary": "2/2"}))
    assert scene.changed() == []

    await scene.event("sr", route(version=3, status={"summary": "7/7"}))
    assert scene.changed() == ["a"]


async def test_only_changed_rows_count(scene: Scene) -> None:
    """A NodeRouteState changes only the StaticRoutes with a new report."""
    await scene.event("sr", route("b"))
    scene.changed()
    await scene.event("nrs", node_state("node1", row(), row("b")))
    assert scene.changed() == ["b"]
    await scene.event("nrs", node_state("node1", row(), row("b")))
    assert scene.changed() == []


async def test_heartbeats_of_nodes_are_no_change(scene: Scene) -> None:
    """A Node with the same labels and readiness is no change; another one changes the StaticRoutes that select it."""
    await scene.event("sr", route("b", spec={"nodeSelector": SELECTOR}))
    scene.changed()
    await scene.event("node", node("node1"))
    assert scene.changed() == []
    await scene.event("node", node("node1", zone="b"))
    assert scene.changed() == ["a", "b"]
    await scene.event("node", node("node2", ready="Unknown"))
    assert scene.changed() == ["a"]
    assert scene.summary() == "1/2 NodesNotReady"


@pytest.mark.parametrize("kind", ["DELETED", "MODIFIED"])
async def test_a_node_that_goes_is_not_counted(scene: Scene, kind: str) -> None:
    """A Node that is deleted, or is being deleted, is not counted."""
    body = node("node2")
    body["metadata"]["deletionTimestamp"] = "2024-01-01T00:00:00Z"
    await scene.event("node", body, kind)

    assert scene.changed() == ["a"]
    assert scene.summary() == "1/1 AllNodesReady"


async def test_a_new_node_is_not_taken_for_its_predecessor(scene: Scene) -> None:
    """The report of a deleted node does not count for a new node of the same name."""
    await scene.event("node", node("node2"), "DELETED")
    await scene.event("node", node("node2", uid="new"))
    assert scene.summary() == "1/2 RollingOut"

    await scene.event("nrs", node_state("node2", row(), owner="new"))
    assert scene.summary() == "2/2 AllNodesReady"


async def test_a_deleted_state_does_not_count(scene: Scene) -> None:
    """A node without a NodeRouteState is pending."""
    await scene.event("nrs", node_state("node2"), "DELETED")

    assert scene.changed() == ["a"]
    assert scene.summary() == "1/2 RollingOut"


async def test_rows_of_other_versions_are_no_answer(scene: Scene) -> None:
    """A row with an unknown state or shape is ignored; other rows count."""
    await scene.event("nrs", node_state("node1", {"name": "x"}, row("a", "Levitating"), row("b")))

    assert scene.summary() == "1/2 RollingOut"


async def test_object_that_is_being_deleted_has_no_status(scene: Scene) -> None:
    """A StaticRoute that is being deleted is removed, and its finalizers are reported."""
    metadata = {"deletionTimestamp": "2024-01-01T00:00:00Z", "finalizers": ["other"]}
    await scene.event("sr", route(metadata=metadata))

    assert scene.state.summaries.items == {}
    assert scene.finalizers == [("a", ["other"])]


async def test_relist_is_noticed(scene: Scene) -> None:
    """An object that is listed a second time shows that the watch may have missed deletions."""
    for of, body in (("sr", route()), ("node", node("node1")), ("nrs", node_state("node1"))):
        await scene.event(of, body, None)

    assert scene.relists == 3


async def test_complete_is_everything_of_every_kind(scene: Scene) -> None:
    """The cluster state is complete only after all three kinds were listed and received."""
    state = scene.state
    for collection, listed in (
        (state.summaries, {"uid-a": 1}),
        (state.nodes, {"uid-node1": 1, "uid-node2": 1}),
        (state.states, {"state-node1-": 1, "late": 1}),
    ):
        assert not state.complete
        collection.replace(listed, 5)
    assert not state.complete
    assert scene.summary() == "1/2 RollingOut"

    await scene.event("nrs", node_state("late") | {"metadata": {"name": "late", "uid": "late", "resourceVersion": "1"}})
    assert state.complete


async def test_crd_that_is_gone(scene: Scene) -> None:
    """Without the resource there are no reports, and no tombstones when it returns."""
    scene.state.states.clear()
    assert scene.summary() == "0/2 RollingOut"

    await scene.event("nrs", node_state("node1", row()))
    assert scene.summary() == "1/2 RollingOut"


async def test_kopf_writes_nothing(scene: Scene) -> None:
    """The watch registers event handlers only; Kopf posts no Events and has no peers."""
    registry = scene._watch._registry()
    settings = controller_settings()

    assert len(registry._watching.get_all_handlers()) == 3
    for writing in (registry._changing, registry._spawning, registry._indexing, registry._webhooks):
        assert writing.get_all_handlers() == []
    assert settings.posting.enabled is False
    assert settings.peering.standalone is True
    assert isinstance(settings, kopf.OperatorSettings)


def test_all_is_not_read_at_once() -> None:
    """Lists are read in chunks."""
    assert controller_settings().watching.chunk_size == CHUNK


def test_equal_words_of_many_nodes_are_kept_once() -> None:
    """Equal reports share one object in memory; a different report has its own."""
    texts = [json.dumps(node_state(f"node{number}", row("a"), row("b"))) for number in range(3)]
    first, second, third = (parse_node_state(json.loads(text)) for text in texts)
    other = parse_node_state(node_state("node9", row("a"), row("b", "Failed")))

    assert first.reports is second.reports is third.reports
    assert other.reports["a"] is first.reports["a"]
    assert other.reports["b"] != first.reports["b"]
