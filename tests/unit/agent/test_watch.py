"""The settings of Kopf, and the effects of the events that it delivers."""

import asyncio
from itertools import islice
from typing import Any

import kopf
import pytest

from static_route_operator.agent.watch import Watch, watch_settings
from static_route_operator.api.nodeselector import Node
from static_route_operator.api.rollout import EVERYONE, rank
from static_route_operator.cluster.engine import LAST_BACKOFF, EndlessBackoffs
from static_route_operator.node.inventory import Inventory
from static_route_operator.observability.metrics import Metrics
from tests.unit.builders import manifest


def test_kopf_writes_nothing_and_waits_for_nobody() -> None:
    """Agents do not pause each other by peering objects, and post no events."""
    settings = watch_settings("node1")

    assert settings.peering.standalone is True
    assert settings.posting.enabled is False


def test_kopf_does_not_end_the_process() -> None:
    """Kopf has no time limit after which it would kill the process that the routes depend on."""
    assert watch_settings("node1").process.ultimate_exiting_timeout is None


def test_only_the_own_node_and_the_own_crd_are_watched() -> None:
    """An agent watches its own Node and the one CustomResourceDefinition, not all of the cluster."""
    selectors = watch_settings("node1").watching.field_selectors

    assert len(selectors) == 2
    assert selectors["v1", "nodes"] == "metadata.name=node1"
    assert (
        selectors["apiextensions.k8s.io", "customresourcedefinitions"]
        == "metadata.name=staticroutes.networking.digitalocean.com"
    )


def test_kopf_keeps_nothing_of_an_object() -> None:
    """Objects with thousands of destinations are not copied at each event, and not kept for seconds after the event."""
    settings = watch_settings("node1")
    body: Any = manifest(destinations=["192.0.2.1"] * 2000)

    assert settings.persistence.diffbase_storage.build(body=kopf.Body(body)) == {}
    assert settings.queueing.idle_timeout < 1


def test_every_request_has_an_end() -> None:
    """Every request and every silent watch has a time limit."""
    settings = watch_settings("node1")

    assert settings.networking.request_timeout
    assert settings.networking.connect_timeout
    assert settings.watching.connect_timeout
    assert settings.watching.inactivity_timeout


def test_backoffs_grow_and_never_end() -> None:
    """Retries of a request never end, soon at first and later every half minute at most; each request starts afresh."""
    backoffs = EndlessBackoffs()

    first = list(islice(backoffs, 1000))
    assert len(first) == 1000
    assert 0.5 <= first[0] <= 1
    assert all(LAST_BACKOFF / 2 <= each <= LAST_BACKOFF for each in first[10:])
    assert next(iter(backoffs)) <= 1
    assert isinstance(watch_settings("node1").networking.error_backoffs, EndlessBackoffs)


class Scene:
    """A watch of node1, fed by hand, and the inventory that it feeds."""

    def __init__(self, *, staged: bool = False) -> None:
        self.inventory = Inventory()
        self.relists = 0
        self.watch = Watch("node1", self.inventory, Metrics(), staged=staged)
        self.watch.on_relist.connect(self._count)
        self._handlers = {
            "ADDED": self.watch._create,
            "MODIFIED": self.watch._update,
            "DELETED": self.watch._delete,
            None: self.watch._resume,
        }

    def _count(self) -> None:
        self.relists += 1

    async def event(self, kind: str | None, body: dict[str, Any]) -> None:
        """Deliver an event of a StaticRoute, as Kopf does."""
        event: Any = {"type": kind, "object": body}
        await self._handlers[kind](event)
        await asyncio.sleep(0)

    async def status(self, kind: str | None, body: dict[str, Any]) -> None:
        """Deliver the same event to the handler of statuses, as Kopf does."""
        event: Any = {"type": kind, "object": body}
        await self.watch._see_status(event)
        await asyncio.sleep(0)

    async def node(self, kind: str | None, name: str, **labels: str) -> None:
        """Deliver an event of a Node, as Kopf does."""
        metadata = {"name": name, "uid": f"uid-{name}", "labels": labels or None}
        event: Any = {"type": kind, "object": {"metadata": metadata}}
        await self.watch._see_node(event)
        await asyncio.sleep(0)

    @property
    def names(self) -> list[str]:
        """Return the names of the objects in the inventory."""
        return sorted(each.name for each in self.inventory.routes.values())


@pytest.fixture
async def scene() -> Scene:
    """Return a watch fed by hand."""
    return Scene()


def _object(name: str = "a", generation: int = 1, version: int = 1, **changes: Any) -> dict[str, Any]:
    metadata = {"uid": f"uid-{name}", "generation": generation, "resourceVersion": str(version)}
    return manifest(name, metadata=metadata | changes.pop("metadata", {}), **changes)


@pytest.mark.parametrize("kind", ["ADDED", "MODIFIED", None])
async def test_any_event_adds_the_object(scene: Scene, kind: str | None) -> None:
    """The first event about an object adds the object, whether it is listed, created or changed."""
    await scene.event(kind, _object())

    assert scene.names == ["a"]


async def test_changes_beside_the_spec_are_passed_over(scene: Scene) -> None:
    """A change of status or labels leaves the generation as it is, and the object is not even parsed."""
    await scene.event("ADDED", _object())
    version = scene.inventory.version
    await scene.event("MODIFIED", _object(version=2))
    assert scene.inventory.version == version

    await scene.event("MODIFIED", _object(generation=2, version=3, gateway="10.0.0.3"))
    assert scene.inventory.version == version + 1
    assert scene.inventory.routes["uid-a"].generation == 2


