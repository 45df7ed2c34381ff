"""What the controller watches: all StaticRoutes, all Nodes and all NodeRouteStates."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from static_route_operator.api import GROUP, VERSION
from static_route_operator.api.noderoutestate import PLURAL as STATES
from static_route_operator.api.rollout import Rollout
from static_route_operator.api.staticroute import PLURAL as ROUTES
from static_route_operator.api.store import Named, Store
from static_route_operator.cluster.engine import Engine, Event, Handler, Settings, engine_settings
from static_route_operator.controller.client import IDENTITY
from static_route_operator.controller.clusterstate import ClusterState, parse_node_info, parse_state
from static_route_operator.controller.summaries import RouteSummary
from static_route_operator.observability.metrics import ApiMetrics
from static_route_operator.supervision import Signal

T = TypeVar("T", bound=Named)

# Objects of one answer when all are listed: what thousands of nodes say would take gigabytes to read at once.
CHUNK = 100


def controller_settings() -> Settings:
    """Kopf's settings for the controller; the event of one CRD makes it look at the whole group."""
    crd = ("apiextensions.k8s.io", "customresourcedefinitions")
    settings = engine_settings({crd: f"metadata.name={STATES}.{GROUP}"})
    settings.watching.chunk_size = CHUNK
    return settings


class ControllerWatch(Engine):
    """Feeds an overview from the API server's watches, for ever.

    Args:
        overview: what to feed, in the event loop that is running now.
        metrics: where to count.
        rollout: how objects that do not say reach the nodes; None for all at once.

    Attributes:
        on_finalizers: called with name and finalizers of each StaticRoute that is being deleted and has some.
    """

    def __init__(self, overview: ClusterState, metrics: ApiMetrics, rollout: Rollout | None = None) -> None:
        super().__init__(IDENTITY, frozenset({ROUTES, STATES}), controller_settings, metrics)
        self.on_finalizers: Signal[str, Sequence[str]] = Signal()
        self._overview = overview
        self._rollout = rollout
        self._known: set[str] = set()
        self._subjects: dict[str, RouteSummary] = {}

    def handlers(self) -> Iterable[Handler]:
        """Return the handlers; the watch lists all objects first."""
        self._known.clear()
        self._subjects.clear()
        return (
            Handler(GROUP, VERSION, ROUTES, self._see_route),
            Handler(GROUP, VERSION, STATES, self._see_state),
            Handler("", "v1", "nodes", self._see_node),
        )

    async def _see_route(self, event: Event, **_: Any) -> None:
        body: Mapping[str, Any] = event["object"]
        metadata = body["metadata"]
        finalizers = metadata.get("finalizers")
        # Only of an object that is asked to go: before that, whoever put one on would put it on again, and again.
        if event["type"] != "DELETED" and metadata.get("deletionTimestamp") and finalizers:
            self.deliver(self.on_finalizers.emit, metadata["name"], list(finalizers))
        if not self._stays(event, self._overview.subjects):
            self._subjects.pop(metadata["uid"], None)
            return
        subject = self._subjects.get(metadata["uid"])
        if subject is None or subject.generation != metadata.get("generation"):
            # Read once per generation: statuses come and go much more often.
            subject = self._subjects[metadata["uid"]] = RouteSummary.parse(body, self._rollout)
        self.deliver(
            self._overview.put_route, subject, dict(body.get("status") or {}), int(metadata["resourceVersion"])
        )

    async def _see_state(self, event: Event, **_: Any) -> None:
        if self._stays(event, self._overview.states):
            self._put(self._overview.states, event, parse_state)

    async def _see_node(self, event: Event, **_: Any) -> None:
        if self._stays(event, self._overview.members):
            self._put(self._overview.members, event, parse_node_info)

    def _stays(self, event: Event, store: Store[Any]) -> bool:
        """Whether an object is neither gone nor going, whoever's finalizer may hold it; if it is, that is told."""
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
