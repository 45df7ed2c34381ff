"""The conditions of a StaticRoute, and the one documented list of their reasons.

Users wait for the conditions and may match on the reasons, so they never change their meaning.
"""

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


class ConditionType(enum.StrEnum):
    """What is said of a StaticRoute."""

    ACCEPTED = "Accepted"  # its spec can be used
    READY = "Ready"  # every node that it selects has all of its routes, or stands by for another StaticRoute


class ConditionStatus(enum.StrEnum):
    """Whether it is so."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class ConditionReason(enum.StrEnum):
    """Why, in one word."""

    # Of Accepted.
    VALID = "Valid"
    INVALID_DESTINATIONS = "InvalidDestinations"  # some can never be routed; the others are
    INVALID_SPEC = "InvalidSpec"  # of Ready too: nothing can be used; nodes keep the last good version
    # Of Ready.
    ALL_NODES_READY = "AllNodesReady"
    ROLLING_OUT = "RollingOut"  # some nodes have not answered for this generation, and none fails
    NODES_FAILING = "NodesFailing"  # some nodes can't do it: they are named, with their own words
    NODES_NOT_READY = "NodesNotReady"  # all is well but for nodes that are NotReady in Kubernetes
    NO_NODES_SELECTED = "NoNodesSelected"


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition, without its times.

    Attributes:
        type: what is said.
        status: whether it is so.
        reason: why, for programs.
        message: why, for people.
    """

    type: ConditionType
    status: ConditionStatus
    reason: ConditionReason
    message: str


def find_condition(status: Mapping[str, Any], kind: ConditionType) -> Mapping[str, Any]:
    """A condition as it stands in an object's status; empty when there is none, or the status is of another shape."""
    conditions = status.get("conditions")
    found: Iterable[Any] = conditions if isinstance(conditions, list) else ()
    return next((each for each in found if isinstance(each, Mapping) and each.get("type") == kind), {})
