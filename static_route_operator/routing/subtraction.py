"""Subtraction of prefixes: the destinations of a route without its excludes.

Destinations may be many thousands, and excludes touch few of them. So the destinations stay in one bytes object, and
only the region around an exclude is taken out, cut and put back.
"""

import struct
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence

from static_route_operator.routing.prefixes import contains, host_prefix, last_address, supernet


def subtract(prefixes: bytes, excludes: Iterable[bytes]) -> bytes:
    """Return prefixes without the excludes.

    A prefix that no exclude touches stays as it is, even if another prefix contains it. Each other prefix is replaced
    by the fewest prefixes that contain all of it but the excludes.

    Args:
        prefixes: packed prefixes of one family, sorted, unique and concatenated.
        excludes: packed prefixes of the same family, in any order.
    """
    outermost = outermost_of(excludes)
    if not prefixes or not outermost:
        return prefixes
    size = len(outermost[0])
    lengths = sorted(set(prefixes[size - 1 :: size]))
    regions: dict[bytes, list[bytes]] = {}
    for exclude in outermost:
        regions.setdefault(_region(prefixes, lengths, exclude), []).append(exclude)
    pieces = []
    done = 0
    # Regions do not overlap, and come in the order of their excludes.
    for region, inside in regions.items():
        start = _position(prefixes, size, region) * size
        end = _position(prefixes, size, _behind(region)) * size
        pieces.append(prefixes[done:start])
        touched = struct.iter_unpack(f"{size}s", prefixes[start:end])
        pieces += sorted({piece for (prefix,) in touched for piece in _remainder(prefix, inside)})
        done = end
    pieces.append(prefixes[done:])
    return b"".join(pieces)


def outermost_of(prefixes: Iterable[bytes]) -> list[bytes]:
    """Return the prefixes that no other one contains, sorted; no two of them overlap."""
    found: list[bytes] = []
    for prefix in sorted(set(prefixes)):
        if not found or not contains(found[-1], prefix):
            found.append(prefix)
    return found


def _region(prefixes: bytes, lengths: Iterable[int], exclude: bytes) -> bytes:
    """Return the broadest prefix that contains an exclude, or else the exclude itself."""
    size = len(exclude)
    for length in lengths:
        if length >= exclude[-1]:
            break
        candidate = supernet(exclude[:-1], length)
        start = _position(prefixes, size, candidate) * size
        if prefixes[start : start + size] == candidate:
            return candidate
    return exclude


def _remainder(prefix: bytes, excludes: Sequence[bytes]) -> Iterator[bytes]:
    """Yield the fewest prefixes that contain all of a prefix but the excludes, which are sorted and do not overlap."""
    start = bisect_left(excludes, prefix)
    if start and contains(excludes[start - 1], prefix):
        return
    pieces = [(prefix, excludes[start:])]
    while pieces:
        piece, rest = pieces.pop()
        inside = rest[bisect_left(rest, piece) : bisect_left(rest, _behind(piece))]
        if not inside:
            yield piece
        elif inside[0] != piece:
            pieces += [(half, inside) for half in _halves(piece)]


def _halves(prefix: bytes) -> tuple[bytes, bytes]:
    length = prefix[-1] + 1
    size = len(prefix) - 1
    upper = int.from_bytes(prefix[:-1]) | (1 << (size * 8 - length))
    return prefix[:-1] + bytes([length]), upper.to_bytes(size) + bytes([length])


def _behind(prefix: bytes) -> bytes:
    """Return bytes that sort after all prefixes inside a prefix, and before the next prefix outside."""
    return host_prefix(last_address(prefix)) + b"\0"


def _position(prefixes: bytes, size: int, bound: bytes) -> int:
    """Return the number of prefixes that sort before ``bound``."""
    count = range(len(prefixes) // size)
    return bisect_left(count, bound, key=lambda index: prefixes[index * size : (index + 1) * size])