@pytest.mark.parametrize("kind", ["ADDED", "MODIFIED", None])
async def test_object_that_is_being_deleted_is_gone(scene: Scene, kind: str | None) -> None:
    """Routes go when deletion is requested, however long a finalizer holds the object."""
    await scene.event("ADDED", _object())
    await scene.event(kind, _object(metadata={"deletionTimestamp": "2024-01-01T00:00:00Z"}))

    assert scene.names == []


async def test_deleted_object_is_gone(scene: Scene) -> None:
    """A deletion event removes the object, and a new object of the same name may follow."""
    await scene.event("ADDED", _object())
    await scene.event("DELETED", _object())
    assert scene.names == []

    await scene.event("ADDED", _object(metadata={"uid": "another"}))
    assert scene.names == ["a"]


async def test_invalid_object_is_known_as_such(scene: Scene) -> None:
    """An object that can't be parsed keeps its last good version and is known as invalid, by its generation."""
    await scene.event("ADDED", _object())
    await scene.event("MODIFIED", _object(generation=2, version=2, gateway="nowhere"))

    assert scene.names == ["a"]
    assert scene.inventory.invalid["uid-a"].generation == 2
    assert scene.inventory.invalid["uid-a"].error.field == "spec.gateway"


async def test_status_has_the_number_of_nodes(scene: Scene) -> None:
    """Any event delivers the number; an object without a status, or with one of the retired operator, has none."""
    counts = scene.watch.counts
    for kind, name, status in (
        ("ADDED", "new", None),
        ("ADDED", "retired", {"create_fn": [{"destination": "192.0.2.1"}]}),
        (None, "few", {"nodes": {"selected": 3}}),
        ("MODIFIED", "many", {"nodes": {"selected": 5000}}),
    ):
        await scene.status(kind, _object(name) | ({"status": status} if status else {}))
    assert [counts.nodes([name]) for name in ("new", "retired", "few", "many")] == [5000, 5000, 3, 5000]

    await scene.status("DELETED", _object("few"))
    assert counts.nodes(["few"]) == 5000


async def test_relist_is_noticed(scene: Scene) -> None:
    """A second event of the listed type shows that Kopf has listed again, so deletions may have been missed."""
    await scene.event(None, _object())
    assert scene.relists == 0
    await scene.event(None, _object())
    assert scene.relists == 1


async def test_only_the_own_node_counts(scene: Scene) -> None:
    """Name, labels and uid of this node count, and their changes; other nodes and deletions change nothing."""
    seen = []
    for kind, name, labels in (
        ("ADDED", "node2", {"zone": "b"}),
        (None, "node1", {"zone": "a"}),
        ("DELETED", "node1", {"zone": "a"}),
        ("MODIFIED", "node1", {}),
    ):
        await scene.node(kind, name, **labels)
        seen.append(scene.inventory.node)

    first, later = Node("node1", {"zone": "a"}, "uid-node1"), Node("node1", {}, "uid-node1")
    assert seen == [None, first, first, later]


def test_only_event_handlers_are_registered() -> None:
    """Kopf gets no change handler, daemon or timer: each of those writes to the object."""

    async def build() -> kopf.OperatorRegistry:
        return Watch("node1", Inventory(), Metrics())._registry()

    registry = asyncio.run(build())

    assert len(registry._watching.get_all_handlers()) == 6
    for writing in (registry._changing, registry._spawning, registry._indexing, registry._webhooks):
        assert writing.get_all_handlers() == []


def _staged(generation: int, threshold: int, phase: str = "Progressing") -> dict[str, Any]:
    stage = {"generation": generation, "phase": phase, "nodes": "1/3", "upTo": threshold, "since": "now"}
    return {"observedGeneration": generation, "nodes": {"selected": 3}, "rollout": stage}


async def test_staged_generation_waits_for_its_turn(scene: Scene) -> None:
    """The last generation stays in force until the status releases the new one, without another event."""
    place = rank("node1")
    first = _object(rollout={}) | {"status": _staged(1, EVERYONE, "Complete")}
    await scene.event("ADDED", first)
    second = _object(generation=2, version=2, gateway="10.0.0.3", rollout={}) | {"status": first["status"]}
    await scene.event("MODIFIED", second)
    await scene.status("MODIFIED", second)
    assert scene.inventory.routes["uid-a"].generation == 1

    await scene.status("MODIFIED", second | {"status": _staged(2, place - 1)})
    assert scene.inventory.routes["uid-a"].generation == 1
    await scene.status("MODIFIED", second | {"status": _staged(2, place)})
    assert scene.inventory.routes["uid-a"].generation == 2
    assert not scene.inventory.gated


async def test_setting_stages_what_does_not_say(scene: Scene) -> None:
    """With the setting every object waits for the controller; without it only an object with spec.rollout does."""
    await scene.event("ADDED", _object())
    assert scene.names == ["a"]

    staged = Scene(staged=True)
    await staged.event("ADDED", _object())
    assert staged.names == []
    await staged.status("MODIFIED", _object() | {"status": {"observedGeneration": 1, "nodes": {"selected": 3}}})
    assert staged.names == ["a"], "the controller does not stage it"
