"""What is probed and how, and what came of it: values only."""

import socket
from dataclasses import dataclass

from static_route_operator.api.healthcheck import Check
from static_route_operator.api.noderoutestate import GatewayState
from static_route_operator.routing.prefixes import family_of, unpack_address


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
        hold_down: seconds for which a gateway that is down is not let up again yet, because it flaps.
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

    @property
    def usual_rtt(self) -> float | None:
        """The round-trip time as it usually is, in seconds; None for a gateway that is not up."""
        if self.state is not GatewayState.UP:
            return None
        return self.rtt if self.smoothed_rtt is None else self.smoothed_rtt
