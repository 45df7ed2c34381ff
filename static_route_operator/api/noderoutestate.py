"""NodeRouteState: the report of one node, with a row for each StaticRoute that selects the node.

Rows, Events and conditions share the reasons. Users match on reasons, so their meanings are stable.
"""

import datetime as dt
import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from static_route_operator.api import GROUP, VERSION

KIND: Final = "NodeRouteState"
PLURAL: Final = "noderoutestates"

# Characters per message of a row. With 200 failing rows the object stays far below the 1.5 MiB that etcd accepts.
MAX_MESSAGE_LENGTH: Final = 1024
_CUT = "…"


class RowState(enum.StrEnum):
    """The state of a StaticRoute on a node: that of its worst destination. Later members are worse."""

    PROGRAMMED = "Programmed"
    STANDBY = "Standby"
    DRY_RUN = "DryRun"
    PENDING = "Pending"
    CONFLICT = "Conflict"
    REFUSED = "Refused"
    FAILED = "Failed"


GOOD_STATES: Final = frozenset({RowState.PROGRAMMED, RowState.STANDBY})

# Position of each state in `RowState`: higher is worse.
SEVERITY: Final = {state: severity for severity, state in enumerate(RowState)}
BAD_STATES: Final = frozenset({RowState.CONFLICT, RowState.REFUSED, RowState.FAILED})


