"""The gateways of a StaticRoute, how they are checked, and what is done when none is left.

The CRD's schema (``crd.py``) refuses the same at `kubectl apply`; a test holds the two against each other.
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from static_route_operator.api.addresses import parse_gateway
from static_route_operator.api.fields import Fields
from static_route_operator.api.nodeselector import NodeSelector, parse_node_selector
from static_route_operator.errors import InvalidPrefixError, InvalidSpecError
from static_route_operator.routing.prefixes import unpack_address

MAX_GATEWAYS = 32
# As many as the kernel takes; 0 drains.
MAX_WEIGHT = 256
MAX_GATEWAY_PRIORITY = 1000
DEFAULT_WEIGHT = 1
DEFAULT_GATEWAY_PRIORITY = 0

# IFNAMSIZ of linux/if.h, and what the kernel refuses in a name.
INTERFACE = r"^[^/\s:]{1,15}$"


class WhenAllDown(enum.StrEnum):
    """What is done with the routes on a node on which no gateway can be used."""

    KEEP = "Keep"
    WITHDRAW = "Withdraw"
    BLACKHOLE = "Blackhole"


@dataclass(frozen=True, slots=True)
class Gateway:
    """A gateway that a StaticRoute may use.

    Attributes:
        address: packed.
        weight: its share of the traffic beside others of the same priority; 0 for none.
        priority: a gateway is used only while none of a lower one can be.
        interface: name of the interface it is on; empty to go by the node's subnets.
        node_selector: the nodes it is for; None means every node that the StaticRoute is for.
    """

    address: bytes
    weight: int = DEFAULT_WEIGHT
    priority: int = DEFAULT_GATEWAY_PRIORITY
    interface: str = ""
    node_selector: NodeSelector | None = None

    @property
    def text(self) -> str:
        """Its address."""
        return unpack_address(self.address)


def parse_gateways(name: str, spec: Mapping[str, Any]) -> tuple[Gateway, ...]:
    """Read ``spec.gateway`` or ``spec.gateways``: at least one gateway, each once, of one address family.

    Raises:
        InvalidSpecError: one of them can't be used. All are needed: to leave one out would shift its traffic.
    """
    one, many = spec.get("gateway"), spec.get("gateways")
    if one is not None and many is not None:
        raise InvalidSpecError(name, "spec.gateways", "is there beside spec.gateway; name the gateways in one of them")
    if many is None:
        if one is None:
            raise InvalidSpecError(name, "spec.gateway", "is missing; name the gateway's IP address")
        try:
            return (Gateway(parse_gateway(one)),)
        except InvalidPrefixError as error:
            raise InvalidSpecError(name, "spec.gateway", str(error)) from None
    if not isinstance(many, list) or not 0 < len(many) <= MAX_GATEWAYS:
        raise InvalidSpecError(name, "spec.gateways", f"must be a list of 1 to {MAX_GATEWAYS} gateways")
    found = tuple(_gateway(Fields(name, f"gateways[{index}]", entry)) for index, entry in enumerate(many))
    for index, gateway in enumerate(found):
        if len(gateway.address) != len(found[0].address):
            problem = f"'{gateway.text}' is not of the address family of gateway {found[0].text}"
            raise InvalidSpecError(name, f"spec.gateways[{index}].address", problem)
        if gateway.address in [each.address for each in found[:index]]:
            raise InvalidSpecError(name, f"spec.gateways[{index}].address", f"'{gateway.text}' is there twice")
    return found


def parse_when_all_down(name: str, spec: Mapping[str, Any]) -> WhenAllDown:
    """Read ``spec.whenAllGatewaysDown``.

    Raises:
        InvalidSpecError: it is none of the known ones.
    """
    fields = Fields(name, "", spec)
    choices = [each.value for each in WhenAllDown]
    return WhenAllDown(fields.choice("whenAllGatewaysDown", choices, WhenAllDown.KEEP.value))


def _gateway(fields: "Fields") -> Gateway:
    try:
        address = parse_gateway(fields.get("address"))
    except InvalidPrefixError as error:
        raise fields.error("address", str(error)) from None
    selector = None
    if (value := fields.get("nodeSelector")) is not None:
        try:
            selector = parse_node_selector(value)
        except ValueError as error:
            raise fields.error("nodeSelector", str(error)) from None
    weight = fields.number("weight", 0, MAX_WEIGHT)
    return Gateway(
        address=address,
        weight=DEFAULT_WEIGHT if weight is None else weight,
        priority=fields.number("priority", 0, MAX_GATEWAY_PRIORITY) or DEFAULT_GATEWAY_PRIORITY,
        interface=fields.text("interface", INTERFACE, 15, "the name of an interface") or "",
        node_selector=selector,
    )
