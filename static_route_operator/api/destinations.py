"""What may stand as a destination or a gateway at all, on any node.

The CRD's CEL rules (``crd.py``) refuse the same at `kubectl apply`; these checks hold where there is no API server
(manifests from a directory) and for objects stored before the rules. A test holds the two against each other.
"""

import hashlib
import struct
from collections.abc import Sequence
from typing import Any, NamedTuple
from weakref import WeakValueDictionary

from static_route_operator.api.addresses import SPECIAL_RANGES, special_range_of
from static_route_operator.errors import InvalidPrefixError
from static_route_operator.routing.keyset import KeySet
from static_route_operator.routing.prefixes import (
    host_prefix,
    last_address,
    pack_prefix,
    pack_prefixes,
    unpack_address,
)
from static_route_operator.routing.subtraction import subtract

# A prefix this short is the default route (length 0) or a half of it (length 1).
LONGEST_DEFAULT = 1


def is_default(text: object) -> bool:
    """Whether an entry of ``spec.destinations`` is the default route or half of it, if it is a prefix at all."""
    return isinstance(text, str) and text.endswith(("/0", "/1"))


def parse_destination(text: object, *, allow_default: bool = False) -> bytes:
    """The packed prefix of one entry of ``spec.destinations``.

    Args:
        text: as it stands in the object.
        allow_default: whether the default route, or half of it, is one.

    Raises:
        InvalidPrefixError: not a prefix, or one that is never routed through a gateway.
    """
    if not isinstance(text, str):
        raise InvalidPrefixError(f"'{text}' is not an IP address or CIDR; write it as text, in quotes")
    prefix = pack_prefix(text)
    if prefix[-1] <= LONGEST_DEFAULT:
        if allow_default:
            return prefix
        raise InvalidPrefixError(f"'{text}' is the default route or half of it, which needs allowDefaultRoute: true")
    if special := special_range_of(prefix[:-1]):
        raise InvalidPrefixError(f"'{text}' is in {special.cidr} ({special.what}), never routed through a gateway")
    return prefix


class RefusedDestination(NamedTuple):
    """An entry of ``spec.destinations`` that can't be routed, and why; without a text it is about all of them."""

    text: str
    problem: str


# The destinations of all objects there are now, by a digest of their texts: a change of the gateway, or of anything
# else, finds them compiled.
_compiled: WeakValueDictionary[bytes, KeySet] = WeakValueDictionary()


def compile_destinations(
    entries: Sequence[Any],
    gateway: bytes,
    table_metric: bytes,
    excludes: Sequence[bytes] = (),
    *,
    allow_default: bool = False,
) -> tuple[KeySet, tuple[RefusedDestination, ...]]:
    """The keys of all entries of ``spec.destinations`` that can be routed, and the other entries.

    Args:
        entries: as they stand in the object.
        gateway: packed address; destinations of another family are refused.
        table_metric: table and metric of the keys.
        excludes: packed prefixes of the gateway's family, which are cut out.
        allow_default: whether the default route and its halves can be routed.
    """
    digest = None if allow_default else _digest(entries, gateway, table_metric, excludes)
    if digest is not None and (known := _compiled.get(digest)) is not None:
        return known, ()
    size = len(gateway) + 1
    refused: tuple[RefusedDestination, ...] = ()
    try:
        prefixes = pack_prefixes(entries, size)
        good = not _never_routed(prefixes, size)
    except InvalidPrefixError:
        good = False
    if not good:
        # One at a time, to say what is wrong with which.
        prefixes, refused = _parse_each(entries, gateway, allow_default=allow_default)
    left = subtract(prefixes, excludes)
    if prefixes and not left:
        refused += (RefusedDestination("", "spec.excludes leaves nothing of the destinations"),)
    keys = KeySet.with_table_metric(size, left, table_metric)
    if digest is not None and not refused:
        _compiled[digest] = keys
    return keys, refused


def _digest(entries: Sequence[Any], gateway: bytes, table_metric: bytes, excludes: Sequence[bytes]) -> bytes | None:
    try:
        texts = "\n".join(entries)
    except TypeError:
        return None
    frame = b"".join([struct.pack("=IIB", len(entries), len(excludes), len(gateway)), table_metric, *excludes])
    return hashlib.blake2b(frame + texts.encode(errors="replace"), digest_size=32).digest()


def _never_routed(prefixes: bytes, size: int) -> bool:
    """Whether any of these is in a special range, or a default route."""
    lengths = prefixes[size - 1 :: size]
    if any(length in lengths for length in range(LONGEST_DEFAULT + 1)):
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
            problem = f"'{entry}' is not of the address family of gateway {unpack_address(gateway)}"
            refused.append(RefusedDestination(str(entry), problem))
    return b"".join(sorted(prefixes)), tuple(refused)
