"""Which routes this node should have, and which StaticRoute each belongs to."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from static_route_operator.api.noderoutestate import SEVERITY, Reason, RowState
from static_route_operator.api.staticroute import StaticRoute
from static_route_operator.planning.facts import Facts
from static_route_operator.planning.guards import Problem, gateway_problem, refused_destinations
from static_route_operator.planning.routes import Path, default_tail, keys_of, prefix_of
from static_route_operator.prefixes import unpack_prefix


@dataclass(frozen=True, slots=True)
class ObjectPlan:
    """One StaticRoute on this node.

    Attributes:
        route: the object.
        keys: sorted keys of the routes it has to itself here.
        problems: what keeps the other destinations out, worst first.
    """

    route: StaticRoute
    keys: Sequence[bytes]
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """What should be in this node's kernel.

    Attributes:
        wanted: the path of every route, by key.
        held: keys that stay as they are if they are there: their object is valid, but can't be programmed now (its
            gateway is not reachable from here), and a route that may still work is better than none.
        objects: the plan of each object that selects this node, in order of precedence.
    """

    wanted: dict[bytes, Path] = field(default_factory=dict)
    held: set[bytes] = field(default_factory=set)
    objects: tuple[ObjectPlan, ...] = ()


def make_plan(routes: Iterable[StaticRoute], facts: Facts) -> Plan:
    """Decide for every prefix which object gets it, and by which path.

    Objects are taken in order of precedence; the first that wants a prefix and can have it here gets it, the others
    stand by. An object whose gateway can't be used on this node claims nothing, so the next one takes over.

    Args:
        routes: the objects that select this node.
        facts: what is known of this node; look-ups of all their gateways included.
    """
    ordered = sorted(routes, key=lambda route: route.precedence)
    gateways = {route.gateway: gateway_problem(route.gateway, facts) for route in ordered}
    usable = {gateway for gateway, problem in gateways.items() if problem is None}
    wanted: dict[bytes, Path] = {}
    owners: list[tuple[StaticRoute, Sequence[bytes]]] = []
    held: set[bytes] = set()
    objects = []
    for route in ordered:
        refused = dict(refused_destinations(route.destinations, facts, usable))
        problems = list(_refusals(route, refused))
        prefixes = [each for each in route.destinations if each not in refused] if refused else route.destinations
        keys: Sequence[bytes] = keys_of(prefixes, default_tail(len(route.gateway) + 1))
        if unusable := gateways[route.gateway]:
            problems.append(unusable)
            held.update(keys)
            keys = ()
        elif not wanted.keys().isdisjoint(keys):
            lost = [key for key in keys if key in wanted]
            keys = [key for key in keys if key not in wanted]
            problems.append(_standby(lost, owners))
        if keys:
            wanted.update(dict.fromkeys(keys, Path(route.gateway, facts.lookups[route.gateway].interface)))
        owners.append((route, keys))
        problems.sort(key=lambda each: -SEVERITY[each.state])
        objects.append(ObjectPlan(route, keys, tuple(problems)))
    return Plan(wanted, held, tuple(objects))


def _refusals(route: StaticRoute, refused: dict[bytes, str]) -> Iterable[Problem]:
    if route.refused:
        yield Problem(RowState.REFUSED, Reason.INVALID_DESTINATION, _sample([each.problem for each in route.refused]))
    if refused:
        texts = [f"{unpack_prefix(prefix)} {why}" for prefix, why in refused.items()]
        yield Problem(RowState.REFUSED, Reason.PROTECTED_DESTINATION, _sample(texts))


def _standby(lost: Sequence[bytes], owners: Sequence[tuple[StaticRoute, Sequence[bytes]]]) -> Problem:
    missing = set(lost)
    winners = [route.name for route, keys in owners if not missing.isdisjoint(keys)]
    return Problem(
        RowState.STANDBY,
        Reason.ANOTHER_WINS,
        f"{_sample([unpack_prefix(prefix_of(key)) for key in lost])}: StaticRoute {_sample(winners)} has precedence",
    )


def _sample(texts: Sequence[str], most: int = 3) -> str:
    """The first few texts, and how many more there are."""
    rest = len(texts) - most
    return "; ".join(texts[:most]) + (f"; and {rest} more" if rest > 0 else "")
