"""What one node says of one StaticRoute: the row of a node's state, its states and its reasons.

The reasons are the one documented list that rows, events and conditions use; users may match on them, so they never
change their meaning.
"""

import enum
from dataclasses import dataclass


class RowState(enum.StrEnum):
    """What became of a StaticRoute on a node. Where its destinations differ, the worst is shown (later is worse)."""

    PROGRAMMED = "Programmed"
    STANDBY = "Standby"
    PENDING = "Pending"
    CONFLICT = "Conflict"
    REFUSED = "Refused"
    FAILED = "Failed"


class Reason(enum.StrEnum):
    """Why."""

    PROGRAMMED = "Programmed"  # every destination is in the kernel
    ANOTHER_WINS = "AnotherStaticRouteWins"  # another object has precedence for some destinations
    PENDING = "Pending"  # not tried yet, or the node's own labels are not known yet
    FOREIGN_ROUTE = "ForeignRoute"  # a route that is not ours holds the destination
    INVALID_SPEC = "InvalidSpec"  # can't be used at all; the last good version stays in force
    INVALID_DESTINATION = "InvalidDestination"  # some destinations can never be routed
    PROTECTED_DESTINATION = "ProtectedDestination"  # some destinations would cut this node off
    GATEWAY_IS_THIS_NODE = "GatewayIsThisNode"
    GATEWAY_UNREACHABLE = "GatewayUnreachable"  # not on a subnet of this node that is up
    KERNEL_REFUSED = "KernelRefused"  # the message has the kernel's own words


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
        destinations: how many its spec names, equal ones counted once.
        programmed: how many of these are in this node's kernel.
    """

    name: str
    generation: int
    gateway: str
    state: RowState
    reason: Reason
    message: str
    destinations: int
    programmed: int
