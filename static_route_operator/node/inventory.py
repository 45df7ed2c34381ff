"""What this agent knows of the cluster: the StaticRoutes and its own Node, fed by a watch, a list or a directory."""

import dataclasses
import datetime as dt
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from static_route_operator.api.nodeselector import Node
from static_route_operator.api.staticroute import StaticRoute
from static_route_operator.api.store import Presence
from static_route_operator.errors import InvalidSpecError
from static_route_operator.supervision import Signal

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Invalid:
    """An object that can't be used as it stands.

    Attributes:
        uid: of the object.
        generation: of the spec that is invalid.
        error: what is wrong with it.
    """

    uid: str
    generation: int
    error: InvalidSpecError

    @property
    def name(self) -> str:
        """The object's name."""
        return self.error.name


class Inventory:
    """All StaticRoutes, and this node.

    Attributes:
        on_change: emitted after each change that matters.
        routes: by uid, the last good version of each object.
        invalid: by uid, the objects whose newest version can't be used.
        gated: by uid, the newest versions that are not to be used here, or not yet; the last good one stays in force.
        node: this node; None until it is known.
        complete: every object was seen once and the node is known: only then may anything be removed.
        version: moves with every change.
    """

    def __init__(self) -> None:
        self.on_change: Signal[[]] = Signal()
        self._presence = Presence()
        self._uids: dict[str, str] = {}
        self.routes: dict[str, StaticRoute] = {}
        self.invalid: dict[str, Invalid] = {}
        self.gated: dict[str, StaticRoute] = {}
        self._doubtful: set[str] = set()
        self.node: Node | None = None
        self._node_remembered = False
        self._remembers = False
        self.version = 0

    @property
    def complete(self) -> bool:
        """Whether a first complete list was taken in, and the node is known."""
        return self._presence.complete and self.node is not None and not self._node_remembered

    @property
    def missing(self) -> frozenset[str]:
        """The uids of listed objects that the watch has not delivered yet."""
        return self._presence.missing

    @property
    def unsynced(self) -> bool:
        """Whether an object may have routes on this node from before, of a version that is not known any more."""
        return bool(self._doubtful)

    def with_changes(self, routes: Iterable[StaticRoute], *, alone: bool = False) -> "Inventory":
        """An inventory of its own that has these objects too, each instead of one of its name if there is any.

        Args:
            routes: as in a manifest; what only an API server knows of an object is taken from the one of its name.
            alone: there are no other objects.
        """
        changed = Inventory()
        if self.node is not None:
            changed.set_node(self.node)
        changed.routes = {} if alone else dict(self.routes)
        changed.invalid = {} if alone else dict(self.invalid)
        known = {route.name: route for route in self.routes.values()}
        now = dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        for route in routes:
            before = known.get(route.name)
            uid = before.uid if before else f"new-{route.name}"
            created = before.created if before else route.created or now
            generation = before.generation if before else 1
            same = dataclasses.replace(route, uid=uid, created=created, generation=generation)
            changed.invalid.pop(uid, None)
            changed.routes[uid] = same if same == before else dataclasses.replace(same, generation=generation + 1)
        if alone or self.complete:
            changed.replace({}, 0)
        return changed

    def remember(self, node: Node | None, routes: Iterable[tuple[StaticRoute, int]]) -> None:
        """Take in what was known when this program last ran, which stands until somebody knows better.

        Args:
            node: this node.
            routes: the objects, each with its resource version.
        """
        self.node = node
        self._node_remembered = self._remembers = node is not None
        for route, resource_version in routes:
            self._presence.remember(route.uid, resource_version)
            self._uids[route.name] = route.uid
            self.routes[route.uid] = route
        self._changed()

    def resource_version(self, uid: str) -> int:
        """The highest resource version at which an object is known; 0 of others."""
        return self._presence.version(uid)

    def put(self, item: StaticRoute | Invalid, resource_version: int = 0, *, released: bool = True) -> None:
        """Take in an object as it is now; an invalid one leaves its last good version in force.

        Args:
            item: the object.
            resource_version: of it.
            released: whether it may be used here; else its last version stays in force until `release`.
        """
        uid, first = item.uid, not self.complete
        if not self._presence.see(uid, resource_version):
            return
        if (other := self._uids.get(item.name, uid)) != uid:
            # A name is given again only after its first owner is gone.
            self._drop(other)
        self._uids[item.name] = uid
        if isinstance(item, Invalid):
            logger.error(
                "%s; %s",
                item.error,
                "its last good version stays" if uid in self.routes else "ignored",
                extra={"object": item.name, "generation": item.generation},
            )
            self.invalid[uid] = item
            self.gated.pop(uid, None)
        elif not item.dry_run and (released or self._is_in_force(item)):
            self._use(item)
        else:
            if first and uid not in self.routes and not self._remembers:
                self._doubtful.add(uid)
            self.gated[uid] = item
            self.invalid.pop(uid, None)
        self._changed()

    def release(self, uid: str, generation: int) -> None:
        """Take in that a generation of an object may be used here."""
        item = self.gated.get(uid)
        if item is not None and item.generation == generation and not item.dry_run:
            self._use(item)
            self._changed()

    @property
    def dry_runs(self) -> list[StaticRoute]:
        """The objects that are only to be rehearsed."""
        return [route for route in self.gated.values() if route.dry_run]

    def _is_in_force(self, route: StaticRoute) -> bool:
        known = self.routes.get(route.uid)
        return known is not None and known.generation == route.generation

    def _use(self, route: StaticRoute) -> None:
        self.routes[route.uid] = route
        self.invalid.pop(route.uid, None)
        self.gated.pop(route.uid, None)
        self._doubtful.discard(route.uid)

    def remove(self, uid: str) -> None:
        """Take in that an object is gone, or going."""
        self._drop(uid)
        self._changed()

    def set_node(self, node: Node) -> None:
        """Take in this node as it is now."""
        if node != self.node or self._node_remembered:
            self.node, self._node_remembered = node, False
            self._changed()

    def replace(self, listed: Mapping[str, int], list_version: int) -> None:
        """Take in a complete list, which alone can tell that an object is gone without an event.

        Args:
            listed: the resource version by uid of all objects there are.
            list_version: the resource version of the list itself. An object seen at a later one may be too new for
                it, and is kept.
        """
        for uid in self._presence.replace(listed, list_version):
            logger.warning("StaticRoute with uid %s is gone without an event", uid)
            self._drop(uid)
        self._changed()

    def clear(self) -> None:
        """Take in that there are no objects at all, since the API server knows no such resource.

        None of them is remembered as gone: they come back as they were if it was mistaken.
        """
        if self._presence.clear():
            logger.warning("The API server knows no StaticRoutes any more: all are taken for gone")
            for known in (self.routes, self.invalid, self.gated, self._uids, self._doubtful):
                known.clear()
            self._changed()

    def _drop(self, uid: str) -> None:
        self._doubtful.discard(uid)
        for item in (self.routes.pop(uid, None), self.invalid.pop(uid, None), self.gated.pop(uid, None)):
            if item is not None and self._uids.get(item.name) == uid:
                del self._uids[item.name]
        self._presence.drop(uid)

    def _changed(self) -> None:
        self.version += 1
        self.on_change.emit()
