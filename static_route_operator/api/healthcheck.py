"""Health checks of gateways, as a spec describes them."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from static_route_operator.api.fields import Fields, seconds

# More often than this a probe says more about the scheduler than about the gateway. Seconds.
LEAST_INTERVAL = 0.01


class CheckType(enum.Enum):
    """How a gateway is asked."""

    ICMP = "ICMP"
    TCP = "TCP"
    HTTP = "HTTP"


@dataclass(frozen=True, slots=True)
class Check:
    """How a gateway is checked.

    Attributes:
        type: an echo request, a TCP handshake, or an HTTP GET that must be answered with a status of 200 to 399.
        port: of TCP and HTTP.
        path: of HTTP.
        interval: seconds between probes, at most (they are jittered).
        timeout: seconds within which a probe must be answered; None to learn it from the round-trip times.
        failure_threshold: so many probes in a row must be lost for a gateway to be down.
        success_threshold: so many in a row must be answered for it to be up again.

    Raises:
        ValueError: a value is out of range.
    """

    type: CheckType = CheckType.ICMP
    port: int = 0
    path: str = "/"
    interval: float = 1.0
    timeout: float | None = None
    failure_threshold: int = 3
    success_threshold: int = 2

    def __str__(self) -> str:
        port = f" {self.port}" if self.port else ""
        path = f" {self.path}" if self.type is CheckType.HTTP else ""
        return f"{self.type.value}{port}{path} every {self.interval:g} s"

    def __post_init__(self) -> None:
        if self.type is not CheckType.ICMP and not 0 < self.port < 1 << 16:
            raise ValueError(f"a {self.type.value} check needs a port from 1 to 65535, not {self.port}")
        if self.interval < LEAST_INTERVAL:
            raise ValueError(f"the interval must be at least {LEAST_INTERVAL:g} s, not {self.interval:g} s")
        if self.timeout is not None and self.timeout <= 0:
            raise ValueError(f"the timeout must be positive, not {self.timeout:g} s")
        if self.failure_threshold < 1 or self.success_threshold < 1:
            raise ValueError("the thresholds must be at least 1")


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


def parse_check(name: str, spec: Mapping[str, Any]) -> Check | None:
    """Read ``spec.healthCheck``; None when there is none.

    Raises:
        InvalidSpecError: a field of it can't be used.
    """
    if (value := spec.get("healthCheck")) is None:
        return None
    fields = Fields(name, "healthCheck", value)
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
