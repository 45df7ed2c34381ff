"""Health of gateways, as people read it."""

import pytest

from static_route_operator.api.noderoutestate import GatewayState
from static_route_operator.planning.targets import Health


@pytest.mark.parametrize(
    ("health", "message"),
    [
        (Health(GatewayState.UP, reason="no answer in 1 s"), ""),
        (Health(GatewayState.DOWN, reason="no answer in 1 s"), "no answer in 1 s"),
        (
            Health(GatewayState.DOWN, reason="no answer in 1 s", hold_down=7.6),
            "no answer in 1 s; it went down again and again, so it stays down for 8 s even if it answers",
        ),
        (Health(GatewayState.UNKNOWN, reason="it has no socket"), "it has no socket"),
    ],
)
def test_message_gives_the_reason_of_the_state(health: Health, message: str) -> None:
    """A gateway that is not up says why, and a gateway in hold-down for how long it stays down although it answers."""
    assert health.message == message
