"""Staged roll-outs: a new generation reaches a few nodes first, and the others only if it succeeds there.

Each node has a rank, a hash of its name, so that the order of the nodes never changes. The controller writes a
threshold into the status; nodes of a rank up to the threshold may use the generation.
"""

import enum
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from static_route_operator.api.fields import Fields
from static_route_operator.errors import SettingsError, shown

# Share of the nodes. The schema of the CRD has the same pattern.
PERCENTAGE: Final = r"^(100|[1-9][0-9]?)%$"

# Highest rank.
EVERYONE: Final = (1 << 32) - 1


class Phase(enum.StrEnum):
    """Progress of a roll-out."""

    PROGRESSING = "Progressing"
    PAUSED = "Paused"
    COMPLETE = "Complete"


@dataclass(frozen=True, slots=True)
class Rollout:
    """The roll-out strategy of an object.

    Attributes:
        nodes: batch size in nodes; 0 if given as a percentage.
        percent: batch size as a percentage of the selected nodes; 0 if given in nodes.
        pause_on_failure: hold back further nodes while one that has the generation fails.
    """

    nodes: int = 0
    percent: int = 0
    pause_on_failure: bool = True

    def at_a_time(self, selected: int) -> int:
        """Return the batch size in nodes, at least one, for a number of selected nodes."""
        return self.nodes or max(1, -(-selected * self.percent // 100))


@dataclass(frozen=True, slots=True)
class Stage:
    """The stage of a roll-out: the nodes that may use a generation.

    Attributes:
        generation: of the spec.
        phase: see `Phase`.
        threshold: highest rank of the nodes that may use the generation; -1 for none.
        nodes: number of these nodes and of the selected nodes, as 1/3.
        since: time of the last change, in RFC 3339; empty for a change that is being made.
    """

    generation: int
    phase: Phase
    threshold: int
    nodes: str
    since: str = ""

    def to_json(self, now: str) -> dict[str, Any]:
        """Return ``status.rollout``."""
        return {
            "generation": self.generation,
            "phase": self.phase.value,
            "nodes": self.nodes,
            "upTo": self.threshold,
            "since": self.since or now,
        }


def rank(node: str) -> int:
    """Return the place of a node in the order of all roll-outs."""
    return int.from_bytes(hashlib.sha256(node.encode()).digest()[:4], "big")


def parse_rollout(name: str, spec: Mapping[str, Any]) -> Rollout | None:
    """Read ``spec.rollout``; return None if absent.

    Raises:
        InvalidSpecError: a field has an invalid value.
    """
    if (value := spec.get("rollout")) is None:
        return None
    fields = Fields(name, "rollout", value)
    rollout = fields.parse("maxUnavailable", parse_max_unavailable) or Rollout(nodes=1)
    return replace(rollout, pause_on_failure=fields.boolean("pauseOnFailure", default=True))


def parse_max_unavailable(value: object) -> Rollout:
    """Read a batch size: a number of nodes, or a percentage.

    Raises:
        ValueError: the value is neither.
    """
    if isinstance(value, int) and not isinstance(value, bool) and value >= 1:
        return Rollout(nodes=value)
    if isinstance(value, str) and re.fullmatch(PERCENTAGE, value):
        return Rollout(percent=int(value[:-1]))
    raise ValueError(f"{shown(value)} is neither a number of nodes, such as 1, nor a percentage, such as 25%")


def default_rollout(setting: str) -> Rollout | None:
    """Return the roll-out of objects without ``spec.rollout``; None for all nodes at once.

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
    """Read ``status.rollout``; return None if absent or malformed."""
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
    """Return the generation that a node may use according to a status; 0 for none.

    A generation that the controller has observed and does not stage is for every node.
    """
    stage = parse_stage(status)
    observed = status.get("observedGeneration")
    if isinstance(observed, int) and (stage is None or stage.generation != observed):
        return observed
    return stage.generation if stage is not None and rank(node) <= stage.threshold else 0
