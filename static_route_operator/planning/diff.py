"""From what is in the kernel to what should be there, as a list of operations."""

from collections.abc import Iterable

from static_route_operator.routing.keyset import Keys
from static_route_operator.routing.paths import Path
from static_route_operator.routing.routes import Action, Operation, Routes


def diff(wanted: Routes, present: Routes, *, held: Iterable[Keys] = (), skip: Iterable[Keys] = ()) -> list[Operation]:
    """The operations that make the routes in the kernel those that are wanted.

    First replace, then add, then delete: a destination that stays wanted, be it by another or a shorter prefix, is
    never without a route in between. The work is in proportion to what differs.

    Args:
        wanted: the routes that should be there.
        present: the routes in the kernel that are ours.
        held: keys that are left alone when they are present and not wanted.
        skip: keys that are left as they are (the kernel refused them lately).
    """
    skip = list(skip)
    missing: dict[Path, Keys] = {}
    surplus: dict[Path, Keys] = {}
    for path in dict.fromkeys(path for routes in (wanted, present) for path, _ in routes):
        differing = wanted.through(path).compare(present.through(path))
        missing[path] = _without(differing.only_left, skip)
        surplus[path] = _without(differing.only_right, skip)
    replaced: list[Operation] = []
    for path, keys in missing.items():
        left, moved = keys, Keys(path.key_size)
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
        *(Operation(Action.DELETE, path, keys) for path, left in surplus.items() if (keys := _without(left, held))),
    ]


def _without(keys: Keys, others: Iterable[Keys]) -> Keys:
    for other in others:
        if not keys:
            break
        keys -= other
    return keys
