"""Sorted sets of keys of routes (see `keys`), packed into one bytes object.

100,000 keys as Python objects take 10 MiB, and 10 ms for every pass over them; packed they take 1.3 MiB, and memcmp
compares two sets that are equal or nearly equal. The columns of packed keys are those of the kernel's messages.
"""

import itertools
import struct
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple, overload

from static_route_operator.routing.keys import TABLE_METRIC
from static_route_operator.routing.prefixes import host_prefix, supernet

# Keys in a piece of a set that is compared as a Python set; larger pieces that differ are halved.
_SMALL = 128

# Keys that the repr of a set shows.
_SHOWN = 8

# Parts of an interleaved set, at least.
_FEWEST_PARTS = 32


def unpack(packed: bytes, size: int) -> Iterator[bytes]:
    """Return an iterator over packed keys."""
    return (key for (key,) in struct.iter_unpack(f"{size}s", packed))


class Comparison(NamedTuple):
    """The difference of two sets."""

    only_left: "KeySet"
    both: "KeySet"
    only_right: "KeySet"


class KeySet(Sequence[bytes]):
    """An immutable sorted set of keys of one size.

    Sets of two families are disjoint. They have no union, unless one is empty.

    Args:
        size: bytes of each key.
        packed: the keys, sorted, unique and concatenated.
    """

    __slots__ = ("__weakref__", "packed", "size")

    def __init__(self, size: int, packed: bytes = b"") -> None:
        self.size = size
        self.packed = packed

    @classmethod
    def of(cls, size: int, keys: Iterable[bytes]) -> "KeySet":
        """Return the set of keys that come in any order, possibly repeated."""
        return cls(size, b"".join(sorted(set(keys))))

    @classmethod
    def with_table_metric(cls, prefix_size: int, prefixes: bytes, table_metric: bytes) -> "KeySet":
        """Return the keys of sorted, unique packed prefixes that share a table and a metric."""
        size = prefix_size + len(table_metric)
        packed = bytearray((bytes(prefix_size) + table_metric) * (len(prefixes) // prefix_size))
        for column in range(prefix_size):
            packed[column::size] = prefixes[column::prefix_size]
        return cls(size, bytes(packed))

    def __len__(self) -> int:
        return len(self.packed) // self.size

    def __iter__(self) -> Iterator[bytes]:
        return unpack(self.packed, self.size)

    @overload
    def __getitem__(self, index: int) -> bytes: ...

    @overload
    def __getitem__(self, index: slice) -> "KeySet": ...

    def __getitem__(self, index: int | slice) -> "bytes | KeySet":
        size = self.size
        if isinstance(index, slice):
            start, stop, step = index.indices(len(self))
            if step == 1:
                return KeySet(size, self.packed[start * size : stop * size])
            if step < 0:
                raise ValueError("a set of keys is sorted and cannot be reversed")
            picked = bytearray(len(range(start, stop, step)) * size)
            for column in range(size):
                picked[column::size] = self.packed[start * size + column : stop * size : step * size]
            return KeySet(size, bytes(picked))
        if index < 0:
            index += len(self)
        if not 0 <= index < len(self):
            raise IndexError(index)
        return self.packed[index * size : (index + 1) * size]

    def __contains__(self, key: object) -> bool:
        if not isinstance(key, bytes) or len(key) != self.size:
            return False
        start = self.index(key) * self.size
        return self.packed[start : start + self.size] == key

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, KeySet) and self.packed == other.packed and (self.size == other.size or not self.packed)
        )

    def __hash__(self) -> int:
        return hash(self.packed)

    def __repr__(self) -> str:
        # Keep the text short for large sets: tracebacks and asyncio's messages show the variables of tasks.
        more = ", …" if len(self) > _SHOWN else ""
        return f"KeySet({self.size}, {', '.join(map(repr, self[:_SHOWN]))}{more}: {len(self)})"

    def index(self, bound: bytes, *_: int) -> int:
        """Return the number of keys that sort before ``bound``, which may be a prefix or any other bytes."""
        return _position(self.packed, self.size, bound)

    def between(self, first: bytes, last: bytes) -> "KeySet":
        """Return the keys of all prefixes from ``first`` to ``last``, both included."""
        # No key of `last` sorts after this, whatever its table and metric.
        end = self.index(last + b"\xff" * (TABLE_METRIC.size + 1))
        return KeySet(self.size, self.packed[self.index(first) * self.size : end * self.size])

    def holding(self, address: bytes, lengths: range | None = None) -> "KeySet":
        """Return the keys whose prefixes hold a packed address, and have one of these lengths.

        Args:
            address: of the family of the keys; there are none for the other family.
            lengths: consecutive lengths; all by default.
        """
        if len(address) + 1 + TABLE_METRIC.size != self.size:
            return self[:0]
        lengths = range(len(address) * 8 + 1) if lengths is None else lengths
        # All prefixes that hold the address sort in here. In most cases there is none.
        near = self.between(supernet(address, lengths.start), host_prefix(address)) if lengths else self[:0]
        if not near:
            return near
        found = (near.between(candidate, candidate) for candidate in (supernet(address, each) for each in lengths))
        return KeySet(self.size, b"".join(each.packed for each in found))

    def interleaved(self, most: int) -> Iterator["KeySet"]:
        """Split the set into parts of up to ``most`` keys, each spread over the whole set.

        This fills and empties the kernel's trie of IPv4 routes evenly, so that it rebuilds its nodes a tenth as often
        as with keys in order. That saves a quarter of the time to add 100,000 routes, and half of the time to delete
        them.
        """
        if len(self) <= most:
            yield self
            return
        # Halve the set again and again by every second key: each part lies halfway between the parts before it.
        halvings = max((len(self) - 1) // most, _FEWEST_PARTS - 1).bit_length()
        for number in range(1 << halvings):
            first = int(f"{number:0{halvings}b}"[::-1], 2)
            yield self[first :: 1 << halvings]

    def __sub__(self, other: "KeySet") -> "KeySet":
        return self.compare(other).only_left

    def __and__(self, other: "KeySet") -> "KeySet":
        return self.compare(other).both

    def __or__(self, other: "KeySet") -> "KeySet":
        if not other.packed or self.packed == other.packed:
            return self
        if not self.packed:
            return other
        pieces = []
        for left, right in _aligned(self.packed, other.packed, self._size_with(other)):
            if left == right or not right:
                pieces.append(left)
            elif not left:
                pieces.append(right)
            else:
                pieces += sorted({*unpack(left, self.size), *unpack(right, self.size)})
        return KeySet(self.size, b"".join(pieces))

    def compare(self, other: "KeySet") -> Comparison:
        """Return the keys of only this set, of both sets, and of only the other set.

        Equal runs take two passes of memcmp; the rest takes the time of Python's sets.
        """
        nothing = KeySet(self.size)
        if not self.packed or not other.packed or self.size != other.size:
            return Comparison(self, nothing, other)
        if self.packed == other.packed:
            return Comparison(nothing, self, nothing)
        head, tail = _shared_ends(self.packed, other.packed, self.size)
        only_left: list[bytes] = []
        both: list[bytes | memoryview] = [memoryview(self.packed)[:head]]
        only_right: list[bytes] = []
        middle, other_middle = (each.packed[head : len(each.packed) - tail] for each in (self, other))
        for left, right in _aligned(middle, other_middle, self.size):
            if left == right:
                both.append(left)
            elif not left or not right:
                only_left.append(left)
                only_right.append(right)
            else:
                left_keys, right_keys = set(unpack(left, self.size)), set(unpack(right, self.size))
                only_left += sorted(left_keys - right_keys)
                both += sorted(left_keys & right_keys)
                only_right += sorted(right_keys - left_keys)
        both.append(memoryview(self.packed)[len(self.packed) - tail :])
        return Comparison(*(KeySet(self.size, b"".join(pieces)) for pieces in (only_left, both, only_right)))

    def _size_with(self, other: "KeySet") -> int:
        if self.size != other.size:
            raise ValueError("a set cannot have keys of both IPv4 and IPv6 routes")
        return self.size


def by_family(keys: Iterable[bytes]) -> tuple[KeySet, ...]:
    """Return keys of any family as one set for each family."""
    sizes: dict[int, list[bytes]] = {}
    for key in keys:
        sizes.setdefault(len(key), []).append(key)
    return tuple(KeySet.of(size, found) for size, found in sizes.items())


def duplicates(sets: Iterable[KeySet]) -> frozenset[bytes]:
    """Return the keys that are in more than one of the sets."""
    found: set[bytes] = set()
    stack = list(_meeting(sets))
    while stack:
        pieces = stack.pop()
        largest = max(pieces, key=len)
        if len(largest) > _SMALL:
            middle = largest[len(largest) // 2]
            places = [(each, each.index(middle)) for each in pieces]
            stack += _meeting(each[:place] for each, place in places)
            stack += _meeting(each[place:] for each, place in places)
            continue
        seen: set[bytes] = set()
        for each in pieces:
            keys = set(each)
            found |= seen & keys
            seen |= keys
    return frozenset(found)


def union(sets: Sequence[KeySet]) -> KeySet:
    """Return the union of one or more disjoint sets of one size."""
    if len(sets) == 1:
        return sets[0]
    packed: list[bytes] = []
    stack = [[each for each in sets if each]]
    while stack:
        group = stack.pop()
        if len(group) == 1:
            packed.append(group[0].packed)
        elif sum(map(len, group)) <= 16 * _SMALL:
            packed += sorted(itertools.chain.from_iterable(group))
        else:
            middle = sorted(each[len(each) // 2] for each in group)[len(group) // 2]
            places = [(each, each.index(middle)) for each in group]
            stack.append([part for each, place in places if (part := each[place:])])
            stack.append([part for each, place in places if (part := each[:place])])
    return KeySet(sets[0].size, b"".join(packed))


def _meeting(sets: Iterable[KeySet]) -> Iterator[list[KeySet]]:
    """Yield groups of two or more sets whose ranges overlap; no key is in sets of two groups."""
    group: list[KeySet] = []
    end = b""
    for each in sorted(filter(None, sets), key=lambda each: (each.size, each.packed[: each.size])):
        if group and (each.size != group[0].size or each.packed[: each.size] > end):
            if len(group) > 1:
                yield group
            group, end = [], b""
        group.append(each)
        end = max(end, each.packed[-each.size :])
    if len(group) > 1:
        yield group


def _position(packed: bytes, size: int, bound: bytes) -> int:
    return bisect_left(range(len(packed) // size), bound, key=lambda index: packed[index * size : (index + 1) * size])


def _shared_ends(left: bytes, right: bytes, size: int) -> tuple[int, int]:
    """Return the bytes of the keys that two sets have in common at their start and at their end, without a copy."""
    most = min(len(left), len(right)) // size
    if most <= _SMALL:
        return 0, 0
    view = memoryview(right)
    head = _last(most, lambda low, high: left.startswith(view[low * size : high * size], low * size)) * size
    ends = len(left), len(right)
    tail = _last(
        most - head // size,
        lambda low, high: left.endswith(view[ends[1] - high * size : ends[1] - low * size], 0, ends[0] - low * size),
    )
    return head, tail * size


def _last(most: int, holds: Callable[[int, int], bool]) -> int:
    """Return the largest n <= most for which a predicate holds on all steps from 0 to n, by bisection."""
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        if holds(low, middle):
            low = middle
        else:
            high = middle - 1
    return low


def _aligned(left: bytes, right: bytes, size: int) -> Iterator[tuple[bytes, bytes]]:
    """Cut two sets at the same keys, and yield pairs of pieces, in order, that are equal, one-sided or small."""
    stack = [(left, right)]
    while stack:
        left, right = stack.pop()
        if left == right or not left or not right or max(len(left), len(right)) <= _SMALL * size:
            yield left, right
        elif left[-size:] < right[:size]:
            yield left, b""
            yield b"", right
        elif right[-size:] < left[:size]:
            yield b"", right
            yield left, b""
        else:
            # Halve the shorter piece: then comparing a few keys with many takes time for the few.
            shorter = left if len(left) < len(right) else right
            half = len(shorter) // size // 2 * size
            middle = shorter[half : half + size]
            left_at, right_at = (_position(each, size, middle) * size for each in (left, right))
            left_end, right_end = (
                at + size * (each[at : at + size] == middle) for each, at in ((left, left_at), (right, right_at))
            )
            stack.append((left[left_end:], right[right_end:]))
            stack.append((left[left_at:left_end], right[right_at:right_end]))
            stack.append((left[:left_at], right[:right_at]))
