"""Inventory of a node: its StaticRoutes, resolved, and its own Node, fed by a watch, a list or a directory."""

import dataclasses
import datetime as dt
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from static_route_operator.api.nodeselector import Node
from static_route_operator.api.resolution import ResolvedRoute, Version, resolve
from static_route_operator.api.staticroute import StaticRoute
from static_route_operator.api.store import Store
from static_route_operator.errors import InvalidSpecError
from static_route_operator.supervision import Signal

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Invalid:
    """A version of an object that can't be used.

    Attributes:
        uid: ``metadata.uid``.
        generation: generation of the invalid spec.
        error: the field and its problem.
    """

    uid: str
    generation: int
    error: InvalidSpecError

    @property
    def name(self) -> str:
        """Return the name of the object."""
        return self.error.name


# The newest version of an object, or the one that the last run of the program left.
_Item = StaticRoute | ResolvedRoute | Invalid


class Inventory:
    """All StaticRoutes, and this node.

    Attributes:
        on_change: emitted after each change that matters.
        routes: by uid, the last valid version of each object that may be used here.
        invalid: by uid, the objects whose newest version can't be used.
        gated: by uid, the newest versions that may not be used here, or not yet; the one in ``routes`` stays in force.
        node: this node; None until it is known.
        version: a number that moves with every change.
    """

    def __init__(self) -> None:
        self.on_change: Signal[[]] = Signal()
        self._store = Store[_Item](self._item_changed)
        self.routes: dict[str, ResolvedRoute] = {}
        self.invalid: dict[str, Invalid] = {}
        self.gated: dict[str, ResolvedRoute] = {}
        self._unsynced: set[str] = set()
        self.node: Node | None = None
        self._node_remembered = False
        self._remembers = False
        self.version = 0

    @property
    def complete(self) -> bool:
        """Report whether every object was seen once and the node is known: only then may anything be removed."""
        return self._store.complete and self.node is not None and not self._node_remembered

    @property
    def unsynced(self) -> bool:
        """Report whether an object may have routes on this node of an earlier version, which nobody knows any more."""
        return bool(self._unsynced)

    def with_changes(self, routes: Iterable[StaticRoute], *, alone: bool = False) -> "Inventory":
        """Return another inventory that has these objects too, in place of those of the same names.

        Args:
            routes: objects from manifests. Fields that an API server sets are taken from the object of the same name.
            alone: leave out all other objects.
        """
        changed = Inventory()
        if self.node is not None:
            changed.set_node(self.node)
        changed.routes = {} if alone else dict(self.routes)
        changed.invalid = {} if alone else dict(self.invalid)
        known = {route.name: route.spec for route in self.routes.values()}
        now = dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        for route in routes:
            before = known.get(route.name)
            uid = before.uid if before else f"new-{route.name}"
            created = before.created if before else route.created or now
            generation = before.generation if before else 1
            same = dataclasses.replace(route, uid=uid, created=created, generation=generation)
            changed.invalid.pop(uid, None)
            changed.routes[uid] = (
                self.routes[uid] if same == before else resolve(dataclasses.replace(same, generation=generation + 1))
            )
        if alone or self.complete:
            changed.replace({}, 0)
        return changed

    def remember(self, node: Node | None, routes: Iterable[tuple[ResolvedRoute, int]]) -> None:
        """Take in the state that the last run of this program left, which stands until newer knowledge comes.

        Args:
            node: this node.
            routes: the objects, each with its resource version.
        """
        self.node = node
        self._node_remembered = self._remembers = node is not None
        for route, resource_version in routes:
            self._store.remember(route.uid, route, resource_version)
            self.routes[route.uid] = route
        self._changed()

    def resource_version(self, uid: str) -> int:
        """Return the highest resource version seen of an object; 0 for an unknown one."""
        return self._store.version(uid)

    def put(self, item: StaticRoute | Invalid, resource_version: int = 0, *, released: bool = True) -> None:
        """Take in an object as it is now; an invalid one leaves its last valid version in force.

        Args:
            item: the object.
            resource_version: ``metadata.resourceVersion``.
            released: the object may be used here now; else the version before it stays in force until `release`.
        """
        uid, first = item.uid, not self.complete
        if not self._store.put(uid, item, resource_version):
            return
        if isinstance(item, Invalid):
            logger.error(
                "%s; %s",
                item.error,
                "its last good version stays in force" if uid in self.routes else "ignored",
                extra={"object": item.name, "generation": item.generation},
            )
            self.invalid[uid] = item
            self.gated.pop(uid, None)
        else:
            self._take(resolve(item), released=released, first=first)
        self._changed()

    def release(self, version: Version) -> None:
        """Take in that a version of an object may be used here."""
        route = self.gated.get(version.uid)
        if route is not None and route.version == version and not route.spec.dry_run:
            self._use(route)
            self._changed()

    @property
    def dry_runs(self) -> list[ResolvedRoute]:
        """Return the objects with ``spec.dryRun``."""
        return [route for route in self.gated.values() if route.spec.dry_run]

    def _take(self, route: ResolvedRoute, *, released: bool, first: bool) -> None:
        uid, in_force = route.uid, self.routes.get(route.uid)
        if not route.spec.dry_run and (released or (in_force is not None and in_force.version == route.version)):
            self._use(route)
            return
        if first and in_force is None and not self._remembers:
            self._unsynced.add(uid)
        self.gated[uid] = route
        self.invalid.pop(uid, None)

    def _use(self, route: ResolvedRoute) -> None:
        self.routes[route.uid] = route
        self.invalid.pop(route.uid, None)
        self.gated.pop(route.uid, None)
        self._unsynced.discard(route.uid)

    def remove(self, uid: str) -> None:
        """Take in that an object is gone, or going."""
        self._store.remove(uid)
        self._changed()

    def set_node(self, node: Node) -> None:
        """Take in this node as it is now."""
        if node != self.node or self._node_remembered:
            self.node, self._node_remembered = node, False
            self._changed()

    def replace(self, listed: Mapping[str, int], list_version: int) -> None:
        """Take in a complete list, which alone can tell that an object is gone without an event.

        Args:
            listed: by uid, the resource versions of all objects.
            list_version: the resource version of the list itself. An object seen at a later one may be too new for
                the list, and is kept.
        """
        for item in self._store.replace(listed, list_version):
            logger.warning("StaticRoute %s was deleted without an event", item.name, extra={"object": item.name})
        self._changed()

    def clear(self) -> None:
        """Take in that there are no objects at all, since the API server knows no such resource.

        No tombstones are left: if the API server was mistaken, the objects come back as they were.
        """
        if self._store.clear():
            logger.warning("The API server no longer knows the resource StaticRoute: all objects count as deleted")
            self._changed()

    def _item_changed(self, before: _Item | None, after: _Item | None) -> None:
        if before is not None and after is None:
            for known in (self.routes, self.invalid, self.gated):
                known.pop(before.uid, None)
            self._unsynced.discard(before.uid)

    def _changed(self) -> None:
        self.version += 1
        self.on_change.emit()
