"""Staged roll-outs: what an object may say of them, and what a status says to a node."""

import re
from typing import Any

import pytest

from static_route_operator.api.rollout import (
    EVERYONE,
    PERCENTAGE,
    Phase,
    Rollout,
    Stage,
    default_rollout,
    parse_stage,
    rank,
    released_generation,
)
from static_route_operator.errors import InvalidSpecError, SettingsError
from tests.unit.builders import route


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({}, Rollout(nodes=1)),
        ({"maxUnavailable": 3}, Rollout(nodes=3)),
        ({"maxUnavailable": "25%", "pauseOnFailure": False}, Rollout(percent=25, pause_on_failure=False)),
    ],
)
def test_rollout_is_read(spec: dict[str, Any], expected: Rollout) -> None:
    """One node at a time, and a pause on failure, unless it says otherwise; none where it says nothing."""
    assert route(rollout=spec).rollout == expected
    assert route().rollout is None


@pytest.mark.parametrize(
    ("rollout", "field"),
    [
        (1, "spec.rollout"),
        ({"maxUnavailable": 0}, "spec.rollout.maxUnavailable"),
        ({"maxUnavailable": True}, "spec.rollout.maxUnavailable"),
        ({"maxUnavailable": "0%"}, "spec.rollout.maxUnavailable"),
        ({"maxUnavailable": "101%"}, "spec.rollout.maxUnavailable"),
        ({"pauseOnFailure": "no"}, "spec.rollout.pauseOnFailure"),
    ],
)
def test_wrong_rollout_is_refused(rollout: Any, field: str) -> None:
    """A value that the API server refuses is refused on the node too, with its field."""
    with pytest.raises(InvalidSpecError) as caught:
        route(rollout=rollout)
    assert caught.value.field == field


@pytest.mark.parametrize(("percent", "selected", "expected"), [(25, 10, 3), (1, 3, 1), (100, 7, 7), (50, 0, 1)])
def test_percentage_is_rounded_up(percent: int, selected: int, expected: int) -> None:
    """There is always a node to begin with."""
    assert Rollout(percent=percent).at_a_time(selected) == expected


def test_percentages() -> None:
    """The pattern, which the CRD has too, takes 1% to 100%."""
    taken = [number for number in range(200) if re.fullmatch(PERCENTAGE, f"{number}%")]
    assert taken == list(range(1, 101))


@pytest.mark.parametrize(("setting", "expected"), [("", None), ("2", Rollout(nodes=2)), ("10%", Rollout(percent=10))])
def test_setting(setting: str, expected: Rollout | None) -> None:
    """The setting is as the field; empty is for all nodes at once."""
    assert default_rollout(setting) == expected


def test_wrong_setting() -> None:
    """A setting that can't be used ends the start, with its flag."""
    with pytest.raises(SettingsError, match="--rollout: 'half'"):
        default_rollout("half")


def test_places_never_change() -> None:
    """The order of nodes is the same on every node, in the controller, and in every version."""
    assert [rank(f"node{number}") for number in (1, 2, 3)] == [3390239515, 363956850, 995865030]
    assert all(0 <= rank(str(number)) <= EVERYONE for number in range(100))


def _status(observed: int, stage: Stage | None) -> dict[str, Any]:
    return {"observedGeneration": observed, **({"rollout": stage.to_json("now")} if stage else {})}


def test_stage_is_read_as_it_is_written() -> None:
    """A stage goes through a status unchanged; its time is set when it is written first."""
    stage = Stage(3, Phase.PAUSED, 17, "1/3")
    written = parse_stage(_status(3, stage))

    assert written == Stage(3, Phase.PAUSED, 17, "1/3", "now")
    assert parse_stage({"rollout": written.to_json("later")}) == written
    assert parse_stage({"rollout": {"generation": "?"}}) is None


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ({}, 0),
        (_status(3, Stage(3, Phase.PROGRESSING, rank("node1"), "1/3")), 3),
        (_status(3, Stage(3, Phase.PROGRESSING, rank("node1") - 1, "1/3")), 0),
        (_status(3, Stage(3, Phase.COMPLETE, EVERYONE, "3/3")), 3),
        (_status(4, Stage(3, Phase.PAUSED, 0, "1/3")), 4),
        (_status(4, None), 4),
    ],
    ids=["not looked at", "its turn", "not its turn", "complete", "staged no more", "never staged"],
)
def test_node_knows_which_generation_it_may_use(status: dict[str, Any], expected: int) -> None:
    """It is its turn when its place is reached, and when the controller does not stage the generation."""
    assert released_generation(status, "node1") == expected
