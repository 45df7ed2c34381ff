"""What an agent watches: all StaticRoutes, its own Node, and the addresses that the controller tells."""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from static_route_operator.agent.nodestate import NodeCounts
from static_route_operator.api import GROUP, VERSION
from static_route_operator.api.clusteraddresses import NAME as ADDRESSES
from static_route_operator.api.nodeselector import Node
from static_route_operator.api.resolution import Version
from static_route_operator.api.rollout import released_generation
from static_route_operator.api.staticroute import PLURAL, StaticRoute
from static_route_operator.cluster.engine import Engine, Event, Handler, Settings, engine_settings
from static_route_operator.errors import InvalidSpecError
from static_route_operator.node.inventory import Invalid, Inventory
from static_route_operator.observability.metrics import ApiMetrics


def watch_settings(node_name: str) -> Settings:
    """Kopf's settings for an agent: whole CRDs and Nodes of others would be most of the traffic."""
    return engine_settings(
        {
            ("v1", "nodes"): f"metadata.name={node_name}",
            ("v1", "configmaps"): f"metadata.name={ADDRESSES}",
            ("apiextensions.k8s.io", "customresourcedefinitions"): f"metadata.name={PLURAL}.{GROUP}",
        }
    )


class Watch(Engine):
    """Feeds an inventory from the API server's watches, for ever.

    Args:
        node_name: this node.
        inventory: what to feed, in the event loop that is running now.
        metrics: where to count.
        namespace: of the operator.
        staged: whether objects that do not say how they are rolled out wait for the controller too.

    Attributes:
        on_addresses: told the data of the ConfigMap with the cluster's addresses.
        reach: told what the statuses of StaticRoutes say of their nodes.
    """

    def __init__(
        self, node_name: str, inventory: Inventory, metrics: ApiMetrics, namespace: str, *, staged: bool = False
    ) -> None:
        super().__init__(node_name, frozenset({PLURAL}), lambda: watch_settings(node_name), metrics)
        self._node_name = node_name
        self._inventory = inventory
        self._namespace = namespace
        self._staged = staged
        self.on_addresses: Callable[[Mapping[str, str]], None] = _nothing
        self.reach = NodeCounts()
        self._generations: dict[str, int] = {}

    def handlers(self) -> Iterable[Handler]:
        """Return the handlers; the watch lists all objects first."""
        self._generations.clear()
        return (
            Handler(GROUP, VERSION, PLURAL, self._create, ("ADDED",)),
            Handler(GROUP, VERSION, PLURAL, self._update, ("MODIFIED",)),
            Handler(GROUP, VERSION, PLURAL, self._delete, ("DELETED",)),
            Handler(GROUP, VERSION, PLURAL, self._resume, (None,)),
            Handler(GROUP, VERSION, PLURAL, self._see_status),
            Handler("", "v1", "nodes", self._see_node),
            Handler("", "v1", "configmaps", self._see_addresses),
        )

    async def _create(self, event: Event, **_: Any) -> None:
        self._take(event["object"])

    async def _update(self, event: Event, **_: Any) -> None:
        metadata: Mapping[str, Any] = event["object"]["metadata"]
        # Labels, annotations and status don't move the generation, and don't concern a node.
        if metadata.get("deletionTimestamp") or self._generations.get(metadata["uid"]) != metadata["generation"]:
            self._take(event["object"])

    async def _delete(self, event: Event, **_: Any) -> None:
        self._take_away(event["object"]["metadata"]["uid"])

    async def _resume(self, event: Event, **_: Any) -> None:
        if event["object"]["metadata"]["uid"] in self._generations:
            self.tell(self.on_relist)
        self._take(event["object"])

    async def _see_status(self, event: Event, **_: Any) -> None:
        body: Mapping[str, Any] = event["object"]
        metadata, status = body["metadata"], body.get("status") or {}
        name, nodes = metadata["name"], status.get("nodes")
        if event["type"] == "DELETED":
            self.tell(self.reach.drop, name)
        elif isinstance(nodes, Mapping):
            self.tell(self.reach.put, name, nodes.get("selected", 0))
            if generation := released_generation(status, self._node_name):
                self.tell(self._inventory.release, Version(metadata["uid"], generation))

    async def _see_node(self, event: Event, **_: Any) -> None:
        metadata = event["object"]["metadata"]
        if metadata["name"] == self._node_name and event["type"] != "DELETED":
            node = Node(metadata["name"], dict(metadata.get("labels") or {}), metadata["uid"])
            self.tell(self._inventory.set_node, node)

    async def _see_addresses(self, event: Event, **_: Any) -> None:
        body: Mapping[str, Any] = event["object"]
        metadata = body["metadata"]
        # When it is gone, what it said is still more likely true than not.
        if (metadata["namespace"], metadata["name"]) == (self._namespace, ADDRESSES) and event["type"] != "DELETED":
            self.tell(self.on_addresses, dict(body.get("data") or {}))

    def _take(self, body: Any) -> None:
        metadata = body["metadata"]
        uid, generation = metadata["uid"], metadata.get("generation", 0)
        if metadata.get("deletionTimestamp"):
            # Somebody's finalizer holds the object; its routes go when it is asked to go.
            self._take_away(uid)
            return
        self._generations[uid] = generation
        item: StaticRoute | Invalid
        try:
            item = StaticRoute.parse(body)
        except InvalidSpecError as error:
            item = Invalid(uid, generation, error)
        self.tell(
            partial(self._inventory.put, released=self._is_released(item, body)), item, int(metadata["resourceVersion"])
        )

    def _is_released(self, item: StaticRoute | Invalid, body: Any) -> bool:
        """Whether a version of an object may be used on this node now."""
        if isinstance(item, Invalid) or not (item.rollout or self._staged):
            return True
        return released_generation(body.get("status") or {}, self._node_name) == item.generation

    def _take_away(self, uid: str) -> None:
        self._generations.pop(uid, None)
        self.tell(self._inventory.remove, uid)


def _nothing(_data: Mapping[str, str]) -> None:
    """Nobody listens yet."""
