"""Protected prefixes, and the destinations that overlap with them.

A large cluster protects thousands of addresses, and has as many destinations. But they seldom overlap: public
destinations and private addresses lie in a few runs each, so the search leaps from run to run.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Mapping
from typing import NamedTuple
from weakref import WeakKeyDictionary

from static_route_operator.routing.keys import prefix_of
from static_route_operator.routing.keyset import KeySet
from static_route_operator.routing.prefixes import (
    contains,
    host_prefix,
    last_address,
    supernet,
    unpack_address,
    unpack_prefix,
)
from static_route_operator.routing.subtraction import outermost_of


class Meeting(NamedTuple):
    """The destinations that overlap with protected prefixes.

    Attributes:
        holding: destinations that contain a whole protected prefix, or are one.
        inside: destinations that are a part of a protected prefix.
    """

    holding: KeySet
    inside: KeySet

    def __bool__(self) -> bool:
        return bool(self.holding or self.inside)


class Protection:
    """An immutable set of the addresses and prefixes whose route no StaticRoute may change.

    Args:
        what: role of each packed prefix, in the words of a message.
        claims: see below; none by default.

    Attributes:
        claims: prefixes of which this node has learned so lately that the claim may be wrong: no route to them may be
            added, but routes that are in force stay.
    """

    def __init__(self, what: Mapping[bytes, str] | None = None, claims: "Protection | None" = None) -> None:
        self._what = dict(what or {})
        self.claims = claims or None
        self._families = {
            size: _Family(sorted(each for each in self._what if len(each) == size))
            for size in set(map(len, self._what))
        }
        self._meetings: WeakKeyDictionary[KeySet, Meeting] = WeakKeyDictionary()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Protection) and (self._what, self.claims) == (other._what, other.claims)

    __hash__ = None  # type: ignore[assignment]

    def __bool__(self) -> bool:
        return bool(self._what)

    def __repr__(self) -> str:
        return f"Protection({len(self._what)}, {self.claims})"

    def describe(self, prefix: bytes) -> str:
        """Return a protected prefix and its role in words."""
        text = unpack_address(prefix[:-1]) if prefix[-1] == (len(prefix) - 1) * 8 else unpack_prefix(prefix)
        return f"{text} ({self._what[prefix]})"

    def within(self, prefix: bytes) -> list[bytes]:
        """Return the protected prefixes that a prefix contains, sorted."""
        family = self._families.get(len(prefix))
        return _between(family.all, prefix) if family else []

    def outermost_within(self, prefix: bytes) -> list[bytes]:
        """Return the same without those that another protected prefix contains; no two of them overlap."""
        family = self._families.get(len(prefix))
        return _between(family.outermost, prefix) if family else []

    def around(self, prefix: bytes) -> bytes | None:
        """Return the outermost protected prefix that contains a prefix and is not equal to it; None without one."""
        family = self._families.get(len(prefix))
        if family is None:
            return None
        position = bisect_left(family.outermost, prefix) - 1
        found = family.outermost[position] if position >= 0 else None
        return found if found is not None and contains(found, prefix) else None

    def meet(self, keys: KeySet) -> Meeting:
        """Return the destinations that overlap with protected prefixes; the result is cached while the keys live."""
        known = self._meetings.get(keys)
        if known is None:
            known = self._meetings[keys] = self._meet(keys)
        return known

    def _meet(self, keys: KeySet) -> Meeting:
        nothing = keys[:0]
        if not keys or (family := self._families.get(len(prefix_of(keys[0])))) is None:
            return Meeting(nothing, nothing)
        holding: list[bytes] = []
        inside: list[bytes] = []
        shortest = min(keys.packed[len(prefix_of(keys[0])) - 1 :: keys.size])
        position, end = 0, len(keys)
        while position < end:
            key = keys[position]
            prefix = prefix_of(key)
            index = bisect_left(family.lasts, prefix[:-1])
            if index == len(family.outermost):
                break
            protected = family.outermost[index]
            if protected[:-1] > last_address(prefix):
                # No destination that overlaps with the next protected prefix sorts before this bound.
                bound = supernet(protected[:-1], min(shortest, protected[-1]))
                position = max(position + 1, keys.index(bound))
            elif prefix[-1] <= protected[-1]:
                holding.append(key)
                position += 1
            else:
                after = keys.index(host_prefix(last_address(protected)) + b"\xff")
                run = keys[position : max(after, position + 1)]
                inside.append(run.packed)
                position += len(run)
        return Meeting(KeySet(keys.size, b"".join(holding)), KeySet(keys.size, b"".join(inside)))


class _Family:
    """The protected prefixes of one address family."""

    def __init__(self, prefixes: list[bytes]) -> None:
        self.all = prefixes
        self.outermost = outermost_of(prefixes)
        self.lasts = [last_address(each) for each in self.outermost]


def _between(prefixes: list[bytes], prefix: bytes) -> list[bytes]:
    start = bisect_left(prefixes, prefix)
    return prefixes[start : bisect_right(prefixes, host_prefix(last_address(prefix)), start)]
