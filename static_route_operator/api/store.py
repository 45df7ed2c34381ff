"""Which objects of one kind there are, by uid, told by a watch and by lists.

The watch may miss a deletion (Kopf never makes one up after it had to list anew), and a list may come from an API
server that lags behind the watch. Both are settled here, so that neither alone can lose an object or bring one back.
"""

from collections.abc import Callable, Mapping
from typing import Generic, Protocol, TypeVar

# Objects that are gone are remembered, since a delayed watch event must not bring them back.
MOST_TOMBSTONES = 10_000


class Presence:
    """The uids that are there, were there, and are waited for."""

    def __init__(self) -> None:
        self._seen: dict[str, int] = {}
        self._remembered: dict[str, int] = {}
        self._gone: dict[str, None] = {}
        self._awaited: set[str] | None = None

    @property
    def complete(self) -> bool:
        """Whether a list was taken in, and the watch has delivered all that it showed."""
        return self._awaited is not None and not self._awaited

    @property
    def missing(self) -> frozenset[str]:
        """The uids of listed objects that the watch has not delivered yet."""
        return frozenset(self._awaited or ())

    def remember(self, uid: str, resource_version: int) -> None:
        """Take in that an object was there when this program last ran: a list may tell that it is gone."""
        self._remembered[uid] = resource_version

    def version(self, uid: str) -> int:
        """The highest resource version at which an object is known; 0 of others."""
        return max(self._seen.get(uid, 0), self._remembered.get(uid, 0))

    def see(self, uid: str, resource_version: int) -> bool:
        """Take in that the watch shows an object; False when it is known to be gone."""
        if uid in self._gone:
            return False
        self._seen[uid] = max(resource_version, self._seen.get(uid, 0))
        self._remembered.pop(uid, None)
        if self._awaited:
            self._awaited.discard(uid)
        return True

    def drop(self, uid: str) -> None:
        """Take in that an object is gone."""
        self._seen.pop(uid, None)
        self._remembered.pop(uid, None)
        if self._awaited:
            self._awaited.discard(uid)
        self._gone[uid] = None
        if len(self._gone) > MOST_TOMBSTONES:
            del self._gone[next(iter(self._gone))]

    def replace(self, listed: Mapping[str, int], list_version: int) -> list[str]:
        """Take in a complete list.

        Args:
            listed: the resource version by uid of all objects there are.
            list_version: the resource version of the list itself. An object seen at a later one may be too new for
                it, and is kept.

        Returns:
            The uids that are gone without an event.
        """
        known = self._remembered | self._seen
        gone = [uid for uid, seen in known.items() if uid not in listed and seen <= list_version]
        for uid in gone:
            self.drop(uid)
        self._awaited = {uid for uid in listed if uid not in self._seen and uid not in self._gone}
        return gone

    def clear(self) -> bool:
        """Take in that there are no objects at all; none is remembered as gone. False when that is no news."""
        if not self._seen and not self._remembered and self._awaited is not None:
            return False
        self._seen.clear()
        self._remembered.clear()
        self._awaited = set()
        return True


class Named(Protocol):
    """Whatever has a name that is unique among its kind."""

    @property
    def name(self) -> str:
        """The name."""


T = TypeVar("T", bound=Named)


class Collection(Generic[T]):
    """The objects of one kind.

    Args:
        on_change: called with each object before and after a change of what is kept of it; None where there is none.

    Attributes:
        items: by uid.
    """

    def __init__(self, on_change: Callable[[T | None, T | None], None]) -> None:
        self._on_change = on_change
        self._presence = Presence()
        self._uids: dict[str, str] = {}
        self.items: dict[str, T] = {}

    @property
    def complete(self) -> bool:
        """Whether every object was seen once."""
        return self._presence.complete

    def find(self, name: str) -> T | None:
        """The object of this name."""
        return self.items.get(self._uids.get(name, ""))

    def put(self, uid: str, item: T, resource_version: int) -> None:
        """Take in an object as it is now."""
        if not self._presence.see(uid, resource_version):
            return
        if self._uids.get(item.name, uid) != uid:
            # A name is given again only after its first owner is gone.
            self.remove(self._uids[item.name])
        self._uids[item.name] = uid
        before = self.items.get(uid)
        self.items[uid] = item
        if item != before:
            self._on_change(before, item)

    def remove(self, uid: str) -> None:
        """Take in that an object is gone, or going."""
        self._presence.drop(uid)
        self._forget(uid)

    def replace(self, listed: Mapping[str, int], list_version: int) -> None:
        """Take in a complete list: see `Presence.replace`."""
        for uid in self._presence.replace(listed, list_version):
            self._forget(uid)

    def clear(self) -> None:
        """Take in that the API server knows no such resource."""
        self._presence.clear()
        for uid in list(self.items):
            self._forget(uid)

    def _forget(self, uid: str) -> None:
        if (before := self.items.pop(uid, None)) is not None:
            if self._uids.get(before.name) == uid:
                del self._uids[before.name]
            self._on_change(before, None)
