"""The gateways of a StaticRoute, how they are checked, and what is done when none is left.

The CRD's schema (``crd.py``) refuses the same at `kubectl apply`; a test holds the two against each other.
"""

import enum
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from static_route_operator.api.destinations import parse_gateway
from static_route_operator.api.nodeselector import NodeSelector, parse_node_selector
from static_route_operator.checks import Check, CheckType
from static_route_operator.errors import InvalidPrefixError, InvalidSpecError
from static_route_operator.prefixes import unpack_address

MAX_GATEWAYS = 32
# As many as the kernel takes; 0 drains.
MAX_WEIGHT = 256
MAX_GATEWAY_PRIORITY = 1000
DEFAULT_WEIGHT = 1
DEFAULT_GATEWAY_PRIORITY = 0

# IFNAMSIZ of linux/if.h, and what the kernel refuses in a name.
INTERFACE = r"^[^/\s:]{1,15}$"

# As Go writes and Kubernetes reads them, without signs and without parts of a millisecond.
DURATION = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$"
MAX_DURATION_LENGTH = 32
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}

# Bounds of the timers in the words of the API, and in seconds.
INTERVALS = ("10ms", "1h")
TIMEOUTS = ("1ms", "1m")
MAX_THRESHOLD = 100
DEFAULT_INTERVAL = "1s"
DEFAULT_FAILURE_THRESHOLD = 3
DEFAULT_SUCCESS_THRESHOLD = 2

# Visible ASCII only: it stands in a request line as it is.
HTTP_PATH = r"^/[!-~]*$"
MAX_PATH_LENGTH = 1024
DEFAULT_PATH = "/"


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
    found = tuple(_gateway(_Fields(name, f"gateways[{index}]", entry)) for index, entry in enumerate(many))
    for index, gateway in enumerate(found):
        if len(gateway.address) != len(found[0].address):
            problem = f"'{gateway.text}' is not of the address family of gateway {found[0].text}"
            raise InvalidSpecError(name, f"spec.gateways[{index}].address", problem)
        if gateway.address in [each.address for each in found[:index]]:
            raise InvalidSpecError(name, f"spec.gateways[{index}].address", f"'{gateway.text}' is there twice")
    return found


def parse_check(name: str, spec: Mapping[str, Any]) -> Check | None:
    """Read ``spec.healthCheck``; None when there is none.

    Raises:
        InvalidSpecError: a field of it can't be used.
    """
    if (value := spec.get("healthCheck")) is None:
        return None
    fields = _Fields(name, "healthCheck", value)
    kind = CheckType(fields.choice("type", [each.value for each in CheckType], CheckType.ICMP.value))
    port = fields.number("port", 1, 65_535)
    path = fields.text("path", HTTP_PATH, MAX_PATH_LENGTH, "a path that starts with /, without spaces")
    if kind is CheckType.ICMP and port is not None:
        raise fields.error("port", "is not for ICMP; set type to TCP or HTTP")
    if kind is not CheckType.ICMP and port is None:
        raise fields.error("port", f"is missing; {kind.value} needs one")
    if kind is not CheckType.HTTP and path is not None:
        raise fields.error("path", "is for HTTP only")
    return Check(
        type=kind,
        port=port or 0,
        path=path or DEFAULT_PATH,
        interval=fields.duration("interval", INTERVALS) or seconds(DEFAULT_INTERVAL),
        timeout=fields.duration("timeout", TIMEOUTS),
        failure_threshold=fields.number("failureThreshold", 1, MAX_THRESHOLD) or DEFAULT_FAILURE_THRESHOLD,
        success_threshold=fields.number("successThreshold", 1, MAX_THRESHOLD) or DEFAULT_SUCCESS_THRESHOLD,
    )


def parse_when_all_down(name: str, spec: Mapping[str, Any]) -> WhenAllDown:
    """Read ``spec.whenAllGatewaysDown``.

    Raises:
        InvalidSpecError: it is none of the known ones.
    """
    fields = _Fields(name, "", spec)
    choices = [each.value for each in WhenAllDown]
    return WhenAllDown(fields.choice("whenAllGatewaysDown", choices, WhenAllDown.KEEP.value))


def seconds(text: str) -> float:
    """The length of a duration that `DURATION` matches."""
    return sum(float(number) * _UNITS[unit] for number, unit in re.findall(r"([0-9.]+)(ms|s|m|h)", text))


def _gateway(fields: "_Fields") -> Gateway:
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


class _Fields:
    """Reads the fields of one object within a spec; one that is null is as if it were absent."""

    def __init__(self, name: str, where: str, value: object) -> None:
        self._name = name
        self._where = f"spec.{where}" if where else "spec"
        if not isinstance(value, Mapping):
            raise InvalidSpecError(name, self._where, f"'{value}' is not an object with fields")
        self._value = value

    def get(self, field: str) -> Any:
        """The field as it stands."""
        return self._value.get(field)

    def number(self, field: str, least: int, most: int) -> int | None:
        """A whole number."""
        value = self.get(field)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int):
            raise self.error(field, f"'{value}' is not a whole number")
        if not least <= value <= most:
            raise self.error(field, f"{value} is not from {least} to {most}")
        return value

    def text(self, field: str, pattern: str, longest: int, what: str) -> str | None:
        """A text of some form."""
        value = self.get(field)
        if value is None:
            return None
        if not isinstance(value, str) or len(value) > longest or not re.fullmatch(pattern, value):
            raise self.error(field, f"'{value}' is not {what}")
        return value

    def choice(self, field: str, choices: Sequence[str], default: str) -> str:
        """One of some words."""
        value = self.get(field)
        if value is None:
            return default
        if value not in choices:
            raise self.error(field, f"'{value}' is not one of {', '.join(choices)}")
        return str(value)

    def duration(self, field: str, bounds: tuple[str, str]) -> float | None:
        """A duration in seconds."""
        text = self.text(field, DURATION, MAX_DURATION_LENGTH, "a duration such as 100ms or 2s")
        if text is None:
            return None
        least, most = bounds
        if not seconds(least) <= (length := seconds(text)) <= seconds(most):
            raise self.error(field, f"'{text}' is not from {least} to {most}")
        return length

    def error(self, field: str, problem: str) -> InvalidSpecError:
        """What is wrong with a field."""
        return InvalidSpecError(self._name, f"{self._where}.{field}", problem)
