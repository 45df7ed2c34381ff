"""The parts of StaticRoutes, nodes and reports that a status needs."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from static_route_operator.api.clusteraddresses import NodeAddresses
from static_route_operator.api.conditions import (
    Condition,
    ConditionReason,
    ConditionStatus,
    ConditionType,
)
from static_route_operator.api.noderoutestate import Reason, RowState
from static_route_operator.api.nodeselector import Node, NodeSelector, selects
from static_route_operator.api.resolution import resolve
from static_route_operator.api.rollout import Rollout
from static_route_operator.api.staticroute import StaticRoute
from static_route_operator.errors import InvalidSpecError


class Report(NamedTuple):
    """A node's report on a StaticRoute.

    Attributes:
        generation: generation of the spec.
        state: see `RowState`.
        reason: see `Reason`.
        message: text for users; empty on success.
        up: addresses of the gateways that answer the node.
        down: addresses of the gateways that do not.
    """

    generation: int
    state: RowState
    reason: Reason
    message: str
    up: tuple[str, ...] = ()
    down: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NodeInfo:
    """A node of the cluster.

    Attributes:
        node: name and labels.
        uid: uid, which tells a node from an earlier one of the same name.
        ready: Ready in Kubernetes; a node without a Ready condition counts as Ready.
        addresses: addresses that no route may capture.
        not_ready_since: time at which the node became NotReady, RFC 3339; empty for a Ready node.
    """

    node: Node
    uid: str
    ready: bool
    addresses: NodeAddresses = field(default_factory=NodeAddresses)
    not_ready_since: str = ""

    @property
    def name(self) -> str:
        """Return the name of the node."""
        return self.node.name


@dataclass(frozen=True, slots=True)
class RouteSummary:
    """A StaticRoute without its destinations, so small whatever their number; a roll-up needs no more.

    Attributes:
        name: ``metadata.name``.
        uid: ``metadata.uid``.
        generation: ``metadata.generation``.
        routes: number of different destinations in the spec.
        accepted: the Accepted condition.
        selector: selector of the nodes; None for every node.
        gateways: addresses of the gateways.
        several: the spec has ``spec.gateways``, not ``spec.gateway``.
        checked: the gateways have a health check.
        rollout: stages in which a new generation reaches the nodes; None for all nodes at once.
        dry_run: nodes change nothing and report what they would change.
    """

    name: str
    uid: str
    generation: int
    routes: int
    accepted: Condition
    selector: NodeSelector | None = None
    gateways: tuple[str, ...] = ()
    several: bool = False
    checked: bool = False
    rollout: Rollout | None = None
    dry_run: bool = False

    @property
    def usable(self) -> bool:
        """Report whether any part of the spec is valid."""
        return self.accepted.reason is not ConditionReason.INVALID_SPEC

    def selects(self, node: NodeInfo) -> bool:
        """Report whether the StaticRoute selects a node."""
        return self.usable and selects(self.selector, node.node)

    @classmethod
    def parse(cls, body: Mapping[str, Any], rollout: Rollout | None = None) -> "RouteSummary":
        """Return the summary of an object, also if its spec is invalid.

        Args:
            body: the object.
            rollout: roll-out of an object without ``spec.rollout``.
        """
        metadata = body["metadata"]
        generation = metadata.get("generation") or 0
        try:
            resolved = resolve(StaticRoute.parse(body))
        except InvalidSpecError as error:
            accepted = accepted_condition(ConditionReason.INVALID_SPEC, f"{error.field}: {error.problem}")
            return cls(metadata["name"], metadata["uid"], generation, 0, accepted)
        route, refused = resolved.spec, resolved.refused
        if refused:
            message = f"{len(refused)} of {resolved.destinations} destinations can't be routed: {refused[0].problem}"
            accepted = accepted_condition(ConditionReason.INVALID_DESTINATIONS, message + more(len(refused) - 1))
        else:
            accepted = accepted_condition(ConditionReason.VALID, "the spec is valid")
        return cls(
            name=route.name,
            uid=route.uid,
            generation=generation,
            routes=resolved.destinations,
            accepted=accepted,
            selector=route.node_selector,
            gateways=tuple(each.text for each in resolved.gateways),
            several=body["spec"].get("gateway") is None,
            checked=route.check is not None,
            # A dry run changes nothing, so all nodes may start at once.
            rollout=None if route.dry_run else route.rollout or rollout,
            dry_run=route.dry_run,
        )


def accepted_condition(reason: ConditionReason, message: str) -> Condition:
    """Return the Accepted condition for a reason."""
    status = ConditionStatus.TRUE if reason is ConditionReason.VALID else ConditionStatus.FALSE
    return Condition(ConditionType.ACCEPTED, status, reason, message)


def more(number: int) -> str:
    """Return the words for a number of omitted names; empty for none."""
    return f" and {number} more" if number > 0 else ""
