"""A staged roll-out: a new generation reaches some nodes first, and the others only if it does well there.

Nodes have places in one order, by a hash of their names, which never changes. The controller says in the status up to
which place the generation may be used; each node compares its own.
"""

import enum
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from static_route_operator.errors import InvalidSpecError, SettingsError

# A share of the nodes, as the CRD's schema (``crd.py``) has it too; a test holds the two against each other.
PERCENTAGE: Final = r"^(100|[1-9][0-9]?)%$"

# The last place there is.
EVERYONE: Final = (1 << 32) - 1


class Phase(enum.StrEnum):
    """How far a roll-out is."""

    PROGRESSING = "Progressing"
    PAUSED = "Paused"
    COMPLETE = "Complete"


@dataclass(frozen=True, slots=True)
class Rollout:
    """How a new generation is rolled out.

    Attributes:
        nodes: so many nodes get it at a time; 0 where ``percent`` says it.
        percent: so much of the selected nodes get it at a time.
        pause_on_failure: no further node gets it while one of those that have it fails.
    """

    nodes: int = 0
    percent: int = 0
    pause_on_failure: bool = True

    def at_a_time(self, selected: int) -> int:
        """How many of so many nodes get it at a time, at least one."""
        return self.nodes or max(1, -(-selected * self.percent // 100))


@dataclass(frozen=True, slots=True)
class Stage:
    """Which nodes may use a generation.

    Attributes:
        generation: of the spec.
        phase: see `Phase`.
        threshold: the last place of a node that may use it; -1 while none may.
        nodes: how many of how many these are, for people.
        since: when it came to be these, in RFC 3339; empty for now.
    """

    generation: int
    phase: Phase
    threshold: int
    nodes: str
    since: str = ""

    def to_json(self, now: str) -> dict[str, Any]:
        """As it stands in a status."""
        return {
            "generation": self.generation,
            "phase": self.phase.value,
            "nodes": self.nodes,
            "upTo": self.threshold,
            "since": self.since or now,
        }


def rank(node: str) -> int:
    """The place of a node in the order of all roll-outs, by its name."""
    return int.from_bytes(hashlib.sha256(node.encode()).digest()[:4], "big")


def parse_rollout(name: str, spec: Mapping[str, Any]) -> Rollout | None:
    """How a ``spec`` wants to be rolled out; None where it does not say.

    Raises:
        InvalidSpecError: it can't be done so.
    """
    value = spec.get("rollout")
    if value is None:
        return None
    if not isinstance(value, Mapping):
        raise InvalidSpecError(name, "spec.rollout", "must be an object with maxUnavailable and pauseOnFailure")
    pause = value.get("pauseOnFailure", True)
    if not isinstance(pause, bool):
        raise InvalidSpecError(name, "spec.rollout.pauseOnFailure", f"'{pause}' is not true or false")
    try:
        return parse_max_unavailable(value.get("maxUnavailable", 1), pause_on_failure=pause)
    except ValueError as error:
        raise InvalidSpecError(name, "spec.rollout.maxUnavailable", str(error)) from None


def parse_max_unavailable(value: object, *, pause_on_failure: bool = True) -> Rollout:
    """A roll-out to so many nodes at a time, or to so many percent.

    Raises:
        ValueError: it is neither. The text says what it should be.
    """
    if isinstance(value, int) and not isinstance(value, bool) and value >= 1:
        return Rollout(nodes=value, pause_on_failure=pause_on_failure)
    if isinstance(value, str) and re.fullmatch(PERCENTAGE, value):
        return Rollout(percent=int(value[:-1]), pause_on_failure=pause_on_failure)
    raise ValueError(f"'{value}' is neither a number of nodes, such as 1, nor a percentage, such as 25%")


def default_rollout(setting: str) -> Rollout | None:
    """The roll-out of objects that do not say, by a setting; None for all nodes at once.

    Raises:
        SettingsError: the setting is neither a number nor a percentage.
    """
    if not setting:
        return None
    try:
        return parse_max_unavailable(int(setting) if setting.isdecimal() else setting)
    except ValueError as error:
        raise SettingsError(f"--rollout: {error}") from None


def parse_stage(status: Mapping[str, Any]) -> Stage | None:
    """Which nodes may use a generation, as a status says; None where it does not."""
    value: Any = status.get("rollout")
    try:
        return Stage(
            int(value["generation"]),
            Phase(value["phase"]),
            int(value["upTo"]),
            str(value["nodes"]),
            str(value["since"]),
        )
    except (KeyError, TypeError, ValueError):
        return None


def released_generation(status: Mapping[str, Any], node: str) -> int:
    """The generation that a status lets a node use; 0 for none.

    One that the controller has looked at without staging it is for every node.
    """
    stage = parse_stage(status)
    observed = status.get("observedGeneration")
    if isinstance(observed, int) and (stage is None or stage.generation != observed):
        return observed
    return stage.generation if stage is not None and rank(node) <= stage.threshold else 0
