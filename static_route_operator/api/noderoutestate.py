"""What one node says of the StaticRoutes that select it: its NodeRouteState, with a row for each.

The reasons are the one documented list that rows, events and conditions use; users may match on them, so they never
change their meaning.
"""

import datetime as dt
import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from static_route_operator.api import GROUP, VERSION

KIND: Final = "NodeRouteState"
PLURAL: Final = "noderoutestates"

# Characters of a row's message: with 200 rows that fail the object is still far below etcd's 1.5 MiB.
MAX_MESSAGE_LENGTH: Final = 1024
_CUT = "…"


class RowState(enum.StrEnum):
    """What became of a StaticRoute on a node. Where its destinations differ, the worst is shown (later is worse)."""

    PROGRAMMED = "Programmed"
    STANDBY = "Standby"
    DRY_RUN = "DryRun"
    PENDING = "Pending"
    CONFLICT = "Conflict"
    REFUSED = "Refused"
    FAILED = "Failed"


GOOD_STATES: Final = frozenset({RowState.PROGRAMMED, RowState.STANDBY})

# The place of each state in the order of `RowState`: higher is worse.
SEVERITY: Final = {state: severity for severity, state in enumerate(RowState)}
BAD_STATES: Final = frozenset({RowState.CONFLICT, RowState.REFUSED, RowState.FAILED})


class Reason(enum.StrEnum):
    """Why, in one word; `MEANINGS` has the words for people."""

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
    SOURCE_NOT_ON_NODE = "SourceNotOnNode"
    KEEPS_BEING_REMOVED = "KeepsBeingRemoved"
    KERNEL_REFUSED = "KernelRefused"
    AWAITING_CONFIRMATION = "AwaitingConfirmation"
    ROLLED_BACK = "RolledBack"


# The reference page of the docs is made from this.
MEANINGS: Mapping[Reason, str] = {
    Reason.PROGRAMMED: "Every destination is in the kernel.",
    Reason.ANOTHER_WINS: "Another object has precedence for some destinations.",
    Reason.PENDING: "Not tried yet, or the node's own labels are not known yet.",
    Reason.FOREIGN_ROUTE: "A route that is not ours holds the destination.",
    Reason.INVALID_SPEC: "The object can't be used at all; the last good version stays in force.",
    Reason.INVALID_DESTINATION: "Some destinations can never be routed.",
    Reason.PROTECTED_DESTINATION: "Some destinations would cut this node off.",
    Reason.GATEWAY_IS_THIS_NODE: "The gateway is an address of the node itself.",
    Reason.GATEWAY_UNREACHABLE: "The gateway is not on a subnet of this node that is up.",
    Reason.NO_GATEWAY: "No gateway's nodeSelector matches this node.",
    Reason.ALL_GATEWAYS_DOWN: "No gateway can be used: they are down, drained or not reachable from here.",
    Reason.GATEWAYS_NOT_USED: "Every destination is in the kernel, but some gateways are down or drained.",
    Reason.SOURCE_NOT_ON_NODE: "The source is not an address of this node.",
    Reason.KEEPS_BEING_REMOVED: "Another program takes routes away again and again; the message has who.",
    Reason.KERNEL_REFUSED: "The message has the kernel's own words.",
    Reason.AWAITING_CONFIRMATION: "Installed; the node checks that it still reaches what it must.",
    Reason.ROLLED_BACK: "Rolled back on this node because it broke connectivity; the message names what was lost.",
}


@dataclass(frozen=True, slots=True)
class Row:
    """One StaticRoute on one node.

    Attributes:
        name: the StaticRoute.
        generation: the generation of its spec that this is about.
        gateway: address, as text.
        state: see `RowState`.
        reason: see `Reason`.
        message: for people: what is wrong, with the kernel's own text where it refused; empty when all is well.
        destinations: how many its spec names, equal ones counted once, in the parts that excludes leave.
        programmed: how many of these are in this node's kernel.
        up: addresses of its gateways that answer here; none while they are not checked.
        down: addresses of those that do not.
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
        """As it stands in the object; a long message is cut."""
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


# With these a dry run ends well: each is of a good state.
GOOD_REASONS: Final = frozenset({Reason.PROGRAMMED, Reason.ANOTHER_WINS, Reason.GATEWAYS_NOT_USED})


@dataclass(frozen=True, slots=True)
class GatewayRow:
    """The health of a gateway as a node sees it: what stays the same while nothing changes, so no times.

    Attributes:
        address: as text.
        interface: name.
        check: how it is checked, in words.
        state: see `GatewayState` of `checks`.
        since: when it came to be so, in Unix time.
    """

    address: str
    interface: str
    check: str
    state: str
    since: int

    def to_json(self) -> dict[str, Any]:
        """As it stands in the object."""
        return {
            "address": self.address,
            "interface": self.interface,
            "check": self.check,
            "state": self.state,
            "since": dt.datetime.fromtimestamp(self.since, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        }


@dataclass(frozen=True, slots=True)
class NodeRouteState:
    """All that a node says.

    Attributes:
        node: the node's name, and so the object's.
        node_uid: a node that comes again under its name has another one.
        rows: one for each StaticRoute that selects the node, by name.
        gateways: those that the node probes.
    """

    node: str
    node_uid: str
    rows: tuple[Row, ...]
    gateways: tuple[GatewayRow, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The object as a manifest, owned by its Node so that it goes with it."""
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
    """What is known of a gateway."""

    UNKNOWN = "Unknown"
    UP = "Up"
    DOWN = "Down"
