"""A store of the objects of one kind, fed by a watch and by lists of the same kind.

The watch may miss a deletion (after a new list Kopf reports no deletions), and a list may come from an API server that
lags behind the watch. The store takes both into account: neither alone can lose an object or bring one back.
"""

from collections.abc import Callable, Mapping
from typing import Generic, Protocol, TypeVar

# Deleted objects that are remembered, since a late watch event must not bring one back.
MOST_TOMBSTONES = 10_000


class Named(Protocol):
    """An object with a name that is unique among its kind."""

    @property
    def name(self) -> str:
        """Return the name."""


T = TypeVar("T", bound=Named)


class Store(Generic[T]):
    """The objects of one kind, by uid: those that a watch has shown and no list has lacked since.

    Args:
        on_change: called with an object before and after each change; None stands for no object.

    Attributes:
        items: by uid.
    """

    def __init__(self, on_change: Callable[[T | None, T | None], None]) -> None:
        self._on_change = on_change
        self.items: dict[str, T] = {}
        self._uids: dict[str, str] = {}
        self._versions: dict[str, int] = {}
        # Known from the last run of the program and not shown by the watch since.
        self._remembered: set[str] = set()
        self._tombstones: dict[str, None] = {}
        # None before the first list.
        self._awaited: set[str] | None = None

    @property
    def complete(self) -> bool:
        """Report whether a list has come and the watch has shown every object on it."""
        return self._awaited is not None and not self._awaited

    def find(self, name: str) -> T | None:
        """Return the object with this name."""
        return self.items.get(self._uids.get(name, ""))

    def version(self, uid: str) -> int:
        """Return the highest resource version seen of an object; 0 for an unknown one."""
        return self._versions.get(uid, 0)

    def remember(self, uid: str, item: T, resource_version: int) -> None:
        """Restore an object from the last run of the program: a list may show that it has gone since."""
        self._remembered.add(uid)
        self._set(uid, item, resource_version)

    def put(self, uid: str, item: T, resource_version: int) -> bool:
        """Store an object that the watch shows, unless it is known to be gone; report whether it was stored."""
        if uid in self._tombstones:
            return False
        if self._awaited:
            self._awaited.discard(uid)
        if uid in self._remembered:
            self._remembered.discard(uid)
        else:
            # A late event shows an older version.
            resource_version = max(resource_version, self.version(uid))
        if (other := self._uids.get(item.name, uid)) != uid:
            # A name is free again only after the deletion of its owner, whose event was missed or is late.
            self.remove(other)
        self._set(uid, item, resource_version)
        return True

    def remove(self, uid: str) -> None:
        """Remove an object that is gone or being deleted; later events about it are ignored."""
        if self._awaited:
            self._awaited.discard(uid)
        self._tombstones[uid] = None
        if len(self._tombstones) > MOST_TOMBSTONES:
            del self._tombstones[next(iter(self._tombstones))]
        self._forget(uid)

    def replace(self, listed: Mapping[str, int], list_version: int) -> list[T]:
        """Compare with a complete list, and remove the objects that are gone without an event.

        Args:
            listed: the resource version of each object, by uid.
            list_version: the resource version of the list. Objects of a later version stay: the list may come from an
                API server that lags behind the watch.

        Returns:
            The removed objects.
        """
        gone = {
            uid: item for uid, item in self.items.items() if uid not in listed and self._versions[uid] <= list_version
        }
        for uid in gone:
            self.remove(uid)
        shown = self.items.keys() - self._remembered
        self._awaited = {uid for uid in listed if uid not in shown and uid not in self._tombstones}
        return list(gone.values())

    def clear(self) -> bool:
        """Remove all objects, since the API server does not know the kind; report whether that is news.

        They leave no tombstones: if the API server was wrong, the watch shows them again.
        """
        if not self.items and self._awaited is not None:
            return False
        self._awaited = set()
        for uid in list(self.items):
            self._forget(uid)
        return True

    def _set(self, uid: str, item: T, resource_version: int) -> None:
        self._versions[uid] = resource_version
        self._uids[item.name] = uid
        before = self.items.get(uid)
        self.items[uid] = item
        if item != before:
            self._on_change(before, item)

    def _forget(self, uid: str) -> None:
        self._versions.pop(uid, None)
        self._remembered.discard(uid)
        if (before := self.items.pop(uid, None)) is not None:
            if self._uids.get(before.name) == uid:
                del self._uids[before.name]
            self._on_change(before, None)
