"""Routes as this program holds them: packed keys by next hops.

A route is a key (see `keys`), which the kernel holds once, and its next hops, which all routes that use them share.
"""

import enum
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from static_route_operator.routing.keyset import KeySet
from static_route_operator.routing.nexthops import NextHops


class Routes:
    """Routes by next hops.

    Args:
        groups: keys by next hops; a key may stand in one group only.
    """

    __slots__ = ("_groups",)

    def __init__(self, groups: Mapping[NextHops, KeySet] | None = None) -> None:
        self._groups = {next_hops: keys for next_hops, keys in (groups or {}).items() if keys}

    def __len__(self) -> int:
        return sum(map(len, self._groups.values()))

    def __iter__(self) -> Iterator[tuple[NextHops, KeySet]]:
        return iter(self._groups.items())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Routes) and self._groups == other._groups

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Routes({self._groups!r})"

    def __contains__(self, key: object) -> bool:
        return any(key in keys for keys in self._groups.values())

    def through(self, next_hops: NextHops) -> KeySet:
        """Return the keys of the routes with these next hops."""
        return self._groups.get(next_hops) or KeySet(next_hops.key_size)

    def put(self, next_hops: NextHops, keys: KeySet) -> None:
        """Give routes these next hops, in place of those they may have."""
        for other in [other for other in self._groups if other != next_hops]:
            self._drop(other, keys)
        if keys:
            self._groups[next_hops] = self.through(next_hops) | keys

    def drop(self, keys: KeySet) -> None:
        """Remove routes; those that are not present do not matter."""
        for next_hops in list(self._groups):
            self._drop(next_hops, keys)

    def copy(self) -> "Routes":
        """Return the same routes, to be changed independently."""
        return Routes(self._groups)

    def count(self, keys: KeySet) -> int:
        """Return the number of these routes that are present."""
        return sum(len(installed & keys) for installed in self._groups.values())

    def in_order(self) -> list[tuple[bytes, NextHops]]:
        """Return key and next hops of each route as people expect them: IPv4 before IPv6, each by prefix."""
        routes = [(key, next_hops) for next_hops, keys in self._groups.items() for key in keys]
        return sorted(routes, key=lambda route: (len(route[0]), route[0]))

    def _drop(self, next_hops: NextHops, keys: KeySet) -> None:
        left = self._groups[next_hops] - keys
        if left:
            self._groups[next_hops] = left
        else:
            del self._groups[next_hops]


class Action(enum.Enum):
    """An action on routes in the kernel."""

    ADD = "add"
    REPLACE = "replace"
    DELETE = "delete"


class Operation(NamedTuple):
    """One action on routes that share next hops.

    Attributes:
        next_hops: the next hops to write; for DELETE, those that the routes have now.
        keys: the routes, at least one.
    """

    action: Action
    next_hops: NextHops
    keys: KeySet


class Failure(NamedTuple):
    """The kernel's answer to a change that it refused.

    Attributes:
        errno: the error number.
        text: the kernel's own words (the extended acknowledgement), or the text of the error number.
    """

    errno: int
    text: str
