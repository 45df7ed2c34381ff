"""The watch of an agent: all StaticRoutes and its own Node."""

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

from static_route_operator.agent.nodestate import NodeCounts
from static_route_operator.api import GROUP, VERSION
from static_route_operator.api.nodeselector import Node
from static_route_operator.api.resolution import Version
from static_route_operator.api.rollout import released_generation
from static_route_operator.api.staticroute import PLURAL, StaticRoute
from static_route_operator.cluster.engine import Engine, Event, Handler, Settings, engine_settings
from static_route_operator.errors import InvalidSpecError
from static_route_operator.node.inventory import Invalid, Inventory
from static_route_operator.observability.metrics import ApiMetrics


def watch_settings(node_name: str) -> Settings:
    """Return Kopf's settings for an agent: other Nodes and whole CRDs would be most of the traffic."""
    return engine_settings(
        {
            ("v1", "nodes"): f"metadata.name={node_name}",
            ("apiextensions.k8s.io", "customresourcedefinitions"): f"metadata.name={PLURAL}.{GROUP}",
        }
    )


class Watch(Engine):
    """Feeds an inventory from the API server's watches.

    Args:
        node_name: name of this node.
        inventory: receives the objects, in the event loop that is running now.
        metrics: the metrics of this process.
        staged: objects without ``spec.rollout`` wait for their release by the controller too.

    Attributes:
        counts: the number of nodes that each StaticRoute selects.
    """

    def __init__(self, node_name: str, inventory: Inventory, metrics: ApiMetrics, *, staged: bool = False) -> None:
        super().__init__(node_name, frozenset({PLURAL}), lambda: watch_settings(node_name), metrics)
        self._node_name = node_name
        self._inventory = inventory
        self._staged = staged
        self.counts = NodeCounts()
        self._generations: dict[str, int] = {}

    def handlers(self) -> Iterable[Handler]:
        """Return the handlers, for a watch that lists all objects first."""
        self._generations.clear()
        return (
            Handler(GROUP, VERSION, PLURAL, self._create, ("ADDED",)),
            Handler(GROUP, VERSION, PLURAL, self._update, ("MODIFIED",)),
            Handler(GROUP, VERSION, PLURAL, self._delete, ("DELETED",)),
            Handler(GROUP, VERSION, PLURAL, self._resume, (None,)),
            Handler(GROUP, VERSION, PLURAL, self._see_status),
            Handler("", "v1", "nodes", self._see_node),
        )

    async def _create(self, event: Event, **_: Any) -> None:
        self._put(event["object"])

    async def _update(self, event: Event, **_: Any) -> None:
        metadata: Mapping[str, Any] = event["object"]["metadata"]
        # Changes of labels, annotations and status leave the generation as it is, and routes do not depend on them.
        if metadata.get("deletionTimestamp") or self._generations.get(metadata["uid"]) != metadata["generation"]:
            self._put(event["object"])

    async def _delete(self, event: Event, **_: Any) -> None:
        self._remove(event["object"]["metadata"]["uid"])

    async def _resume(self, event: Event, **_: Any) -> None:
        if event["object"]["metadata"]["uid"] in self._generations:
            self.deliver(self.on_relist.emit)
        self._put(event["object"])

    async def _see_status(self, event: Event, **_: Any) -> None:
        body: Mapping[str, Any] = event["object"]
        metadata, status = body["metadata"], body.get("status") or {}
        name, nodes = metadata["name"], status.get("nodes")
        if event["type"] == "DELETED":
            self.deliver(self.counts.drop, name)
        elif isinstance(nodes, Mapping):
            self.deliver(self.counts.put, name, nodes.get("selected", 0))
            if generation := released_generation(status, self._node_name):
                self.deliver(self._inventory.release, Version(metadata["uid"], generation))

    async def _see_node(self, event: Event, **_: Any) -> None:
        metadata = event["object"]["metadata"]
        if metadata["name"] == self._node_name and event["type"] != "DELETED":
            node = Node(metadata["name"], dict(metadata.get("labels") or {}), metadata["uid"])
            self.deliver(self._inventory.set_node, node)

    def _put(self, body: Any) -> None:
        metadata = body["metadata"]
        uid, generation = metadata["uid"], metadata.get("generation", 0)
        if metadata.get("deletionTimestamp"):
            # A finalizer may hold the object for long; its routes go as soon as deletion is requested.
            self._remove(uid)
            return
        self._generations[uid] = generation
        item: StaticRoute | Invalid
        try:
            item = StaticRoute.parse(body)
        except InvalidSpecError as error:
            item = Invalid(uid, generation, error)
        self.deliver(
            partial(self._inventory.put, released=self._is_released(item, body)), item, int(metadata["resourceVersion"])
        )

    def _is_released(self, item: StaticRoute | Invalid, body: Any) -> bool:
        """Report whether a version of an object may be used on this node now."""
        if isinstance(item, Invalid) or not (item.rollout or self._staged):
            return True
        return released_generation(body.get("status") or {}, self._node_name) == item.generation

    def _remove(self, uid: str) -> None:
        self._generations.pop(uid, None)
        self.deliver(self._inventory.remove, uid)
