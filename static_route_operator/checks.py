"""What is probed and how, and what came of it: values only."""

import enum
import socket
from dataclasses import dataclass

from static_route_operator.prefixes import family_of, unpack_address

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


@dataclass(frozen=True, slots=True)
class Target:
    """What one prober probes, however many objects want it.

    Attributes:
        gateway: packed address.
        interface: index of the interface by which routes through the gateway go.
        check: how.
    """

    gateway: bytes
    interface: int
    check: Check

    @property
    def family(self) -> socket.AddressFamily:
        """The address family of the gateway."""
        return family_of(self.gateway)

    @property
    def address(self) -> str:
        """The text of the gateway's address."""
        return unpack_address(self.gateway)


class State(enum.Enum):
    """What is known of a gateway."""

    UNKNOWN = "Unknown"
    UP = "Up"
    DOWN = "Down"


@dataclass(frozen=True, slots=True)
class Health:
    """The health of one target.

    Attributes:
        state: unknown until the first verdict.
        since: when it came to be so, in seconds since the epoch; 0 for what is not probed.
        rtt: the last round-trip time in seconds; None until the first answer. For HTTP, the whole exchange.
        smoothed_rtt: a moving average of the same since the gateway came up; None until a few answers have come.
        sent: probes that were sent and judged.
        lost: those of them that were not answered as they should, in time.
        flaps: how often it went from up to down.
        reason: of the last loss, in words; of state UNKNOWN, why it can't be probed; empty for none.
        held: seconds for which a gateway that is down is not let up again yet, because it flaps.
    """

    state: State = State.UNKNOWN
    since: float = 0.0
    rtt: float | None = None
    smoothed_rtt: float | None = None
    sent: int = 0
    lost: int = 0
    flaps: int = 0
    reason: str = ""
    held: float = 0.0

    @property
    def usual_rtt(self) -> float | None:
        """The round-trip time as it usually is, in seconds; None for a gateway that is not up."""
        if self.state is not State.UP:
            return None
        return self.rtt if self.smoothed_rtt is None else self.smoothed_rtt
