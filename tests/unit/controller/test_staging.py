"""The stages of a roll-out."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from static_route_operator.api.rollout import EVERYONE, Phase, Rollout, Stage, rank
from static_route_operator.controller.staging import StagedNode, next_stage

NODES = sorted((f"node{number}" for number in range(10)), key=rank)
ONE = Rollout(nodes=1)


def nodes(done: str = "", failed: str = "", gone: str = "", since: str = "2024-01-01T00:00:00Z") -> list[StagedNode]:
    """Return ten nodes in order of rank; the digits select those that are done, failed or NotReady."""
    return [
        StagedNode(name, str(number) in done, str(number) in failed, since if str(number) in gone else "")
        for number, name in enumerate(NODES)
    ]


def stage(released: int, phase: Phase = Phase.PROGRESSING, since: str = "2024-01-02T00:00:00Z") -> Stage:
    """Return a stage of generation 2 with a number of nodes."""
    return Stage(2, phase, rank(NODES[released - 1]), f"{released}/10", since)


def released(after: Stage) -> int:
    """Return the number of nodes in a stage."""
    return sum(rank(name) <= after.threshold for name in NODES)


@pytest.mark.parametrize(
    ("rollout", "expected"), [(ONE, 1), (Rollout(nodes=4), 4), (Rollout(percent=25), 3), (Rollout(nodes=10), 10)]
)
def test_first_nodes(rollout: Rollout, expected: int) -> None:
    """A new generation begins with the first nodes, whatever the stage of the previous one."""
    before = Stage(1, Phase.COMPLETE, EVERYONE, "10/10", "2024-01-01T00:00:00Z")
    after = next_stage(rollout, 2, nodes(done="0123456789"), before)

    assert (after.generation, released(after)) == (2, expected)
    assert after.phase is (Phase.COMPLETE if expected == 10 else Phase.PROGRESSING)


@pytest.mark.parametrize(
    ("candidates", "phase", "expected"),
    [
        (nodes(done="0"), Phase.PROGRESSING, 2),
        (nodes(done="01"), Phase.PROGRESSING, 4),
        (nodes(done="0", failed="1"), Phase.PAUSED, 2),
        (nodes(done="01", failed="5"), Phase.PROGRESSING, 4),
        (nodes(done="0", gone="1", since="2024-01-03T00:00:00Z"), Phase.PAUSED, 2),
        (nodes(done="0", gone="1", since="2024-01-01T00:00:00Z"), Phase.PROGRESSING, 4),
        (nodes(done="01", gone="1", since="2024-01-03T00:00:00Z"), Phase.PROGRESSING, 4),
        (nodes(done="01", gone="24"), Phase.PROGRESSING, 6),
    ],
    ids=[
        "one is pending",
        "all done",
        "one fails",
        "one outside the stage fails",
        "one becomes NotReady",
        "one was NotReady before",
        "one becomes NotReady after it is done",
        "NotReady nodes are skipped",
    ],
)
def test_next_nodes(candidates: list[StagedNode], phase: Phase, expected: int) -> None:
    """A stage grows when all its nodes are done, and pauses when one fails or becomes NotReady."""
    after = next_stage(Rollout(nodes=2), 2, candidates, stage(2))

    assert (after.phase, released(after)) == (phase, expected)
    assert (after.since == "") == (expected != 2), "a wider stage gets a new time"


def test_pause_ends_when_the_node_recovers() -> None:
    """A pause ends when no node fails any more."""
    after = next_stage(ONE, 2, nodes(done="0"), stage(1, Phase.PAUSED))
    assert (after.phase, released(after)) == (Phase.PROGRESSING, 2)


def test_without_pause_on_failure_a_failure_counts_as_done() -> None:
    """Without pauseOnFailure a failing node does not stop the roll-out, but a pending one does."""
    onward = Rollout(nodes=1, pause_on_failure=False)

    assert released(next_stage(onward, 2, nodes(failed="0"), stage(1))) == 2
    assert released(next_stage(onward, 2, nodes(), stage(1))) == 1


def test_complete_stays_so() -> None:
    """A complete roll-out stays complete, whatever the nodes report."""
    complete = Stage(2, Phase.COMPLETE, EVERYONE, "10/10", "2024-01-02T00:00:00Z")
    assert next_stage(ONE, 2, nodes(failed="0123456789"), complete) is complete


def test_no_node_is_complete() -> None:
    """Without nodes a roll-out is complete, so nodes that join later get the generation at once."""
    assert next_stage(ONE, 2, [], None).phase is Phase.COMPLETE


@given(st.lists(st.text("abc0", min_size=1), unique=True, max_size=30), st.integers(1, 40), st.booleans())
def test_good_change_reaches_all(names: list[str], number: int, percent: bool) -> None:
    """If every node succeeds, a roll-out reaches all nodes in as few stages as their size allows."""
    rollout = Rollout(percent=number) if percent else Rollout(nodes=number)
    at_a_time = rollout.at_a_time(len(names))
    current, steps = next_stage(rollout, 1, [StagedNode(name, done=False, failed=False) for name in names], None), 1
    while current.phase is not Phase.COMPLETE:
        have = [name for name in names if rank(name) <= current.threshold]
        assert len(have) == min(steps * at_a_time, len(names))
        waiting = [StagedNode(name, done=name in have[1:], failed=False) for name in names]
        assert next_stage(rollout, 1, waiting, current).threshold == current.threshold
        current = next_stage(rollout, 1, [StagedNode(name, done=name in have, failed=False) for name in names], current)
        steps += 1
    assert steps == max(1, math.ceil(len(names) / at_a_time))
