"""Pending repairs: routes that others took away, until they are back."""

import errno
from collections.abc import Iterable

from static_route_operator.node.drift.damping import Actor
from static_route_operator.node.drift.repairs import PendingRepairs
from static_route_operator.routing.routes import Action, Failure, Operation
from tests.unit.builders import key, pack, unknown_path

FLUSH, DAEMON = Actor(4711, "ip"), Actor(4712, "networkd", 16)
ONE, TWO, THREE, SIX = key("192.0.2.1"), key("192.0.2.2"), key("192.0.2.3"), key("2001:db8::6")


def _add(*keys: bytes) -> Operation:
    return Operation(Action.ADD, unknown_path(keys[0]), pack(keys))


def _losses() -> PendingRepairs:
    losses = PendingRepairs()
    for each in (ONE, TWO, SIX):
        losses.note(each, FLUSH)
    losses.note(THREE, DAEMON)
    return losses


def _back(
    losses: PendingRepairs, *operations: Operation, refused: Iterable[bytes] = ()
) -> list[tuple[list[bytes], Actor]]:
    failures = dict.fromkeys(refused, Failure(errno.EEXIST, "File exists"))
    return sorted((list(keys), actor) for keys, actor in losses.restored(operations, failures))


def test_put_back_once() -> None:
    """A restored route is reported with its actor, once; also for several families and actors, in pieces."""
    losses = _losses()

    assert _back(losses, _add(ONE, THREE), _add(SIX)) == sorted([([ONE], FLUSH), ([SIX], FLUSH), ([THREE], DAEMON)])
    assert _back(losses, _add(ONE, TWO)) == [([TWO], FLUSH)]
    assert _back(losses, _add(ONE, TWO, THREE)) == []


def test_neither_deleted_nor_refused_is_back() -> None:
    """A route that is deleted, or that the kernel refuses, has not been put back."""
    losses = _losses()

    assert _back(losses, _add(TWO)._replace(action=Action.DELETE)) == []
    assert _back(losses, _add(ONE, TWO), refused=[TWO]) == [([ONE], FLUSH)]
    assert _back(losses, _add(TWO)) == [([TWO], FLUSH)]


def test_only_what_is_still_to_come_back_is_kept() -> None:
    """A repair that is postponed or refused stays pending; all others, such as unwanted routes, are forgotten."""
    losses = _losses()

    losses.retain([pack([ONE])], {SIX})

    assert _back(losses, _add(ONE, TWO, THREE), _add(SIX)) == sorted([([ONE], FLUSH), ([SIX], FLUSH)])
