"""The StaticRoutes that ask for an address, and the one that gets it."""

import pytest

from static_route_operator.api.noderoutestate import Reason, Row, RowState
from static_route_operator.api.resolution import ResolvedRoute
from static_route_operator.planning.candidates import CandidateStatus, candidates, describe_candidate, precedence
from static_route_operator.planning.plan import make_plan
from static_route_operator.routing.prefixes import pack_address
from tests.unit.builders import ETH0, facts, resolved


def test_claims_are_in_the_order_of_the_kernel() -> None:
    """The most specific comes first; of equal ones the one that has precedence, and the others say who has it."""
    plan = make_plan(
        [
            resolved("wide", destinations=["192.0.0.0/16"]),
            resolved("late", destinations=["192.0.2.0/24"], priority=200),
            resolved("first", "10.0.0.3", ["192.0.2.0/24"]),
            resolved("other", destinations=["198.51.100.0/24"]),
            resolved("far", "172.31.0.1", ["192.0.2.1"]),
            resolved("ipv6", "fd00::1", ["2001:db8::/32"]),
        ],
        facts(),
    )

    found = candidates(plan, pack_address("192.0.2.1"))
    assert [(each.route.name, each.status, each.winner and each.winner.name) for each in found] == [
        ("far", CandidateStatus.HELD, None),
        ("first", CandidateStatus.WINS, None),
        ("late", CandidateStatus.STANDBY, "first"),
        ("wide", CandidateStatus.WINS, None),
    ]
    assert [each.route.name for each in candidates(plan, pack_address("2001:db8::1"))] == ["ipv6"]
    assert candidates(plan, pack_address("203.0.113.1")) == []


def test_what_is_refused_is_not_here() -> None:
    """A destination that would cut the node off is claimed, and not had."""
    plan = make_plan([resolved(destinations=["192.0.2.1"])], facts(protected={"192.0.2.1": "API server"}))

    (candidate,) = candidates(plan, pack_address("192.0.2.1"))
    assert (candidate.status, candidate.winner) == (CandidateStatus.NOT_HERE, None)
    assert "API server" in candidate.problems[0]


def test_claim_is_told_with_gateways_and_words() -> None:
    """A candidate has the names of its interfaces, and the node's report of the object."""
    plan = make_plan([resolved(table=7, metric=5)], facts())
    row = Row("nat", 1, "10.0.0.1", RowState.PROGRAMMED, Reason.PROGRAMMED, "in words", 1, 1)

    (candidate,) = candidates(plan, pack_address("192.0.2.1"))
    assert describe_candidate(candidate, {"nat": row}, {ETH0: "eth0"}) == {
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
        (resolved("b", priority=5), resolved("a"), "its priority 5 is lower than 100"),
        (
            resolved("b", created="2024-01-01T00:00:00Z"),
            resolved("a", created="2025-01-01T00:00:00Z"),
            "it is older (2024-01-01T00:00:00Z, not 2025-01-01T00:00:00Z)",
        ),
        (resolved("a"), resolved("b"), "its name comes first, and priority and age are equal"),
    ],
)
def test_precedence_is_explained(winner: ResolvedRoute, loser: ResolvedRoute, why: str) -> None:
    """The reason why one wins is the first field in which the two differ."""
    assert precedence(winner, loser) == why
