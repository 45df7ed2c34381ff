"""The StaticRoutes that want an address, and the one that gets it."""

import pytest

from static_route_operator.api.noderoutestate import Reason, Row, RowState
from static_route_operator.api.staticroute import StaticRoute
from static_route_operator.planning.candidates import CandidateStatus, claims, describe_claim, precedence
from static_route_operator.planning.plan import make_plan
from static_route_operator.routing.prefixes import pack_address
from tests.unit.builders import ETH0, facts, route


def test_claims_are_in_the_order_of_the_kernel() -> None:
    """The most specific comes first; of equal ones the one that has precedence, and the others say who has it."""
    plan = make_plan(
        [
            route("wide", destinations=["192.0.0.0/16"]),
            route("late", destinations=["192.0.2.0/24"], priority=200),
            route("first", "10.0.0.3", ["192.0.2.0/24"]),
            route("other", destinations=["198.51.100.0/24"]),
            route("far", "172.31.0.1", ["192.0.2.1"]),
            route("ipv6", "fd00::1", ["2001:db8::/32"]),
        ],
        facts(),
    )

    found = claims(plan, pack_address("192.0.2.1"))
    assert [(each.route.name, each.standing, each.winner and each.winner.name) for each in found] == [
        ("far", CandidateStatus.HELD, None),
        ("first", CandidateStatus.WINS, None),
        ("late", CandidateStatus.STANDBY, "first"),
        ("wide", CandidateStatus.WINS, None),
    ]
    assert [each.route.name for each in claims(plan, pack_address("2001:db8::1"))] == ["ipv6"]
    assert claims(plan, pack_address("203.0.113.1")) == []


def test_what_is_refused_is_not_here() -> None:
    """A destination that would cut the node off is claimed, and not had."""
    plan = make_plan([route(destinations=["192.0.2.1"])], facts(protected={"192.0.2.1": "API server"}))

    (claim,) = claims(plan, pack_address("192.0.2.1"))
    assert (claim.standing, claim.winner) == (CandidateStatus.NOT_HERE, None)
    assert "API server" in claim.problems[0]


def test_claim_is_told_with_gateways_and_words() -> None:
    """A candidate is described with names, and with the node's state of the object."""
    plan = make_plan([route(table=7, metric=5)], facts())
    row = Row("nat", 1, "10.0.0.1", RowState.PROGRAMMED, Reason.PROGRAMMED, "in words", 1, 1)

    (claim,) = claims(plan, pack_address("192.0.2.1"))
    assert describe_claim(claim, {"nat": row}, {ETH0: "eth0"}) == {
        "object": "nat",
        "generation": 1,
        "priority": 100,
        "destination": "192.0.2.1/32",
        "table": 7,
        "metric": 5,
        "standing": "Wins",
        "winner": None,
        "why": "",
        "gateways": [{"gateway": "10.0.0.1", "interface": "eth0", "weight": 1}],
        "state": "Programmed",
        "message": "in words",
    }


@pytest.mark.parametrize(
    ("winner", "loser", "why"),
    [
        (route("b", priority=5), route("a"), "its priority 5 is lower than 100"),
        (
            route("b", created="2024-01-01T00:00:00Z"),
            route("a", created="2025-01-01T00:00:00Z"),
            "it is older (2024-01-01T00:00:00Z, not 2025-01-01T00:00:00Z)",
        ),
        (route("a"), route("b"), "its name comes first, and priority and age are equal"),
    ],
)
def test_precedence_is_explained(winner: StaticRoute, loser: StaticRoute, why: str) -> None:
    """The reason for a win is the first property in which two objects differ."""
    assert precedence(winner, loser) == why
