"""Destinations of StaticRoutes: the checks that hold on any node, and the keys of their routes.

The CRD's CEL rules (``crd/staticroute_spec.py``) refuse the same entries at `kubectl apply`. These checks hold where
there is no API server (manifests from a directory) and for objects stored before the rules. A test compares the two.
"""

import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from weakref import WeakValueDictionary

from static_route_operator.api.addresses import SPECIAL_RANGES, special_range_of
from static_route_operator.errors import InvalidPrefixError, shown
from static_route_operator.routing.keyset import KeySet
from static_route_operator.routing.prefixes import (
    host_prefix,
    last_address,
    pack_prefix,
    pack_prefixes,
    unpack_address,
)
from static_route_operator.routing.subtraction import subtract

# Bits of the longest prefix that counts as a default route: 0 is the whole, 1 is a half.
LONGEST_DEFAULT = 1


def parse_destination(text: object, *, allow_default: bool = False) -> bytes:
    """Return the packed prefix of one entry of ``spec.destinations``.

    Args:
        text: the entry as it stands in the object.
        allow_default: accept the default route and its halves.

    Raises:
        InvalidPrefixError: the entry is no prefix, or one that is never routed through a gateway.
    """
    if not isinstance(text, str):
        raise InvalidPrefixError(f"{shown(text)} is not an IP address or CIDR; write it as text, in quotes")
    prefix = pack_prefix(text)
    if prefix[-1] <= LONGEST_DEFAULT:
        if allow_default:
            return prefix
        raise InvalidPrefixError(f"'{text}' is the default route or half of it, which needs allowDefaultRoute: true")
    if special := special_range_of(prefix[:-1]):
        raise InvalidPrefixError(f"'{text}' is in {special.cidr} ({special.what}), never routed through a gateway")
    return prefix


class RefusedDestination(NamedTuple):
    """An entry of ``spec.destinations`` that can't be routed, and why; without a text, all of them."""

    text: str
    problem: str


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Destinations:
    """The entries of ``spec.destinations``, parsed.

    Attributes:
        prefix_size: bytes of one packed prefix, by which the families differ.
        prefixes: packed prefixes, sorted, each once, one after the other.
        refused: entries that can't be routed.
    """

    prefix_size: int
    prefixes: bytes
    refused: tuple[RefusedDestination, ...] = ()

    @property
    def has_default(self) -> bool:
        """Report whether the default route or half of it is among them."""
        return _has_default(self.prefixes, self.prefix_size)


# Two caches of values that some object still uses. A change of the gateway, or of any other field, finds the
# destinations of the version before it parsed and compiled; and equal lists share one KeySet, by whose identity the
# planner sees that nothing has changed.
_parsed: WeakValueDictionary[bytes, Destinations] = WeakValueDictionary()
_compiled: WeakValueDictionary[tuple[bytes, tuple[bytes, ...], bytes], KeySet] = WeakValueDictionary()


def parse_destinations(entries: Sequence[Any], gateway: bytes, *, allow_default: bool = False) -> Destinations:
    """Parse all entries of ``spec.destinations``, and keep those apart that can't be routed.

    Args:
        entries: as they stand in the object.
        gateway: packed address; destinations of another family are refused.
        allow_default: accept the default route and its halves.
    """
    digest = None if allow_default else _digest(entries, gateway)
    if digest is not None and (known := _parsed.get(digest)) is not None:
        return known
    size = len(gateway) + 1
    refused: tuple[RefusedDestination, ...] = ()
    try:
        prefixes = pack_prefixes(entries, size)
        good = not _has_unroutable(prefixes, size)
    except InvalidPrefixError:
        good = False
    if not good:
        # One at a time, to name each bad entry and its problem.
        prefixes, refused = _parse_each(entries, gateway, allow_default=allow_default)
    destinations = Destinations(size, prefixes, refused)
    if digest is not None and not refused:
        _parsed[digest] = destinations
    return destinations


def compile_keys(destinations: Destinations, excludes: Sequence[bytes], table_metric: bytes) -> KeySet:
    """Return the keys of the routes to these destinations.

    Args:
        destinations: of the routes.
        excludes: packed prefixes of the same family, which are cut out.
        table_metric: table and metric of the keys.
    """
    recipe = (destinations.prefixes, tuple(excludes), table_metric)
    # Empty sets of the two families have equal recipes, so they are not shared.
    if destinations.prefixes and (known := _compiled.get(recipe)) is not None:
        return known
    left = subtract(destinations.prefixes, excludes)
    keys = KeySet.with_table_metric(destinations.prefix_size, left, table_metric)
    if destinations.prefixes:
        _compiled[recipe] = keys
    return keys


def _digest(entries: Sequence[Any], gateway: bytes) -> bytes | None:
    try:
        texts = "\n".join(entries)
    except TypeError:
        return None
    frame = struct.pack("=IB", len(entries), len(gateway))
    return hashlib.blake2b(frame + texts.encode(errors="replace"), digest_size=32).digest()


def _has_default(prefixes: bytes, size: int) -> bool:
    lengths = prefixes[size - 1 :: size]
    return any(length in lengths for length in range(LONGEST_DEFAULT + 1))


def _has_unroutable(prefixes: bytes, size: int) -> bool:
    """Report whether any prefix is a default route or in a special range."""
    if _has_default(prefixes, size):
        return True
    keys = KeySet(size, prefixes)
    return any(
        keys.index(special.prefix[:-1]) != keys.index(host_prefix(last_address(special.prefix)) + b"\0")
        for special in SPECIAL_RANGES
        if len(special.prefix) == size
    )


def _parse_each(
    entries: Sequence[Any], gateway: bytes, *, allow_default: bool
) -> tuple[bytes, tuple[RefusedDestination, ...]]:
    prefixes = set()
    refused = []
    for entry in entries:
        try:
            prefix = parse_destination(entry, allow_default=allow_default)
        except InvalidPrefixError as error:
            refused.append(RefusedDestination(str(entry), str(error)))
            continue
        if len(prefix) == len(gateway) + 1:
            prefixes.add(prefix)
        else:
            problem = f"{shown(entry)} is not of the address family of gateway {unpack_address(gateway)}"
            refused.append(RefusedDestination(str(entry), problem))
    return b"".join(sorted(prefixes)), tuple(refused)
