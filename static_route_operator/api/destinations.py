"""What may stand as a destination or a gateway at all, on any node.

The CRD's CEL rules (``crd.py``) refuse the same at `kubectl apply`; these checks hold where there is no API server
(manifests from a directory) and for objects stored before the rules. A test holds the two against each other.
"""

import hashlib
import struct
from collections.abc import Sequence
from typing import Any, NamedTuple
from weakref import WeakValueDictionary

from static_route_operator.errors import InvalidPrefixError
from static_route_operator.keys import Keys
from static_route_operator.prefixes import (
    contains,
    host_prefix,
    last_address,
    pack_address,
    pack_prefix,
    pack_prefixes,
    unpack_address,
)
from static_route_operator.subtraction import subtract


class SpecialRange(NamedTuple):
    """A range that can never be routed through a gateway."""

    cidr: str
    prefix: bytes
    what: str


def _special(cidr: str, what: str) -> SpecialRange:
    return SpecialRange(cidr, pack_prefix(cidr), what)


SPECIAL_RANGES = (
    _special("0.0.0.0/8", "this host"),
    _special("127.0.0.0/8", "loopback"),
    _special("169.254.0.0/16", "link-local"),
    _special("224.0.0.0/4", "multicast"),
    _special("255.255.255.255/32", "broadcast"),
    _special("::/127", "unspecified or loopback"),
    _special("fe80::/10", "link-local"),
    _special("ff00::/8", "multicast"),
)

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
    if special := _special_range_of(prefix[:-1]):
        raise InvalidPrefixError(f"'{text}' is in {special.cidr} ({special.what}), never routed through a gateway")
    return prefix


def parse_gateway(text: object) -> bytes:
    """The packed address of a gateway.

    Raises:
        InvalidPrefixError: not an address, or one that no gateway can have.
    """
    return _parse_unicast(text, "gateway", "a unicast address on a subnet of the node")


def parse_source(text: object) -> bytes:
    """The packed address that packets of the node are to get.

    Raises:
        InvalidPrefixError: not an address, or one that no packet can be sent from through a gateway.
    """
    return _parse_unicast(text, "source", "a unicast address of the node")


def _parse_unicast(text: object, what: str, must_be: str) -> bytes:
    if not isinstance(text, str):
        raise InvalidPrefixError(f"{what} '{text}' is not an IP address; write it as text, in quotes")
    try:
        address = pack_address(text)
    except InvalidPrefixError as error:
        raise InvalidPrefixError(f"{what} {error}") from None
    if special := _special_range_of(address):
        where = f"is in {special.cidr} ({special.what})"
        raise InvalidPrefixError(f"{what} '{text}' {where}; it must be {must_be}")
    return address


def _special_range_of(address: bytes) -> SpecialRange | None:
    host = host_prefix(address)
    return next((special for special in SPECIAL_RANGES if contains(special.prefix, host)), None)


class RefusedDestination(NamedTuple):
    """An entry of ``spec.destinations`` that can't be routed, and why; without a text it is about all of them."""

    text: str
    problem: str


# The destinations of all objects there are now, by a digest of their texts: a change of the gateway, or of anything
# else, finds them compiled.
_compiled: WeakValueDictionary[bytes, Keys] = WeakValueDictionary()


def compile_destinations(
    entries: Sequence[Any],
    gateway: bytes,
    tail: bytes,
    excludes: Sequence[bytes] = (),
    *,
    allow_default: bool = False,
) -> tuple[Keys, tuple[RefusedDestination, ...]]:
    """The keys of all entries of ``spec.destinations`` that can be routed, and the other entries.

    Args:
        entries: as they stand in the object.
        gateway: packed address; destinations of another family are refused.
        tail: table and metric of the keys.
        excludes: packed prefixes of the gateway's family, which are cut out.
        allow_default: whether the default route and its halves can be routed.
    """
    digest = None if allow_default else _digest(entries, gateway, tail, excludes)
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
    keys = Keys.with_tail(size, left, tail)
    if digest is not None and not refused:
        _compiled[digest] = keys
    return keys, refused


def _digest(entries: Sequence[Any], gateway: bytes, tail: bytes, excludes: Sequence[bytes]) -> bytes | None:
    try:
        texts = "\n".join(entries)
    except TypeError:
        return None
    frame = b"".join([struct.pack("=IIB", len(entries), len(excludes), len(gateway)), tail, *excludes])
    return hashlib.blake2b(frame + texts.encode(errors="replace"), digest_size=32).digest()


def _never_routed(prefixes: bytes, size: int) -> bool:
    """Whether any of these is in a special range, or a default route."""
    lengths = prefixes[size - 1 :: size]
    if any(length in lengths for length in range(LONGEST_DEFAULT + 1)):
        return True
    keys = Keys(size, prefixes)
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
