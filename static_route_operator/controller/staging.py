"""Roll-outs in stages: a new generation reaches more nodes when the nodes that have it report success."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from static_route_operator.api.rollout import EVERYONE, Phase, Rollout, Stage, rank


@dataclass(frozen=True, slots=True)
class StagedNode:
    """A selected node, with its result for the new generation.

    Attributes:
        name: name of the node.
        done: the node reports success.
        failed: the node reports a failure.
        not_ready_since: time at which the node became NotReady in Kubernetes, RFC 3339; empty for a Ready node.
    """

    name: str
    done: bool
    failed: bool
    not_ready_since: str = ""


def next_stage(rollout: Rollout, generation: int, candidates: Iterable[StagedNode], before: Stage | None) -> Stage:
    """Return the next stage of a roll-out; stages of one generation never shrink.

    A NotReady node can't report. A node that was NotReady before its turn is skipped; a node that became NotReady
    afterwards counts as failed.

    Args:
        rollout: size of the stages, and pause on failure.
        generation: generation of the spec.
        candidates: all selected nodes.
        before: the stage in the stored status.
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
    """Return the stage with a number of Ready nodes more."""
    end = released
    while end < len(ordered) and number:
        number -= not ordered[end].not_ready_since
        end += 1
    if end == len(ordered):
        # Nodes that join later get the generation at once.
        return Stage(before.generation, Phase.COMPLETE, EVERYONE, f"{end}/{end}")
    return Stage(before.generation, Phase.PROGRESSING, rank(ordered[end - 1].name), f"{end}/{len(ordered)}")
