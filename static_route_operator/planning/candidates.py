"""StaticRoutes that ask for the packets to an address, and the one that has precedence on this node."""

import enum
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from static_route_operator.api.noderoutestate import Row
from static_route_operator.api.resolution import ResolvedRoute
from static_route_operator.planning.plan import ObjectPlan, Plan
from static_route_operator.routing.facts import Facts
from static_route_operator.routing.keys import prefix_of, unpack_table_metric
from static_route_operator.routing.nexthops import NextHop
from static_route_operator.routing.prefixes import contains, host_prefix, supernet, unpack_address, unpack_prefix


class CandidateStatus(enum.StrEnum):
    """The outcome for a StaticRoute that asks for an address."""

    WINS = "Wins"  # it has the route
    STANDBY = "Standby"  # another StaticRoute has precedence
    HELD = "Held"  # it can't be programmed now, and an installed route stays
    NOT_HERE = "NotHere"  # it is refused, or can't be programmed on this node


@dataclass(frozen=True, slots=True)
class Candidate:
    """A StaticRoute that asks for the packets to an address.

    Attributes:
        route: the StaticRoute.
        prefix: packed destination that holds the address.
        table: table of the route.
        metric: metric of the route.
        status: the outcome.
        winner: the StaticRoute that has precedence; None unless this one is on standby.
        hops: next hops of the route on this node; empty if it drops packets or can't be programmed.
        problems: messages about the StaticRoute on this node.
    """

    route: ResolvedRoute
    prefix: bytes
    table: int
    metric: int
    status: CandidateStatus
    winner: ResolvedRoute | None
    hops: tuple[NextHop, ...]
    problems: tuple[str, ...]


def candidates(plan: Plan, address: bytes) -> list[Candidate]:
    """Return the candidates for an address, the most specific first, then in order of precedence."""
    found = [candidate for each in plan.objects for candidate in _candidates(each, plan, address)]
    return sorted(found, key=lambda each: (-each.prefix[-1], each.metric, each.route.spec.precedence))


def _candidates(planned: ObjectPlan, plan: Plan, address: bytes) -> Iterator[Candidate]:
    route = planned.route
    if route.address_size != len(address):
        return
    for length in range(len(address) * 8 + 1):
        key = supernet(address, length) + route.spec.options.table_metric
        if key not in route.keys:
            continue
        winner = next((each.route for each in plan.objects if key in each.keys), None)
        status = CandidateStatus.NOT_HERE
        if key in planned.keys:
            status, winner = CandidateStatus.WINS, None
        elif key in planned.retained:
            status = CandidateStatus.HELD
        elif winner is not None:
            status = CandidateStatus.STANDBY
        next_hops = planned.selection.next_hops
        table, metric = unpack_table_metric(key)
        yield Candidate(
            route=route,
            prefix=prefix_of(key),
            table=table,
            metric=metric,
            status=status,
            winner=winner,
            hops=next_hops.hops if next_hops and next_hops.forwards else (),
            problems=tuple(each.message for each in planned.problems),
        )


def protection_of(address: bytes, facts: Facts) -> str:
    """Return the role of an address whose path no StaticRoute may change, in words; empty for any other address."""
    host = host_prefix(address)
    if interface := facts.addresses.get(address):
        return f"this node's own address on {interface}"
    for part in filter(None, (facts.protected, facts.protected.claims)):
        for prefix in (host, part.around(host)):
            if prefix is not None and part.within(prefix)[:1] == [prefix]:
                return part.describe(prefix)
    for subnet, interface in facts.subnets:
        if contains(subnet, host):
            return f"in {unpack_prefix(subnet)}, a subnet that {interface} of this node is connected to"
    return ""


def precedence(winner: ResolvedRoute, loser: ResolvedRoute) -> str:
    """Explain why one StaticRoute has precedence over another."""
    first, second = winner.spec, loser.spec
    if first.priority != second.priority:
        return f"its priority {first.priority} is lower than {second.priority}"
    if first.created != second.created:
        return f"it is older ({first.created}, not {second.created})"
    return "its name comes first, and priority and age are equal"


def describe_candidate(candidate: Candidate, rows: Mapping[str, Row], interfaces: Mapping[int, str]) -> dict[str, Any]:
    """Return a candidate as a JSON object.

    Args:
        candidate: the candidate.
        rows: the node's report of each object, by name.
        interfaces: names of interfaces by index.
    """
    row = rows.get(candidate.route.name)
    return {
        "object": candidate.route.name,
        "generation": candidate.route.generation,
        "priority": candidate.route.spec.priority,
        "destination": unpack_prefix(candidate.prefix),
        "table": candidate.table,
        "metric": candidate.metric,
        "standing": candidate.status.value,
        "winner": candidate.winner.name if candidate.winner else None,
        "why": precedence(candidate.winner, candidate.route) if candidate.winner else "",
        "gateways": [
            {
                "gateway": unpack_address(hop.gateway),
                "interface": interfaces.get(hop.interface, str(hop.interface)),
                "weight": hop.weight,
            }
            for hop in candidate.hops
        ],
        "state": row.state.value if row else None,
        "message": row.message if row else "; ".join(candidate.problems),
    }
