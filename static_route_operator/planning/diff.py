"""From what is in the kernel to what should be there, as a list of operations."""

from collections import defaultdict
from collections.abc import Collection, Mapping

from static_route_operator.planning.routes import Action, Operation, Path, Routes


def diff(
    wanted: Routes, present: Routes, *, held: Collection[bytes] = frozenset(), skip: Collection[bytes] = ()
) -> list[Operation]:
    """The operations that make the routes in the kernel those that are wanted.

    First replace, then add, then delete: a destination that stays wanted, be it by another or a shorter prefix, is
    never without a route in between.

    Args:
        wanted: path by key.
        present: path by key, of the routes in the kernel that are ours.
        held: keys that are left alone when they are present and not wanted.
        skip: keys that are left as they are (the kernel refused them lately).
    """
    added: defaultdict[Path, list[bytes]] = defaultdict(list)
    replaced: defaultdict[Path, list[bytes]] = defaultdict(list)
    find = present.get
    for key, path in wanted.items():
        now = find(key)
        if now is None:
            added[path].append(key)
        elif now != path:
            replaced[path].append(key)
    if skip:
        _drop(added, skip)
        _drop(replaced, skip)
    deleted: defaultdict[tuple[Path, int], list[bytes]] = defaultdict(list)
    for key in present.keys() - wanted.keys():
        if key not in held and key not in skip:
            # An unknown path tells no family, so the size of the key goes with it.
            deleted[present[key], len(key)].append(key)
    return [
        *(Operation(Action.REPLACE, path, keys) for path, keys in replaced.items() if keys),
        *(Operation(Action.ADD, path, keys) for path, keys in added.items() if keys),
        *(Operation(Action.DELETE, path, sorted(keys)) for (path, _), keys in deleted.items()),
    ]


def _drop(groups: Mapping[Path, list[bytes]], skip: Collection[bytes]) -> None:
    for keys in groups.values():
        keys[:] = [key for key in keys if key not in skip]
