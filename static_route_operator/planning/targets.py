"""The targets of health checks and their results, as values."""

import socket
from dataclasses import dataclass

from static_route_operator.api.healthcheck import Check
from static_route_operator.api.noderoutestate import GatewayState
from static_route_operator.routing.prefixes import family_of, unpack_address


@dataclass(frozen=True, slots=True)
class Target:
    """The gateway and check of one prober, which several StaticRoutes may share.

    Attributes:
        gateway: the packed address.
        interface: the index of the output interface of routes through the gateway.
        check: the type, port and times of the probes.
    """

    gateway: bytes
    interface: int
    check: Check

    @property
    def family(self) -> socket.AddressFamily:
        """Address family of the gateway."""
        return family_of(self.gateway)

    @property
    def address(self) -> str:
        """Gateway's address as text."""
        return unpack_address(self.gateway)


@dataclass(frozen=True, slots=True)
class Health:
    """The health of one target.

    Attributes:
        state: up, down, or unknown before the first decision.
        since: the time of the last change of the state, in seconds since the epoch; 0 if the target is not probed.
        rtt: the last round-trip time in seconds; None before the first answer. For HTTP, that of the whole exchange.
        smoothed_rtt: the moving average since the gateway came up; None before the first few answers.
        sent: probes that were answered or lost.
        lost: the probes among them without a good answer in time.
        flaps: changes from up to down.
        reason: the reason of the last loss, or why probes can't be sent, in words; empty for none.
        hold_down: seconds for which the gateway stays down although it may answer, because it flaps.
        held_until: end of the hold-down in seconds since the epoch, also after it; 0 without one.
    """

    state: GatewayState = GatewayState.UNKNOWN
    since: float = 0.0
    rtt: float | None = None
    smoothed_rtt: float | None = None
    sent: int = 0
    lost: int = 0
    flaps: int = 0
    reason: str = ""
    hold_down: float = 0.0
    held_until: float = 0.0

    @property
    def message(self) -> str:
        """The reason of the state in words; empty for a gateway that is up."""
        if self.state is GatewayState.UP:
            return ""
        if not self.hold_down:
            return self.reason
        hold_down = f"it went down again and again, so it stays down for {self.hold_down:.0f} s even if it answers"
        return f"{self.reason}; {hold_down}" if self.reason else hold_down

    @property
    def usual_rtt(self) -> float | None:
        """Usual round-trip time in seconds; None for a gateway that is not up."""
        if self.state is not GatewayState.UP:
            return None
        return self.rtt if self.smoothed_rtt is None else self.smoothed_rtt
