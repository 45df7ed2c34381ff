"""Which routes this node should have, and which StaticRoute each belongs to."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from static_route_operator.api.noderoutestate import SEVERITY, Reason, RowState
from static_route_operator.api.staticroute import StaticRoute
from static_route_operator.keys import Keys, prefix_of, repeated, united
from static_route_operator.planning.facts import Facts
from static_route_operator.planning.guards import Problem, Refusal, gateway_problem, refusals, source_problem
from static_route_operator.planning.routes import Path, Routes
from static_route_operator.prefixes import unpack_prefix


@dataclass(frozen=True, slots=True)
class ObjectPlan:
    """One StaticRoute on this node.

    Attributes:
        route: the object.
        keys: of the routes it has to itself here.
        held: of the routes that stay as they are if they are there: the object is valid, but can't be programmed now
            (its gateway is not reachable from here), and a route that may still work is better than none.
        problems: what keeps the other destinations out, worst first.
    """

    route: StaticRoute
    keys: Keys
    held: Keys
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """What should be in this node's kernel.

    Attributes:
        wanted: every route that should be there.
        objects: the plan of each object that selects this node, in order of precedence.
        shares: by path, the keys of each object that uses it.
        contested: what more than one object wants.
    """

    wanted: Routes = field(default_factory=Routes)
    objects: tuple[ObjectPlan, ...] = ()
    shares: Mapping[Path, tuple[Keys, ...]] = field(default_factory=dict)
    contested: frozenset[bytes] = frozenset()

    @property
    def held(self) -> list[Keys]:
        """The keys of all routes that stay as they are if they are there."""
        return [each.held for each in self.objects if each.held]


def make_plan(routes: Iterable[StaticRoute], facts: Facts, before: Plan | None = None) -> Plan:
    """Decide for every prefix which object gets it, and by which path.

    Objects are taken in order of precedence; the first that wants a prefix and can have it here gets it, the others
    stand by. An object whose gateway can't be used on this node claims nothing, so the next one takes over.

    Args:
        routes: the objects that select this node.
        facts: what is known of this node; look-ups of all their gateways included.
        before: the last plan; what has not changed since is taken from it.
    """
    ordered = sorted(routes, key=lambda route: route.precedence)
    usable = {route.gateway for route in ordered if not _gateway_problem(route, facts)}
    before = before or Plan()
    contested = before.contested
    if _missing((route.keys for route in ordered), (each.route.keys for each in before.objects)):
        contested = repeated(route.keys for route in ordered)
    owners: dict[bytes, StaticRoute] = {}
    shares: dict[Path, list[Keys]] = {}
    objects = []
    for route in ordered:
        keys, held = route.keys, Keys(route.keys.size)
        refused = list(refusals(keys, facts, usable))
        for each in refused:
            keys -= each.keys
        problems = list(_refusals(route, refused))
        if hindrances := _hindrances(route, facts):
            problems += hindrances
            keys, held = held, keys
        elif contested and (rivalled := [key for key in keys if key in contested]):
            if lost := [key for key in rivalled if key in owners]:
                problems.append(_standby(lost, owners))
                keys -= Keys.of(keys.size, lost)
            for key in rivalled:
                owners.setdefault(key, route)
        if keys:
            path = _path(route, facts)
            shares.setdefault(path, []).append(keys)
        problems.sort(key=lambda each: -SEVERITY[each.state])
        objects.append(ObjectPlan(route, keys, held, tuple(problems)))
    kept = {path: tuple(each) for path, each in shares.items()}
    return Plan(_united(kept, before), tuple(objects), kept, contested)


def _hindrances(route: StaticRoute, facts: Facts) -> list[Problem]:
    """Why none of an object's routes can be programmed here now."""
    found = (_gateway_problem(route, facts), source_problem(route.options.source, facts))
    return [each for each in found if each]


def _gateway_problem(route: StaticRoute, facts: Facts) -> Problem | None:
    return gateway_problem(route.gateway, facts, on_link=route.options.on_link)


def _path(route: StaticRoute, facts: Facts) -> Path:
    interface = facts.lookups[route.gateway].interface
    return Path(route.gateway, interface, route.options.source, route.options.mtu, route.options.on_link)


def _united(shares: Mapping[Path, tuple[Keys, ...]], before: Plan) -> Routes:
    """The keys of each path in one set, made from that of the last plan where little has changed."""
    groups = {}
    for path, parts in shares.items():
        known = before.shares.get(path, ())
        gone, new = _missing(known, parts), _missing(parts, known)
        if len(gone) + len(new) < len(parts):
            whole = before.wanted.through(path)
            for keys in gone:
                whole -= keys
            for keys in new:
                whole |= keys
            groups[path] = whole
        else:
            groups[path] = united(parts)
    return Routes(groups)


def _missing(some: Iterable[Keys], others: Iterable[Keys]) -> list[Keys]:
    """Those that are not among the others, each as often as it is missing.

    The same objects, that is: equal ones are rare and need no care. Two StaticRoutes may share one.
    """
    known = Counter(map(id, others))
    missing = []
    for each in some:
        known[id(each)] -= 1
        if known[id(each)] < 0:
            missing.append(each)
    return missing


def _refusals(route: StaticRoute, refused: Sequence[Refusal]) -> Iterator[Problem]:
    if route.refused:
        yield Problem(RowState.REFUSED, Reason.INVALID_DESTINATION, _sample([each.problem for each in route.refused]))
    if refused:
        # The last reason counts where there are several.
        why = {key: each.why for each in refused for key in each.keys}
        texts = [f"{unpack_prefix(prefix_of(key))} {text}" for key, text in why.items()]
        yield Problem(RowState.REFUSED, Reason.PROTECTED_DESTINATION, _sample(texts))


def _standby(lost: Sequence[bytes], owners: Mapping[bytes, StaticRoute]) -> Problem:
    winners = list(dict.fromkeys(owners[key].name for key in lost))
    return Problem(
        RowState.STANDBY,
        Reason.ANOTHER_WINS,
        f"{_sample([unpack_prefix(prefix_of(key)) for key in lost])}: StaticRoute {_sample(winners)} has precedence",
    )


def _sample(texts: Sequence[str], most: int = 3) -> str:
    """The first few texts, and how many more there are."""
    rest = len(texts) - most
    return "; ".join(texts[:most]) + (f"; and {rest} more" if rest > 0 else "")
