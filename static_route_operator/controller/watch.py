"""The controller's watch of all StaticRoutes, Nodes and NodeRouteStates."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from static_route_operator.api import GROUP, VERSION
from static_route_operator.api.noderoutestate import PLURAL as STATES
from static_route_operator.api.rollout import Rollout
from static_route_operator.api.staticroute import PLURAL as ROUTES
from static_route_operator.api.store import Named, Store
from static_route_operator.cluster.engine import Engine, Event, Handler, Settings, engine_settings
from static_route_operator.controller.client import IDENTITY
from static_route_operator.controller.clusterstate import ClusterState, parse_node_info, parse_node_state
from static_route_operator.controller.summaries import RouteSummary
from static_route_operator.observability.metrics import ApiMetrics
from static_route_operator.supervision import Signal

T = TypeVar("T", bound=Named)

# Objects per answer to a list: reading thousands of NodeRouteStates at once would take gigabytes.
CHUNK = 100


def controller_settings() -> Settings:
    """Return Kopf's settings for the controller; on an event of one CRD, Kopf scans the whole group."""
    crd = ("apiextensions.k8s.io", "customresourcedefinitions")
    settings = engine_settings({crd: f"metadata.name={STATES}.{GROUP}"})
    settings.watching.chunk_size = CHUNK
    return settings


class ControllerWatch(Engine):
    """The watch that keeps a cluster state up to date.

    Args:
        state: receiver of the objects, in the running event loop.
        metrics: counters of restarts and events.
        rollout: roll-out of objects without ``spec.rollout``; None for all nodes at once.

    Attributes:
        on_finalizers: callback with name and finalizers of a StaticRoute that is being deleted and has finalizers.
    """

    def __init__(self, state: ClusterState, metrics: ApiMetrics, rollout: Rollout | None = None) -> None:
        super().__init__(IDENTITY, frozenset({ROUTES, STATES}), controller_settings, metrics)
        self.on_finalizers: Signal[str, Sequence[str]] = Signal()
        self._state = state
        self._rollout = rollout
        self._known: set[str] = set()
        self._summaries: dict[str, RouteSummary] = {}

    def handlers(self) -> Iterable[Handler]:
        """Return the handlers, for a watch that begins with a list of all objects."""
        self._known.clear()
        self._summaries.clear()
        return (
            Handler(GROUP, VERSION, ROUTES, self._on_route),
            Handler(GROUP, VERSION, STATES, self._on_state),
            Handler("", "v1", "nodes", self._on_node),
        )

    async def _on_route(self, event: Event, **_: Any) -> None:
        body: Mapping[str, Any] = event["object"]
        metadata = body["metadata"]
        finalizers = metadata.get("finalizers")
        # Only for an object that is being deleted: before, a retired operator that still runs would add it again.
        if event["type"] != "DELETED" and metadata.get("deletionTimestamp") and finalizers:
            self.deliver(self.on_finalizers.emit, metadata["name"], list(finalizers))
        if not self._exists(event, self._state.summaries):
            self._summaries.pop(metadata["uid"], None)
            return
        summary = self._summaries.get(metadata["uid"])
        if summary is None or summary.generation != metadata.get("generation"):
            # Parse once per generation: status updates are much more frequent.
            summary = self._summaries[metadata["uid"]] = RouteSummary.parse(body, self._rollout)
        self.deliver(self._state.put_route, summary, dict(body.get("status") or {}), int(metadata["resourceVersion"]))

    async def _on_state(self, event: Event, **_: Any) -> None:
        if self._exists(event, self._state.states):
            self._put(self._state.states, event, parse_node_state)

    async def _on_node(self, event: Event, **_: Any) -> None:
        if self._exists(event, self._state.nodes):
            self._put(self._state.nodes, event, parse_node_info)

    def _exists(self, event: Event, store: Store[Any]) -> bool:
        """Report whether an object exists and is not being deleted, whatever its finalizers; else remove it."""
        metadata: Mapping[str, Any] = event["object"]["metadata"]
        uid = metadata["uid"]
        if event["type"] == "DELETED" or metadata.get("deletionTimestamp"):
            self._known.discard(uid)
            self.deliver(store.remove, uid)
            return False
        if event["type"] is None and uid in self._known:
            self.deliver(self.on_relist.emit)
        self._known.add(uid)
        return True

    def _put(self, store: Store[T], event: Event, parse: Callable[[Mapping[str, Any]], T]) -> None:
        body: Mapping[str, Any] = event["object"]
        metadata = body["metadata"]
        self.deliver(store.put, metadata["uid"], parse(body), int(metadata["resourceVersion"]))
