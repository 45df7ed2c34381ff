"""From what is installed in the kernel to what should be, as a list of operations."""

from collections.abc import Collection, Iterable

from static_route_operator.routing.keyset import KeySet
from static_route_operator.routing.nexthops import NextHops
from static_route_operator.routing.routes import Action, Operation, Routes
from static_route_operator.routing.rules import Rule, RuleOperation


def diff(
    desired: Routes,
    installed: Routes,
    *,
    retained: Iterable[KeySet] = (),
    skip: Iterable[KeySet] = (),
    dead_ends: Collection[NextHops] = (),
) -> list[Operation]:
    """Return the operations that turn the installed routes into the desired ones.

    They replace first, then add, then delete, so a destination that stays desired, be it through another or a shorter
    prefix, is never without a route. The work is proportional to what differs.

    Args:
        desired: the routes that should be installed.
        installed: the routes of this program in the kernel.
        retained: keys that stay as they are if they are installed and not desired.
        skip: keys that stay as they are (the kernel refused them lately).
        dead_ends: next hops whose routes are not retained: they lose all packets.
    """
    skip, retained = list(skip), list(retained)
    missing: dict[NextHops, KeySet] = {}
    surplus: dict[NextHops, KeySet] = {}
    for next_hops in dict.fromkeys(next_hops for routes in (desired, installed) for next_hops, _ in routes):
        differing = desired.through(next_hops).compare(installed.through(next_hops))
        missing[next_hops] = _without(differing.only_left, skip)
        surplus[next_hops] = _without(differing.only_right, skip)
    replaced: list[Operation] = []
    for next_hops, keys in missing.items():
        left, moved = keys, KeySet(next_hops.key_size)
        for other, there in surplus.items():
            if left and there and other.key_size == next_hops.key_size:
                left, both, surplus[other] = left.compare(there)
                moved |= both
        missing[next_hops] = left
        if moved:
            replaced.append(Operation(Action.REPLACE, next_hops, moved))
    return [
        *replaced,
        *(Operation(Action.ADD, next_hops, keys) for next_hops, keys in missing.items() if keys),
        *(
            Operation(Action.DELETE, next_hops, keys)
            for next_hops, left in surplus.items()
            if (keys := left if next_hops in dead_ends else _without(left, retained))
        ),
    ]


def diff_rules(desired: Iterable[Rule], installed: Iterable[Rule]) -> list[RuleOperation]:
    """Return the operations that turn the installed rules into the desired ones: additions first, then deletions.

    Additions come in the order in which the kernel evaluates rules, deletions in the opposite order: the rule that
    leads to a table of ours is added last and deleted first, since the rules before it spare packets from that table.
    """
    desired, installed = set(desired), set(installed)
    return [
        *(RuleOperation(Action.ADD, rule) for rule in sorted(desired - installed)),
        *(RuleOperation(Action.DELETE, rule) for rule in sorted(installed - desired, reverse=True)),
    ]


def _without(keys: KeySet, others: Iterable[KeySet]) -> KeySet:
    for other in others:
        if not keys:
            break
        keys -= other
    return keys
