"""Health checks of gateways."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from static_route_operator.api.fields import Fields, seconds

# Seconds. Shorter intervals measure the scheduler rather than the gateway.
MIN_INTERVAL = 0.01


class CheckType(enum.Enum):
    """Protocol of a probe."""

    ICMP = "ICMP"
    TCP = "TCP"
    HTTP = "HTTP"


@dataclass(frozen=True, slots=True)
class Check:
    """The health check of a gateway.

    Attributes:
        type: an echo request, a TCP handshake, or an HTTP GET that must be answered with a status of 200 to 399.
        port: of TCP and HTTP checks.
        path: of HTTP checks.
        interval: maximum number of seconds between probes, which are jittered.
        timeout: seconds to wait for the answer to a probe; None to learn the time from the round trips.
        failure_threshold: lost probes in a row that make a gateway down.
        success_threshold: answered probes in a row that bring a gateway up again.

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
        if self.interval < MIN_INTERVAL:
            raise ValueError(f"the interval must be at least {MIN_INTERVAL:g} s, not {self.interval:g} s")
        if self.timeout is not None and self.timeout <= 0:
            raise ValueError(f"the timeout must be positive, not {self.timeout:g} s")
        if self.failure_threshold < 1 or self.success_threshold < 1:
            raise ValueError("the thresholds must be at least 1")


# Shortest and longest durations that the API accepts.
INTERVALS = ("10ms", "1h")
TIMEOUTS = ("1ms", "1m")
MAX_THRESHOLD = 100
DEFAULT_INTERVAL = "1s"
DEFAULT_FAILURE_THRESHOLD = 3
DEFAULT_SUCCESS_THRESHOLD = 2

# Visible ASCII only, since the path is copied into the request line.
HTTP_PATH = r"^/[!-~]*$"
MAX_PATH_LENGTH = 1024
DEFAULT_PATH = "/"


def parse_check(name: str, spec: Mapping[str, Any]) -> Check | None:
    """Read ``spec.healthCheck``; return None if absent.

    Raises:
        InvalidSpecError: a field has an invalid value.
    """
    if (value := spec.get("healthCheck")) is None:
        return None
    fields = Fields(name, "healthCheck", value)
    kind = CheckType(fields.choice("type", [each.value for each in CheckType], CheckType.ICMP.value))
    port = fields.number("port", 1, 65_535)
    path = fields.text("path", HTTP_PATH, MAX_PATH_LENGTH, "a path that starts with /, without spaces")
    if kind is CheckType.ICMP and port is not None:
        raise fields.error("port", "may be set only for TCP and HTTP")
    if kind is not CheckType.ICMP and port is None:
        raise fields.error("port", f"is missing; {kind.value} needs a port")
    if kind is not CheckType.HTTP and path is not None:
        raise fields.error("path", "may be set only for HTTP")
    return Check(
        type=kind,
        port=port or 0,
        path=path or DEFAULT_PATH,
        interval=fields.duration("interval", INTERVALS) or seconds(DEFAULT_INTERVAL),
        timeout=fields.duration("timeout", TIMEOUTS),
        failure_threshold=fields.number("failureThreshold", 1, MAX_THRESHOLD) or DEFAULT_FAILURE_THRESHOLD,
        success_threshold=fields.number("successThreshold", 1, MAX_THRESHOLD) or DEFAULT_SUCCESS_THRESHOLD,
    )
