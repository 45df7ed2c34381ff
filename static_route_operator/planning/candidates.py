"""Which StaticRoutes want a packet, and which of them gets it on this node."""

import enum
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from static_route_operator.api.noderoutestate import Row
from static_route_operator.api.staticroute import StaticRoute
from static_route_operator.planning.plan import ObjectPlan, Plan
from static_route_operator.routing.keys import prefix_of, unpack_table_metric
from static_route_operator.routing.nexthops import NextHop
from static_route_operator.routing.prefixes import supernet, unpack_address, unpack_prefix


class CandidateStatus(enum.StrEnum):
    """What a StaticRoute gets of what it wants."""

    WINS = "Wins"  # the route is its own
    STANDBY = "Standby"  # another StaticRoute has precedence
    HELD = "Held"  # it can't be programmed now, and what is in the kernel stays
    NOT_HERE = "NotHere"  # refused, or it can't be programmed on this node


@dataclass(frozen=True, slots=True)
class Candidate:
    """A StaticRoute that wants packets for an address.

    Attributes:
        route: the StaticRoute.
        prefix: packed, the destination of it that holds the address.
        table: of its route.
        metric: likewise.
        standing: what it gets.
        winner: the StaticRoute that has precedence; None unless it stands by.
        hops: where its route leads on this node; none when it leads nowhere.
        problems: what is said of it on this node.
    """

    route: StaticRoute
    prefix: bytes
    table: int
    metric: int
    standing: CandidateStatus
    winner: StaticRoute | None
    hops: tuple[NextHop, ...]
    problems: tuple[str, ...]


def claims(plan: Plan, address: bytes) -> list[Candidate]:
    """The claims to an address, the most specific first, then in order of precedence."""
    found = [claim for each in plan.objects for claim in _claims(each, plan, address)]
    return sorted(found, key=lambda claim: (-claim.prefix[-1], claim.metric, claim.route.precedence))


def _claims(planned: ObjectPlan, plan: Plan, address: bytes) -> Iterator[Candidate]:
    route = planned.route
    if len(route.gateway) != len(address):
        return
    for length in range(len(address) * 8 + 1):
        key = supernet(address, length) + route.options.table_metric
        if key not in route.keys:
            continue
        winner = next((each.route for each in plan.objects if key in each.keys), None)
        standing = CandidateStatus.NOT_HERE
        if key in planned.keys:
            standing, winner = CandidateStatus.WINS, None
        elif key in planned.retained:
            standing = CandidateStatus.HELD
        elif winner is not None:
            standing = CandidateStatus.STANDBY
        path = planned.choice.next_hops
        table, metric = unpack_table_metric(key)
        yield Candidate(
            route=route,
            prefix=prefix_of(key),
            table=table,
            metric=metric,
            standing=standing,
            winner=winner,
            hops=path.hops if path and path.forwards else (),
            problems=tuple(each.message for each in planned.problems),
        )


def precedence(winner: StaticRoute, loser: StaticRoute) -> str:
    """Why one StaticRoute has precedence over another."""
    if winner.priority != loser.priority:
        return f"its priority {winner.priority} is lower than {loser.priority}"
    if winner.created != loser.created:
        return f"it is older ({winner.created}, not {loser.created})"
    return "its name comes first, and priority and age are equal"


def describe_claim(claim: Candidate, rows: Mapping[str, Row], interfaces: Mapping[int, str]) -> dict[str, Any]:
    """A claim as a JSON object.

    Args:
        claim: the claim.
        rows: what became of the objects, by name.
        interfaces: names by index.
    """
    row = rows.get(claim.route.name)
    return {
        "object": claim.route.name,
        "generation": claim.route.generation,
        "priority": claim.route.priority,
        "destination": unpack_prefix(claim.prefix),
        "table": claim.table,
        "metric": claim.metric,
        "standing": claim.standing.value,
        "winner": claim.winner.name if claim.winner else None,
        "why": precedence(claim.winner, claim.route) if claim.winner else "",
        "gateways": [
            {
                "gateway": unpack_address(hop.gateway),
                "interface": interfaces.get(hop.interface, str(hop.interface)),
                "weight": hop.weight,
            }
            for hop in claim.hops
        ],
        "state": row.state.value if row else None,
        "message": row.message if row else "; ".join(claim.problems),
    }
