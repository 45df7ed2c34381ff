"""The parts of StaticRoutes, nodes and reports that a status is made of."""

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
    """What a node says of a StaticRoute.

    Attributes:
        generation: the generation of the spec that this is about.
        state: see `RowState`.
        reason: see `Reason`.
        message: for people; empty when all is well.
        up: addresses of its gateways that answer there.
        down: addresses of those that do not.
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
        node: its name and labels.
        uid: a node that comes again under its name has another one.
        ready: whether Kubernetes takes it for ready; a node that nobody has judged counts as ready.
        addresses: which no route may capture.
        not_ready_since: when it ceased to be so, in RFC 3339; empty while it is.
    """

    node: Node
    uid: str
    ready: bool
    addresses: NodeAddresses = field(default_factory=NodeAddresses)
    not_ready_since: str = ""

    @property
    def name(self) -> str:
        """The node's name."""
        return self.node.name


@dataclass(frozen=True, slots=True)
class RouteSummary:
    """A StaticRoute without its destinations: all that a roll-up needs, and small however many they are.

    Attributes:
        name: ``metadata.name``.
        uid: ``metadata.uid``.
        generation: ``metadata.generation``.
        routes: how many destinations its spec names, equal ones counted once.
        accepted: whether its spec can be used.
        selector: the nodes it is for; None means every node.
        gateways: the addresses of its gateways.
        several: whether they are in ``spec.gateways``.
        checked: whether its gateways are checked.
        rollout: how a new generation reaches the nodes; None for all at once.
        dry_run: nodes do nothing, and tell what they would do.
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
        """Whether anything of its spec can be used."""
        return self.accepted.reason is not ConditionReason.INVALID_SPEC

    def selects(self, member: NodeInfo) -> bool:
        """Whether it is for a node."""
        return self.usable and selects(self.selector, member.node)

    @classmethod
    def parse(cls, body: Mapping[str, Any], rollout: Rollout | None = None) -> "RouteSummary":
        """Read an object as the API server sends it, whatever is wrong with its spec.

        Args:
            body: of the object.
            rollout: how it reaches the nodes if it does not say.
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
            accepted = accepted_condition(ConditionReason.VALID, "the spec can be used")
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
            # What does nothing needs no care.
            rollout=None if route.dry_run else route.rollout or rollout,
            dry_run=route.dry_run,
        )


def accepted_condition(reason: ConditionReason, message: str) -> Condition:
    """Return the Accepted condition for a reason."""
    status = ConditionStatus.TRUE if reason is ConditionReason.VALID else ConditionStatus.FALSE
    return Condition(ConditionType.ACCEPTED, status, reason, message)


def more(number: int) -> str:
    """Return the words for a number of things that are left out; empty for none."""
    return f" and {number} more" if number > 0 else ""
