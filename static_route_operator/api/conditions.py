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
    GATEWAYS_HEALTHY = "GatewaysHealthy"  # all gateways that are checked answer; absent without a health check
    READY = "Ready"  # every node that it selects has all of its routes, or stands by for another StaticRoute


class ConditionStatus(enum.StrEnum):
    """Whether it is so."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class ConditionReason(enum.StrEnum):
    """Why, in one word; `MEANINGS` has the words for people."""

    VALID = "Valid"
    INVALID_DESTINATIONS = "InvalidDestinations"
    INVALID_SPEC = "InvalidSpec"
    ALL_NODES_READY = "AllNodesReady"
    DRY_RUN = "DryRun"
    ROLLING_OUT = "RollingOut"
    ROLLOUT_PAUSED = "RolloutPaused"
    NODES_FAILING = "NodesFailing"
    NODES_NOT_READY = "NodesNotReady"
    NO_NODES_SELECTED = "NoNodesSelected"
    ALL_GATEWAYS_UP = "AllGatewaysUp"
    GATEWAYS_DOWN = "GatewaysDown"
    NOT_PROBED = "NotProbed"


# The reference page of the docs is made from this.
MEANINGS: Mapping[tuple[ConditionType, ConditionStatus, ConditionReason], str] = {
    (ConditionType.ACCEPTED, ConditionStatus.TRUE, ConditionReason.VALID): "The spec can be used.",
    (
        ConditionType.ACCEPTED,
        ConditionStatus.FALSE,
        ConditionReason.INVALID_DESTINATIONS,
    ): "Some destinations can never be routed; the others are.",
    (
        ConditionType.ACCEPTED,
        ConditionStatus.FALSE,
        ConditionReason.INVALID_SPEC,
    ): "Nothing of the spec can be used; nodes keep the last good version.",
    (
        ConditionType.READY,
        ConditionStatus.TRUE,
        ConditionReason.ALL_NODES_READY,
    ): "Every selected node has all of the routes, or stands by for another StaticRoute.",
    (
        ConditionType.READY,
        ConditionStatus.FALSE,
        ConditionReason.DRY_RUN,
    ): "With `spec.dryRun` nodes do nothing; READY counts those that could do it all.",
    (
        ConditionType.READY,
        ConditionStatus.FALSE,
        ConditionReason.ROLLING_OUT,
    ): "Some nodes have not answered for this generation, and none fails.",
    (
        ConditionType.READY,
        ConditionStatus.FALSE,
        ConditionReason.ROLLOUT_PAUSED,
    ): "Some nodes that have the new generation fail; the others keep the one they have (`spec.rollout`).",
    (
        ConditionType.READY,
        ConditionStatus.FALSE,
        ConditionReason.NODES_FAILING,
    ): "Some nodes can't do it; the worst are in `status.failingNodes`, with their own words.",
    (
        ConditionType.READY,
        ConditionStatus.UNKNOWN,
        ConditionReason.NODES_NOT_READY,
    ): "All is well but for nodes that are NotReady in Kubernetes, of which nobody can tell.",
    (
        ConditionType.READY,
        ConditionStatus.FALSE,
        ConditionReason.NO_NODES_SELECTED,
    ): "No node matches `spec.nodeSelector`, or there is none.",
    (ConditionType.READY, ConditionStatus.FALSE, ConditionReason.INVALID_SPEC): "See Accepted.",
    (
        ConditionType.GATEWAYS_HEALTHY,
        ConditionStatus.TRUE,
        ConditionReason.ALL_GATEWAYS_UP,
    ): "Every gateway answers all nodes that probe it.",
    (
        ConditionType.GATEWAYS_HEALTHY,
        ConditionStatus.FALSE,
        ConditionReason.GATEWAYS_DOWN,
    ): "Some gateways do not answer some nodes; `status.gateways` has the numbers.",
    (
        ConditionType.GATEWAYS_HEALTHY,
        ConditionStatus.UNKNOWN,
        ConditionReason.NOT_PROBED,
    ): "No node has told of any gateway yet.",
}


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
