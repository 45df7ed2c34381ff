"""Which nodes may use a new generation next, from what those say that may use it already."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from static_route_operator.api.rollout import EVERYONE, Phase, Rollout, Stage, rank


@dataclass(frozen=True, slots=True)
class StagedNode:
    """A selected node, and what it says of the generation.

    Attributes:
        name: the node's.
        done: it has it, and all is well.
        failed: it has it, and says that something is wrong.
        not_ready_since: when Kubernetes took it for not ready, in RFC 3339; empty while it is ready.
    """

    name: str
    done: bool
    failed: bool
    not_ready_since: str = ""


def next_stage(rollout: Rollout, generation: int, candidates: Iterable[StagedNode], before: Stage | None) -> Stage:
    """The stage of a roll-out after the last one; of one generation it never covers fewer nodes than before.

    A node that is not ready in Kubernetes can't answer. If it was so before it was its turn, it is passed over; if it
    came to be so afterwards, it counts as failed.

    Args:
        rollout: how the generation is to be rolled out.
        generation: of the spec.
        candidates: all nodes that it selects.
        before: what the status says.
    """
    if before is None or before.generation != generation:
        before = Stage(generation, Phase.PROGRESSING, -1, "")
    if before.phase is Phase.COMPLETE:
        return before
    ordered = sorted(candidates, key=lambda each: (rank(each.name), each.name))
    released = [each for each in ordered if rank(each.name) <= before.threshold]
    if rollout.pause_on_failure and any(_fails(each, before.since) for each in released):
        return replace(before, phase=Phase.PAUSED)
    if any(not (each.done or each.failed or each.not_ready_since) for each in released):
        return replace(before, phase=Phase.PROGRESSING)
    return _widened(before, rollout.at_a_time(len(ordered)), ordered, len(released))


def _fails(candidate: StagedNode, since: str) -> bool:
    return candidate.failed or (not candidate.done and bool(since) and candidate.not_ready_since > since)


def _widened(before: Stage, number: int, ordered: Sequence[StagedNode], released: int) -> Stage:
    """The stage with so many more nodes that are ready."""
    end = released
    while end < len(ordered) and number:
        number -= not ordered[end].not_ready_since
        end += 1
    if end == len(ordered):
        # Whoever comes later may have it at once.
        return Stage(before.generation, Phase.COMPLETE, EVERYONE, f"{end}/{end}")
    return Stage(before.generation, Phase.PROGRESSING, rank(ordered[end - 1].name), f"{end}/{len(ordered)}")
