"""From what is in the kernel to what should be there, as a list of operations."""

from collections.abc import Iterable

from static_route_operator.routing.keyset import KeySet
from static_route_operator.routing.nexthops import NextHops
from static_route_operator.routing.routes import Action, Operation, Routes


def diff(
    desired: Routes, installed: Routes, *, retained: Iterable[KeySet] = (), skip: Iterable[KeySet] = ()
) -> list[Operation]:
    """The operations that make the routes in the kernel those that are wanted.

    First replace, then add, then delete: a destination that stays wanted, be it by another or a shorter prefix, is
    never without a route in between. The work is in proportion to what differs.

    Args:
        desired: the routes that should be there.
        installed: the routes in the kernel that are ours.
        retained: keys that are left alone when they are present and not wanted.
        skip: keys that are left as they are (the kernel refused them lately).
    """
    skip = list(skip)
    missing: dict[NextHops, KeySet] = {}
    surplus: dict[NextHops, KeySet] = {}
    for path in dict.fromkeys(path for routes in (desired, installed) for path, _ in routes):
        differing = desired.through(path).compare(installed.through(path))
        missing[path] = _without(differing.only_left, skip)
        surplus[path] = _without(differing.only_right, skip)
    replaced: list[Operation] = []
    for path, keys in missing.items():
        left, moved = keys, KeySet(path.key_size)
        for other, there in surplus.items():
            if left and there and other.key_size == path.key_size:
                left, both, surplus[other] = left.compare(there)
                moved |= both
        missing[path] = left
        if moved:
            replaced.append(Operation(Action.REPLACE, path, moved))
    return [
        *replaced,
        *(Operation(Action.ADD, path, keys) for path, keys in missing.items() if keys),
        *(Operation(Action.DELETE, path, keys) for path, left in surplus.items() if (keys := _without(left, retained))),
    ]


def _without(keys: KeySet, others: Iterable[KeySet]) -> KeySet:
    for other in others:
        if not keys:
            break
        keys -= other
    return keys
