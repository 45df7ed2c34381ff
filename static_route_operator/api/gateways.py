"""Gateways of a StaticRoute, and the policy for nodes on which all of them are down.

The schema of the CRD refuses the same values at `kubectl apply`; a test compares the two.
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from static_route_operator.api.addresses import parse_gateway
from static_route_operator.api.fields import Fields
from static_route_operator.api.nodeselector import NodeSelector, parse_node_selector
from static_route_operator.routing.prefixes import unpack_address

MAX_GATEWAYS = 32
# Largest weight that the kernel takes; 0 drains a gateway.
MAX_WEIGHT = 256
MAX_GATEWAY_PRIORITY = 1000
DEFAULT_WEIGHT = 1
DEFAULT_GATEWAY_PRIORITY = 0

# Characters of an interface's longest alternative name (ALTIFNAMSIZ of linux/if.h); its name has at most 15.
MAX_INTERFACE_LENGTH = 127
# Interface names that the kernel accepts (dev_valid_name).
INTERFACE = rf"^[^/\s:]{{1,{MAX_INTERFACE_LENGTH}}}$"


class WhenAllDown(enum.StrEnum):
    """Policy for the routes on a node that can use none of the gateways."""

    KEEP = "Keep"
    WITHDRAW = "Withdraw"
    BLACKHOLE = "Blackhole"


@dataclass(frozen=True, slots=True)
class Gateway:
    """A gateway that a StaticRoute may use.

    Attributes:
        address: packed.
        weight: share of the traffic, relative to gateways of the same priority; 0 drains the gateway.
        priority: lower first; a gateway stands by while any gateway of a lower priority can be used.
        interface: a name of the output interface; empty to find it by the node's subnets.
        node_selector: nodes that may use the gateway; None means every node that the StaticRoute selects.
    """

    address: bytes
    weight: int = DEFAULT_WEIGHT
    priority: int = DEFAULT_GATEWAY_PRIORITY
    interface: str = ""
    node_selector: NodeSelector | None = None

    @property
    def text(self) -> str:
        """The address as text."""
        return unpack_address(self.address)


def parse_gateways(name: str, spec: Mapping[str, Any]) -> tuple[Gateway, ...]:
    """Read ``spec.gateway`` or ``spec.gateways``: at least one gateway, each once, of one address family.

    Raises:
        InvalidSpecError: one of the gateways cannot be used. Leaving it out would shift its traffic to the others.
    """
    fields = Fields(name, "", spec)
    address, many = fields.parse("gateway", parse_gateway), fields.get("gateways")
    if address is not None and many is not None:
        raise fields.error("gateways", "cannot be combined with spec.gateway; set one of them")
    if many is None:
        if address is None:
            raise fields.error("gateway", "is missing; set the IP address of the gateway")
        return (Gateway(address),)
    if not isinstance(many, list) or not 0 < len(many) <= MAX_GATEWAYS:
        raise fields.error("gateways", f"must be a list of 1 to {MAX_GATEWAYS} gateways")
    found = tuple(_gateway(Fields(name, f"gateways[{index}]", entry)) for index, entry in enumerate(many))
    for index, gateway in enumerate(found):
        if len(gateway.address) != len(found[0].address):
            problem = f"'{gateway.text}' is not of the address family of gateway {found[0].text}"
            raise fields.error(f"gateways[{index}].address", problem)
        if gateway.address in [each.address for each in found[:index]]:
            raise fields.error(f"gateways[{index}].address", f"'{gateway.text}' is listed twice")
    return found


def parse_when_all_down(name: str, spec: Mapping[str, Any]) -> WhenAllDown:
    """Read ``spec.whenAllGatewaysDown``.

    Raises:
        InvalidSpecError: the value is not one of `WhenAllDown`.
    """
    choices = [each.value for each in WhenAllDown]
    return WhenAllDown(Fields(name, "", spec).choice("whenAllGatewaysDown", choices, WhenAllDown.KEEP.value))


def _gateway(fields: Fields) -> Gateway:
    weight = fields.number("weight", 0, MAX_WEIGHT)
    return Gateway(
        address=fields.parse_value("address", fields.get("address"), parse_gateway),
        weight=DEFAULT_WEIGHT if weight is None else weight,
        priority=fields.number("priority", 0, MAX_GATEWAY_PRIORITY) or DEFAULT_GATEWAY_PRIORITY,
        interface=fields.text("interface", INTERFACE, MAX_INTERFACE_LENGTH, "the name of an interface") or "",
        node_selector=fields.parse("nodeSelector", parse_node_selector),
    )
