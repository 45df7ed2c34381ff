"""What is kept of a node, and its form on the disk: JSON, followed by the keys of all objects as they are packed.

The keys are most of it: a hundred thousand IPv4 destinations are 1.3 MB, and cost no more than to copy them.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from static_route_operator.api.destinations import RefusedDestination
from static_route_operator.api.nodeselector import Node
from static_route_operator.api.staticroute import StaticRoute
from static_route_operator.errors import InvalidSpecError
from static_route_operator.node.rollback.unconfirmed import UnconfirmedChange, Undone
from static_route_operator.routing.keyset import KeySet


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The last known good state of a node.

    Attributes:
        node: as the API server described it; None when it never did.
        routes: the objects in force, each with its resource version.
        protected: by source, what no route may capture: by packed prefix, what it is.
        undone: the versions that were rolled back.
    """

    node: Node | None = None
    routes: tuple[tuple[StaticRoute, int], ...] = ()
    protected: Mapping[str, Mapping[bytes, str]] = field(default_factory=dict)
    undone: tuple[Undone, ...] = ()


class SnapshotError(Exception):
    """A snapshot that can't be read. The text says why."""


def pack_snapshot(snapshot: Snapshot) -> bytes:
    """The form of a snapshot on the disk."""
    node = snapshot.node
    head = {
        "node": node and {"name": node.name, "labels": dict(node.labels), "uid": node.uid},
        "routes": [_describe(route) | {"resourceVersion": version} for route, version in snapshot.routes],
        "protected": {
            source: {prefix.hex(): text for prefix, text in what.items()} for source, what in snapshot.protected.items()
        },
        "undone": [[each.uid, each.name, each.generation, each.digest, each.why] for each in snapshot.undone],
    }
    return _pack(head, [route for route, _ in snapshot.routes])


def unpack_snapshot(payload: bytes) -> Snapshot:
    """A snapshot from its form on the disk.

    Raises:
        SnapshotError: it is none.
    """
    try:
        head, rest = _unpack(payload)
        node = head["node"]
        return Snapshot(
            node=Node(node["name"], node["labels"], node["uid"]) if node else None,
            routes=tuple((rest.take(each), int(each["resourceVersion"])) for each in head["routes"]),
            protected={
                source: {bytes.fromhex(prefix): text for prefix, text in what.items()}
                for source, what in head["protected"].items()
            },
            undone=tuple(Undone(*each) for each in head["undone"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError, InvalidSpecError) as error:
        raise SnapshotError(f"{type(error).__name__}: {error}") from error


def pack_trials(trials: Sequence[UnconfirmedChange]) -> bytes:
    """The form of what is on trial on the disk."""
    routes = [route for each in trials for route in (each.route, each.before) if route is not None]
    head = [[_describe(each.route), each.before and _describe(each.before)] for each in trials]
    return _pack({"trials": head}, routes)


def unpack_trials(payload: bytes) -> list[UnconfirmedChange]:
    """What was on trial, from its form on the disk.

    Raises:
        SnapshotError: it is none.
    """
    try:
        head, rest = _unpack(payload)
        return [
            UnconfirmedChange(rest.take(route), rest.take(before) if before else None)
            for route, before in head["trials"]
        ]
    except (KeyError, TypeError, ValueError, AttributeError, InvalidSpecError) as error:
        raise SnapshotError(f"{type(error).__name__}: {error}") from error


def _describe(route: StaticRoute) -> dict[str, Any]:
    return {
        "manifest": route.manifest,
        "keySize": route.keys.size,
        "keys": len(route.keys),
        "refused": [list(each) for each in route.refused],
    }


def _pack(head: Any, routes: Sequence[StaticRoute]) -> bytes:
    return b"".join([json.dumps(head).encode(), b"\n", *(route.keys.packed for route in routes)])


def _unpack(payload: bytes) -> tuple[Any, "_Rest"]:
    head, _, rest = payload.partition(b"\n")
    return json.loads(head), _Rest(rest)


class _Rest:
    """The packed keys, taken off one object after the other."""

    def __init__(self, packed: bytes) -> None:
        self._packed = packed
        self._position = 0

    def take(self, described: Mapping[str, Any]) -> StaticRoute:
        """The next object."""
        start, size = self._position, described["keySize"]
        self._position += size * described["keys"]
        keys = KeySet(size, self._packed[start : self._position])
        refused = tuple(RefusedDestination(*each) for each in described["refused"])
        return StaticRoute.restore(described["manifest"], keys, refused)
