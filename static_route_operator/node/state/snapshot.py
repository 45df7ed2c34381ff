"""Snapshot of a node and journal of its unconfirmed changes, in their form on the disk.

A file is a line of JSON, followed by the packed prefixes of all objects. The prefixes are most of it: a hundred
thousand IPv4 destinations are 0.5 MB, and cost no more than to copy them.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from static_route_operator.api.destinations import Destinations, RefusedDestination
from static_route_operator.api.nodeselector import Node
from static_route_operator.api.resolution import ResolvedRoute, Version, resolve
from static_route_operator.api.staticroute import StaticRoute
from static_route_operator.errors import InvalidSpecError
from static_route_operator.node.rollback.unconfirmed import RolledBack, UnconfirmedChange
from static_route_operator.routing.keyset import KeySet


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The last known good state of a node.

    Attributes:
        node: this node as the API server described it; None when it never did.
        routes: the versions in force, each with the resource version of its object.
        protected: by source, the prefixes that no route may capture, with their descriptions.
        rolled_back: the versions that were rolled back.
    """

    node: Node | None = None
    routes: tuple[tuple[ResolvedRoute, int], ...] = ()
    protected: Mapping[str, Mapping[bytes, str]] = field(default_factory=dict)
    rolled_back: tuple[RolledBack, ...] = ()


class SnapshotError(Exception):
    """A snapshot or journal that can't be read. The text gives the reason."""


def pack_snapshot(snapshot: Snapshot) -> bytes:
    """Return the form of a snapshot on the disk."""
    writer, node = _Writer(), snapshot.node
    return writer.pack(
        {
            "node": node and {"name": node.name, "labels": dict(node.labels), "uid": node.uid},
            "routes": [writer.describe(route) | {"resourceVersion": version} for route, version in snapshot.routes],
            "protected": {
                source: {prefix.hex(): text for prefix, text in prefixes.items()}
                for source, prefixes in snapshot.protected.items()
            },
            "rolledBack": [[list(each.version), each.name, each.why, each.digest] for each in snapshot.rolled_back],
        }
    )


def unpack_snapshot(payload: bytes) -> Snapshot:
    """Read a snapshot from its form on the disk.

    Raises:
        SnapshotError: the payload is no snapshot.
    """
    try:
        head, reader = _unpack(payload)
        node = head["node"]
        return Snapshot(
            node=Node(node["name"], node["labels"], node["uid"]) if node else None,
            routes=tuple((reader.read(each), int(each["resourceVersion"])) for each in head["routes"]),
            protected={
                source: {bytes.fromhex(prefix): text for prefix, text in prefixes.items()}
                for source, prefixes in head["protected"].items()
            },
            rolled_back=tuple(RolledBack(Version(*version), *texts) for version, *texts in head["rolledBack"]),
        )
    except (LookupError, TypeError, ValueError, AttributeError, RecursionError, InvalidSpecError) as error:
        raise SnapshotError(f"{type(error).__name__}: {error}") from error


def pack_journal(changes: Iterable[UnconfirmedChange]) -> bytes:
    """Return the form of a journal of unconfirmed changes on the disk."""
    writer = _Writer()
    described = [[writer.describe(each.route), each.before and writer.describe(each.before)] for each in changes]
    return writer.pack({"changes": described})


def unpack_journal(payload: bytes) -> list[UnconfirmedChange]:
    """Read the unconfirmed changes from their form on the disk.

    Raises:
        SnapshotError: the payload is no journal.
    """
    try:
        head, reader = _unpack(payload)
        return [
            UnconfirmedChange(reader.read(route), reader.read(before) if before else None)
            for route, before in head["changes"]
        ]
    except (LookupError, TypeError, ValueError, AttributeError, RecursionError, InvalidSpecError) as error:
        raise SnapshotError(f"{type(error).__name__}: {error}") from error


class _Writer:
    """The packed prefixes and keys, put together one object after the other."""

    def __init__(self) -> None:
        self._packed: list[bytes] = []

    def describe(self, route: ResolvedRoute) -> dict[str, Any]:
        """Add an object, and return its head. Keys are written only where the spec alone does not give them."""
        spec, destinations = route.spec, route.spec.destinations
        self._packed.append(destinations.prefixes)
        head = {
            "manifest": spec.manifest,
            "prefixSize": destinations.prefix_size,
            "prefixes": len(destinations.prefixes),
            "refused": [list(each) for each in destinations.refused],
        }
        if route.version != (own := resolve(spec)).version or route.keys != own.keys:
            self._packed.append(route.keys.packed)
            head |= {"revision": route.revision, "keys": len(route.keys.packed)}
        return head

    def pack(self, head: Mapping[str, Any]) -> bytes:
        return b"".join([json.dumps(head).encode(), b"\n", *self._packed])


def _unpack(payload: bytes) -> tuple[Any, "_Reader"]:
    head, _, packed = payload.partition(b"\n")
    return json.loads(head), _Reader(packed)


class _Reader:
    """The packed prefixes and keys, read one object after the other."""

    def __init__(self, packed: bytes) -> None:
        self._packed = packed
        self._position = 0

    def read(self, head: Mapping[str, Any]) -> ResolvedRoute:
        """Return the next object."""
        prefixes = self._take(head["prefixes"])
        refused = tuple(RefusedDestination(*each) for each in head["refused"])
        spec = StaticRoute.restore(head["manifest"], Destinations(head["prefixSize"], prefixes, refused))
        route = resolve(spec)
        if "revision" not in head:
            return route
        keys = KeySet(route.keys.size, self._take(head["keys"]))
        return replace(route, keys=keys, revision=head["revision"])

    def _take(self, size: int) -> bytes:
        self._position += size
        return self._packed[self._position - size : self._position]
