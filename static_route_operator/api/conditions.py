"""Conditions of a StaticRoute and their reasons.

Users wait for conditions and match on reasons, so their meanings are stable.
"""

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


class ConditionType(enum.StrEnum):
    """A type of condition."""

    ACCEPTED = "Accepted"  # the spec is valid
    GATEWAYS_HEALTHY = "GatewaysHealthy"  # all checked gateways are up; absent without a health check
    READY = "Ready"  # every selected node has installed all routes, or is standby for another StaticRoute


class ConditionStatus(enum.StrEnum):
    """The status of a condition."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class ConditionReason(enum.StrEnum):
    """The reason of a condition's status; `MEANINGS` explains each."""

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


# Explanations for the reference page of the documentation.
MEANINGS: Mapping[tuple[ConditionType, ConditionStatus, ConditionReason], str] = {
    (ConditionType.ACCEPTED, ConditionStatus.TRUE, ConditionReason.VALID): "The spec is valid.",
    (
        ConditionType.ACCEPTED,
        ConditionStatus.FALSE,
        ConditionReason.INVALID_DESTINATIONS,
    ): "Some destinations can never be routed; the others are routed.",
    (
        ConditionType.ACCEPTED,
        ConditionStatus.FALSE,
        ConditionReason.INVALID_SPEC,
    ): "The spec is invalid; nodes keep the last valid version.",
    (
        ConditionType.READY,
        ConditionStatus.TRUE,
        ConditionReason.ALL_NODES_READY,
    ): "Every selected node has installed all routes, or is standby for another StaticRoute.",
    (
        ConditionType.READY,
        ConditionStatus.FALSE,
        ConditionReason.DRY_RUN,
    ): "With `spec.dryRun` nodes change no routes; READY counts the nodes that could install all of them.",
    (
        ConditionType.READY,
        ConditionStatus.FALSE,
        ConditionReason.ROLLING_OUT,
    ): "Some nodes have not reported on this generation yet, and no node fails.",
    (
        ConditionType.READY,
        ConditionStatus.FALSE,
        ConditionReason.ROLLOUT_PAUSED,
    ): "Some nodes fail with the new generation; the other nodes keep the generation that they have (`spec.rollout`).",
    (
        ConditionType.READY,
        ConditionStatus.FALSE,
        ConditionReason.NODES_FAILING,
    ): "Some nodes cannot install all routes; `status.failingNodes` lists the worst, with their messages.",
    (
        ConditionType.READY,
        ConditionStatus.UNKNOWN,
        ConditionReason.NODES_NOT_READY,
    ): "All Ready nodes have the routes; the state of the nodes that are NotReady in Kubernetes is unknown.",
    (
        ConditionType.READY,
        ConditionStatus.FALSE,
        ConditionReason.NO_NODES_SELECTED,
    ): "No node matches `spec.nodeSelector`, or the cluster has no nodes.",
    (
        ConditionType.READY,
        ConditionStatus.FALSE,
        ConditionReason.INVALID_SPEC,
    ): "The spec is invalid; the condition Accepted has the error.",
    (
        ConditionType.GATEWAYS_HEALTHY,
        ConditionStatus.TRUE,
        ConditionReason.ALL_GATEWAYS_UP,
    ): "Every gateway is up on all nodes that probe it.",
    (
        ConditionType.GATEWAYS_HEALTHY,
        ConditionStatus.FALSE,
        ConditionReason.GATEWAYS_DOWN,
    ): "Some gateways are down on some nodes; `status.gateways` has the numbers.",
    (
        ConditionType.GATEWAYS_HEALTHY,
        ConditionStatus.UNKNOWN,
        ConditionReason.NOT_PROBED,
    ): "No node has reported on any gateway yet.",
}


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition, without its times.

    Attributes:
        reason: for programs.
        message: for people.
    """

    type: ConditionType
    status: ConditionStatus
    reason: ConditionReason
    message: str


def find_condition(status: Mapping[str, Any], kind: ConditionType) -> Mapping[str, Any]:
    """Return a condition of an object's status; empty if the status has no such condition or is malformed."""
    conditions = status.get("conditions")
    found: Iterable[Any] = conditions if isinstance(conditions, list) else ()
    return next((each for each in found if isinstance(each, Mapping) and each.get("type") == kind), {})
