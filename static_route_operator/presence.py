"""Which objects of one kind there are, by uid, told by a watch and by lists.

The watch may miss a deletion (Kopf never makes one up after it had to list anew), and a list may come from an API
server that lags behind the watch. Both are settled here, so that neither alone can lose an object or bring one back.
"""

from collections.abc import Mapping

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

    def take_list(self, listed: Mapping[str, int], list_version: int) -> list[str]:
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

    def forget_all(self) -> bool:
        """Take in that there are no objects at all; none is remembered as gone. False when that is no news."""
        if not self._seen and not self._remembered and self._awaited is not None:
            return False
        self._seen.clear()
        self._remembered.clear()
        self._awaited = set()
        return True
