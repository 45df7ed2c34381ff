"""Routes as this program holds them: packed keys by path, however many there are.

A route is a key (see `keys`), which the kernel holds once, and a path, which is what it says about that key. A path is
shared by all routes that use it.
"""

import enum
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from static_route_operator.routing.keyset import KeySet
from static_route_operator.routing.nexthops import NextHops


class Routes:
    """Routes, each with one path.

    Args:
        groups: the keys by path; a key may be in one of them only.
    """

    __slots__ = ("_groups",)

    def __init__(self, groups: Mapping[NextHops, KeySet] | None = None) -> None:
        self._groups = {path: keys for path, keys in (groups or {}).items() if keys}

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

    def through(self, path: NextHops) -> KeySet:
        """The keys of the routes that take a path."""
        return self._groups.get(path) or KeySet(path.key_size)

    def put(self, path: NextHops, keys: KeySet) -> None:
        """These routes now take this path, whatever they took before."""
        for other in [other for other in self._groups if other != path]:
            self._drop(other, keys)
        if keys:
            self._groups[path] = self.through(path) | keys

    def drop(self, keys: KeySet) -> None:
        """These routes are gone, as far as they were there."""
        for path in list(self._groups):
            self._drop(path, keys)

    def copy(self) -> "Routes":
        """The same routes, to be changed apart from these."""
        return Routes(self._groups)

    def count(self, keys: KeySet) -> int:
        """How many of these routes there are."""
        return sum(len(installed & keys) for installed in self._groups.values())

    def in_order(self) -> list[tuple[bytes, NextHops]]:
        """Key and path of each route as people expect them: IPv4 before IPv6, each by prefix."""
        routes = [(key, path) for path, keys in self._groups.items() for key in keys]
        return sorted(routes, key=lambda route: (len(route[0]), route[0]))

    def _drop(self, path: NextHops, keys: KeySet) -> None:
        left = self._groups[path] - keys
        if left:
            self._groups[path] = left
        else:
            del self._groups[path]


class Action(enum.Enum):
    """What is done to routes in the kernel."""

    ADD = "add"
    REPLACE = "replace"
    DELETE = "delete"


class Operation(NamedTuple):
    """One action on routes that share a path.

    Attributes:
        action: what to do.
        path: the path to write; for DELETE, the one the routes have now.
        keys: the routes, at least one.
    """

    action: Action
    path: NextHops
    keys: KeySet


class Failure(NamedTuple):
    """The kernel's answer where it refused.

    Attributes:
        errno: its error number.
        text: its own words (the extended acknowledgement), or the text of the error number.
    """

    errno: int
    text: str
