"""Routes of ours that somebody took away, until they are back."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence

from static_route_operator.node.drift.damping import Actor
from static_route_operator.routing.keyset import KeySet, by_family
from static_route_operator.routing.routes import Action, Failure, Operation


class PendingRepairs:
    """The keys of what is lost, by who took it."""

    def __init__(self) -> None:
        self._lost: defaultdict[Actor, set[bytes]] = defaultdict(set)

    def note(self, key: bytes, rival: Actor) -> None:
        """A route was taken away, or another one put in its place."""
        self._lost[rival].add(key)

    def restored(
        self, operations: Sequence[Operation], failures: Mapping[bytes, Failure]
    ) -> Iterator[tuple[KeySet, Actor]]:
        """What is lost no more since operations were carried out, and who had taken it.

        Args:
            operations: all of them.
            failures: by key, what the kernel refused of them.
        """
        written = [keys for action, _, keys in operations if action is not Action.DELETE]
        for rival, lost in self._lost.items():
            for keys in by_family(lost):
                for each in written:
                    repaired = keys & each
                    if failures:
                        repaired = KeySet.of(keys.size, [key for key in repaired if key not in failures])
                    if repaired:
                        lost.difference_update(repaired)
                        yield repaired, rival

    def retain(self, waiting: Sequence[KeySet], failing: Collection[bytes]) -> None:
        """What is neither put back yet, nor refused by the kernel, is not lost (any more)."""
        for rival, lost in list(self._lost.items()):
            still = {key for keys in by_family(lost) for each in waiting for key in keys & each}
            still |= {key for key in lost if key in failing}
            if still:
                self._lost[rival] = still
            else:
                del self._lost[rival]
