"""Routes removed by other programs and not yet restored."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence

from static_route_operator.node.drift.damping import Actor
from static_route_operator.routing.keyset import KeySet, by_family
from static_route_operator.routing.routes import Action, Failure, Operation


class PendingRepairs:
    """The keys of lost routes, by the actor that took them."""

    def __init__(self) -> None:
        self._lost: defaultdict[Actor, set[bytes]] = defaultdict(set)

    def note(self, key: bytes, actor: Actor) -> None:
        """Take in that a route was removed, or another one put in its place."""
        self._lost[actor].add(key)

    def restored(
        self, operations: Sequence[Operation], failures: Mapping[bytes, Failure]
    ) -> Iterator[tuple[KeySet, Actor]]:
        """Yield the routes that operations have restored, with the actor that had taken them.

        Args:
            operations: all that were carried out.
            failures: by key, the operations that the kernel refused.
        """
        written = [keys for action, _, keys in operations if action is not Action.DELETE]
        for actor, lost in self._lost.items():
            for keys in by_family(lost):
                for each in written:
                    repaired = keys & each
                    if failures:
                        repaired = KeySet.of(keys.size, [key for key in repaired if key not in failures])
                    if repaired:
                        lost.difference_update(repaired)
                        yield repaired, actor

    def retain(self, waiting: Sequence[KeySet], failing: Collection[bytes]) -> None:
        """Forget the routes that neither wait for their repair nor are refused by the kernel: they are not lost."""
        for actor, lost in list(self._lost.items()):
            still = {key for keys in by_family(lost) for each in waiting for key in keys & each}
            still |= {key for key in lost if key in failing}
            if still:
                self._lost[actor] = still
            else:
                del self._lost[actor]