def utc(seconds: float) -> str:
    """Return a Unix time as the API has it."""
    return dt.datetime.fromtimestamp(int(seconds), dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def severity(state: str) -> int:
    """Return the position of a state in text form. The state of another version counts as the worst."""
    return SEVERITY[RowState(state)] if state in set(RowState) else len(SEVERITY)


class Reason(enum.StrEnum):
    """The reason of a row's state; `MEANINGS` explains each."""

    PROGRAMMED = "Programmed"
    ANOTHER_WINS = "AnotherStaticRouteWins"
    PENDING = "Pending"
    FOREIGN_ROUTE = "ForeignRoute"
    INVALID_SPEC = "InvalidSpec"
    INVALID_DESTINATION = "InvalidDestination"
    PROTECTED_DESTINATION = "ProtectedDestination"
    GATEWAY_IS_THIS_NODE = "GatewayIsThisNode"
    GATEWAY_UNREACHABLE = "GatewayUnreachable"
    NO_GATEWAY = "NoGatewayForNode"
    ALL_GATEWAYS_DOWN = "AllGatewaysDown"
    GATEWAYS_NOT_USED = "GatewaysNotUsed"
    NEWLY_PROTECTED = "NewlyProtected"
    SOURCE_NOT_ON_NODE = "SourceNotOnNode"
    KEEPS_BEING_REMOVED = "KeepsBeingRemoved"
    KERNEL_REFUSED = "KernelRefused"
    RECONCILE_FAILED = "ReconcileFailed"
    INTERNAL_ERROR = "InternalError"
    AWAITING_CONFIRMATION = "AwaitingConfirmation"
    ROLLED_BACK = "RolledBack"


# Explanations for the reference page of the documentation.
MEANINGS: Mapping[Reason, str] = {
    Reason.PROGRAMMED: "The routes to all destinations are installed.",
    Reason.ANOTHER_WINS: "Another StaticRoute has precedence for some destinations.",
    Reason.PENDING: "The node has not tried yet, or its labels are not known yet.",
    Reason.FOREIGN_ROUTE: "A route of another program holds some destinations, or packets to them take such a route.",
    Reason.INVALID_SPEC: "The spec is invalid; the last valid version stays in force.",
    Reason.INVALID_DESTINATION: "Some destinations can never be routed.",
    Reason.PROTECTED_DESTINATION: "Routes to some destinations would cut off this node.",
    Reason.GATEWAY_IS_THIS_NODE: "The gateway is an address of the node itself; its routes are withdrawn.",
    Reason.GATEWAY_UNREACHABLE: "The gateway is not a neighbour of this node: it is on no subnet of an interface that"
    " works, or the node's route to it leads elsewhere.",
    Reason.NO_GATEWAY: "No gateway has a nodeSelector that matches this node.",
    Reason.ALL_GATEWAYS_DOWN: "No gateway can be used: all are down, drained or unreachable from this node.",
    Reason.GATEWAYS_NOT_USED: "The routes to all destinations are installed, but some gateways are down, drained,"
    " out of reach, or this node itself.",
    Reason.NEWLY_PROTECTED: "The routes to all destinations are installed, but some capture an address that has become"
    " known as one of the cluster; they stay for now.",
    Reason.SOURCE_NOT_ON_NODE: "The source is not an address of this node, or is one that another node has too.",
    Reason.KEEPS_BEING_REMOVED: "Another program keeps removing routes; the message names the program.",
    Reason.KERNEL_REFUSED: "The kernel refused some routes; the message has the kernel's error.",
    Reason.RECONCILE_FAILED: "The node can't bring any route up to date; the message has the error and since when. The"
    " routes stay as they are.",
    Reason.INTERNAL_ERROR: "A defect of this program prevents a plan for the StaticRoute; its routes stay as they are.",
    Reason.AWAITING_CONFIRMATION: "The routes are installed, and the node checks its connectivity before confirming"
    " the change.",
    Reason.ROLLED_BACK: "The node rolled back the change because it broke connectivity; the message names what became"
    " unreachable.",
}


@dataclass(frozen=True, slots=True)
class Row:
    """One StaticRoute on one node.

    Attributes:
        name: the StaticRoute.
        generation: of the spec that the row describes.
        gateway: address, as text.
        state: see `RowState`.
        reason: see `Reason`.
        message: the problem, for people, with the kernel's error if there is one; empty when there is no problem.
        destinations: number of distinct destinations after excludes.
        programmed: number of routes to these destinations that are installed.
        up: addresses of the gateways that are up on this node; empty without a health check.
        down: addresses of the gateways that are down on this node.
    """

    name: str
    generation: int
    gateway: str
    state: RowState
    reason: Reason
    message: str
    destinations: int
    programmed: int
    up: tuple[str, ...] = ()
    down: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the row as it stands in the object, with a long message cut."""
        gateways = {"gatewaysUp": list(self.up), "gatewaysDown": list(self.down)}
        message = self.message
        if len(message) > MAX_MESSAGE_LENGTH:
            message = message[: MAX_MESSAGE_LENGTH - len(_CUT)] + _CUT
        return {
            "name": self.name,
            "observedGeneration": self.generation,
            "state": self.state.value,
            "reason": self.reason.value,
            "message": message,
            "gateway": self.gateway,
            "destinations": self.destinations,
            "programmed": self.programmed,
            **{name: addresses for name, addresses in gateways.items() if addresses},
        }


# Reasons with which a dry run succeeds: those of the good states.
GOOD_REASONS: Final = frozenset(
    {Reason.PROGRAMMED, Reason.ANOTHER_WINS, Reason.GATEWAYS_NOT_USED, Reason.NEWLY_PROTECTED}
)


@dataclass(frozen=True, slots=True)
class GatewayRow:
    """The health of a gateway on a node.

    Round-trip times are left out: the object changes only when the state of the gateway does.

    Attributes:
        address: as text.
        interface: name.
        check: type, port and interval, for people.
        state: see `GatewayState`.
        since: time of the last change of state, in Unix time.
        held_until: time until which a gateway that failed again and again stays down even if it answers, in Unix time;
            0 without a hold-down.
    """

    address: str
    interface: str
    check: str
    state: str
    since: int
    held_until: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return the gateway as it stands in the object."""
        return {
            "address": self.address,
            "interface": self.interface,
            "check": self.check,
            "state": self.state,
            "since": utc(self.since),
            **({"heldUntil": utc(self.held_until)} if self.held_until else {}),
        }


@dataclass(frozen=True, slots=True)
class NodeRouteState:
    """The report of a node.

    Attributes:
        node: name of the node, and so of the object.
        node_uid: see `static_route_operator.api.nodeselector.Node`.
        rows: one for each StaticRoute that selects the node, by name.
        gateways: the gateways that the node probes.
    """

    node: str
    node_uid: str
    rows: tuple[Row, ...]
    gateways: tuple[GatewayRow, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the object as a manifest. Its Node owns it, so that Kubernetes deletes both together."""
        states = [row.state for row in self.rows]
        ready = sum(state in GOOD_STATES for state in states)
        return {
            "apiVersion": f"{GROUP}/{VERSION}",
            "kind": KIND,
            "metadata": {
                "name": self.node,
                "ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": self.node, "uid": self.node_uid}],
            },
            "status": {
                "summary": f"{ready}/{len(states)}",
                "staticRoutes": len(states),
                "ready": ready,
                "failed": sum(state in BAD_STATES for state in states),
                "routes": sum(row.programmed for row in self.rows),
                "rows": [row.to_json() for row in self.rows],
                **({"gateways": [each.to_json() for each in self.gateways]} if self.gateways else {}),
            },
        }


class GatewayState(enum.Enum):
    """The state of a gateway."""

    UNKNOWN = "Unknown"
    UP = "Up"
    DOWN = "Down"
