"""The plan of a node: the routes that it should have, and the StaticRoute that each belongs to."""

import functools
import logging
from collections import Counter
from collections.abc import Collection, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from static_route_operator.api.noderoutestate import SEVERITY, Reason, RowState
from static_route_operator.api.nodeselector import Node
from static_route_operator.api.resolution import ResolvedRoute
from static_route_operator.planning.defaultroute import make_bypass_routes, make_rules, may_lead
from static_route_operator.planning.gateways import GatewaySelection, GatewaySelector
from static_route_operator.planning.guards import (
    Issue,
    Rejection,
    claim_conflicts,
    default_problem,
    default_refusals,
    refusals,
    source_problem,
)
from static_route_operator.planning.targets import Target
from static_route_operator.routing.facts import Facts
from static_route_operator.routing.keys import prefix_of
from static_route_operator.routing.keyset import KeySet, duplicates, union
from static_route_operator.routing.nexthops import NextHops
from static_route_operator.routing.prefixes import unpack_prefix
from static_route_operator.routing.routes import Routes
from static_route_operator.routing.rules import Rule

logger = logging.getLogger(__name__)


class LeftOut(NamedTuple):
    """Routes that an object asks for and does not get here, and the reason."""

    state: RowState
    keys: KeySet
    why: str


@dataclass(frozen=True, slots=True)
class ObjectPlan:
    """One StaticRoute on this node.

    Attributes:
        route: the object.
        keys: keys of the routes that this object alone has here.
        retained: keys of the routes that stay if they are installed: the object is valid, but can't be programmed now
            (its gateway is not reachable from here), and a route that may still work is better than none.
        problems: reasons for the destinations left out, and notes on the gateways, worst first.
        selection: the gateways.
        left_out: refused routes, each once per reason, and routes that other objects have.
        tolerated: number of routes that stay in force although a new claim speaks against them.
    """

    route: ResolvedRoute
    keys: KeySet
    retained: KeySet
    problems: tuple[Issue, ...] = ()
    selection: GatewaySelection = field(default_factory=GatewaySelection)
    left_out: tuple[LeftOut, ...] = ()
    tolerated: int = 0

    def accepts(self, key: object) -> bool:
        """Report whether no guard refused a route of this object, whether the route could be programmed or not."""
        refused = (each.keys for each in self.left_out if each.state is RowState.REFUSED)
        return key in self.route.keys and not any(key in keys for keys in refused)


@dataclass(frozen=True, slots=True)
class Plan:
    """The desired state of this node's kernel.

    Attributes:
        desired: all routes.
        objects: the plan of each object that selects this node, in order of precedence.
        shares: by next hops, the keys of each object that uses them.
        overlapping: keys that more than one object wants.
        bypass: those of the desired routes that keep protected addresses from following a default route.
        rules: the policy rules that lead to default routes, and the names of the objects that each is for.
    """

    desired: Routes = field(default_factory=Routes)
    objects: tuple[ObjectPlan, ...] = ()
    shares: Mapping[NextHops, tuple[KeySet, ...]] = field(default_factory=dict)
    overlapping: frozenset[bytes] = frozenset()
    bypass: Routes = field(default_factory=Routes)
    rules: Mapping[Rule, tuple[str, ...]] = field(default_factory=dict)

    @property
    def retained(self) -> list[KeySet]:
        """Return the keys of all routes that stay as they are if they are installed."""
        return [each.retained for each in self.objects if each.retained]

    @property
    def targets(self) -> list[Target]:
        """Return the gateways to probe, each once, with their checks."""
        return list(dict.fromkeys(target for each in self.objects for target in each.selection.targets))


def make_plan(  # noqa: PLR0913  each is a different part of what is known
    routes: Iterable[ResolvedRoute],
    facts: Facts,
    before: Plan | None = None,
    *,
    node: Node | None = None,
    down: Collection[Target] = (),
    rules: Collection[Rule] = (),
    installed: Container[bytes] = frozenset(),
) -> Plan:
    """Decide for every prefix which object gets it, and by which next hops.

    Objects are taken in order of precedence: the first that wants a prefix and can have it here gets it, the others
    stand by. An object that can use none of its gateways on this node claims nothing, so the next one takes over,
    unless the object asks for packets to be dropped in that case.

    Args:
        routes: the objects that select this node.
        facts: what is known of this node, look-ups of all gateways included.
        before: the last plan, from which unchanged parts are taken.
        node: this node; needed where a gateway has a selector.
        down: the targets whose gateways are down.
        rules: the installed policy rules of this program. Those that lead to a retained default route stay, also when
            an earlier process added them.
        installed: the keys of the installed routes of this program. These, and what the last plan accepted, are in
            force: new claims do not count against them.
    """
    ordered = sorted(routes, key=lambda route: route.spec.precedence)
    before = before or Plan()
    selector = GatewaySelector(node or Node(""), facts, down, before.targets)
    selections = [_choose(selector, route) for route in ordered]
    gateways = {hop.gateway for selection in selections for hop in selection.reachable}
    known = {each.route.uid: each for each in before.objects}
    overlapping = before.overlapping
    if _difference((route.keys for route in ordered), (each.route.keys for each in before.objects)):
        overlapping = duplicates(route.keys for route in ordered)
    owners: dict[bytes, ResolvedRoute] = {}
    shares: dict[NextHops, list[KeySet]] = {}
    objects = []
    for route, chosen in zip(ordered, selections, strict=True):
        keys, retained = route.keys, KeySet(route.keys.size)
        in_force = _InForce(known.get(route.uid), installed)
        selection, refused, tolerated, unusable = _guarded(route, chosen, facts, gateways, in_force)
        keys = _without(keys, refused)
        left_out = [LeftOut(RowState.REFUSED, each.keys, each.why) for each in refused]
        problems = [*_refusals(route, refused), *_tolerations(tolerated)]
        problems += [selection.problem] if selection.problem else []
        next_hops = selection.next_hops
        if unusable:
            problems.append(unusable)
            next_hops, keep = None, True
        else:
            keep = selection.keep
        if next_hops is None:
            keys, retained = keys[:0], keys if keep else retained
        elif overlapping and (wanted_by_others := [key for key in keys if key in overlapping]):
            if lost := [key for key in wanted_by_others if key in owners]:
                problems.append(_standby(lost, owners))
                left_out += _standing_by(lost, owners)
                keys -= KeySet.of(keys.size, lost)
            for key in wanted_by_others:
                owners.setdefault(key, route)
        if next_hops and keys:
            shares.setdefault(next_hops, []).append(keys)
        problems.sort(key=lambda each: -SEVERITY[each.state])
        objects.append(
            ObjectPlan(route, keys, retained, tuple(problems), selection, tuple(left_out), len(_keys(tolerated)))
        )
    shared = {next_hops: tuple(each) for next_hops, each in shares.items()}
    bypass, desired_rules = _plan_default(objects, facts, rules)
    return Plan(_union(shared, before, bypass), tuple(objects), shared, overlapping, bypass, desired_rules)


def _options_problem(route: ResolvedRoute, selection: GatewaySelection, facts: Facts) -> Issue | None:
    """Return the reason why routes can't be used here although their gateways can; None if they can."""
    if selection.next_hops is None:
        return None
    if route.spec.takes_default and (problem := default_problem(route.address_size, facts)):
        return problem
    return source_problem(route.spec.options.source, facts) if selection.next_hops.forwards else None


def _choose(selector: GatewaySelector, route: ResolvedRoute) -> GatewaySelection:
    try:
        return selector.choose(route)
    except Exception as error:  # noqa: BLE001  a defect that one object meets must not stop the others
        return _unplanned(route, error)


def _guarded(
    route: ResolvedRoute,
    selection: GatewaySelection,
    facts: Facts,
    gateways: Collection[bytes],
    in_force: Container[bytes],
) -> tuple[GatewaySelection, list[Rejection], list[Rejection], Issue | None]:
    """Return the selection, the keys that must not be routed, those that stay so far, and the options' problem."""
    try:
        refused = list(_guard(route, selection, facts, gateways))
        left = _without(route.keys, refused)
        conflicts = claim_conflicts(route.keys, facts, selection.next_hops, default=route.spec.takes_default)
        blocked, tolerated = _split(conflicts, left, in_force)
        return selection, [*refused, *blocked], tolerated, _options_problem(route, selection, facts)
    except Exception as error:  # noqa: BLE001  a defect that one object meets must not stop the others
        return _unplanned(route, error), [], [], None


def _unplanned(route: ResolvedRoute, error: Exception) -> GatewaySelection:
    """Return the selection of an object that this program fails to plan: its routes stay as they are."""
    text = f"{type(error).__name__}: {error}"
    _log_defect(route.name, text)
    problem = Issue(
        RowState.FAILED, Reason.INTERNAL_ERROR, f"a defect of this program prevents a plan: {text}; see its log"
    )
    return GatewaySelection(keep=True, problem=problem)


@functools.lru_cache(maxsize=256)
def _log_defect(name: str, text: str) -> None:
    """Log the current exception, once for each object and text: an object is planned again and again."""
    logger.error("StaticRoute %s can't be planned, and its routes stay as they are: %s", name, text, exc_info=True)  # noqa: LOG014  handled by the caller


def _guard(
    route: ResolvedRoute, selection: GatewaySelection, facts: Facts, gateways: Collection[bytes]
) -> Iterator[Rejection]:
    used = selection.next_hops
    hops = used.hops if used and used.forwards else selection.reachable
    if route.spec.takes_default:
        return default_refusals(route.keys, facts, hops)
    return refusals(route.keys, facts, gateways, used, hops)


def _plan_default(
    objects: Iterable[ObjectPlan], facts: Facts, installed: Collection[Rule]
) -> tuple[Routes, dict[Rule, tuple[str, ...]]]:
    """Return the bypass routes and the rules for the default routes among these objects.

    Rules stay installed as long as the routes that they lead to are retained, since their gateway can't be used now.
    """
    defaults = [each for each in objects if each.route.spec.takes_default]
    rules = make_rules(
        [(each.route.name, each.selection.next_hops) for each in defaults if each.selection.next_hops and each.keys],
        facts,
    )
    led = {rule.address_size for rule in rules}
    for rule in filter(may_lead, installed):
        if rule.address_size not in led and (names := _retaining(defaults, rule.address_size)):
            rules[rule] = names
    bypass = make_bypass_routes({rule.address_size for rule in rules}, facts)
    for each in defaults:
        # A destination that is in force stays, though a new claim of the same prefix would have a bypass route.
        bypass.drop(each.keys)
    return bypass, rules


def _retaining(defaults: Iterable[ObjectPlan], address_size: int) -> tuple[str, ...]:
    """Return the names of the objects that retain a default route of a family."""
    return tuple(each.route.name for each in defaults if each.retained and each.route.address_size == address_size)


def _union(shares: Mapping[NextHops, tuple[KeySet, ...]], before: Plan, bypass: Routes) -> Routes:
    """Return all desired routes: one set of keys per next hops, and the bypass routes.

    A set is made from that of the last plan where little has changed: an object added to hundreds costs its own keys.
    """
    groups = {}
    for next_hops, parts in shares.items():
        known = before.shares.get(next_hops, ())
        gone, new = _difference(known, parts), _difference(parts, known)
        if len(gone) + len(new) < len(parts):
            whole = before.desired.through(next_hops) - before.bypass.through(next_hops)
            for keys in gone:
                whole -= keys
            for keys in new:
                whole |= keys
            groups[next_hops] = whole
        else:
            groups[next_hops] = union(parts)
    desired = Routes(groups)
    for next_hops, keys in bypass:
        desired.put(next_hops, keys)
    return desired


def _difference(some: Iterable[KeySet], others: Iterable[KeySet]) -> list[KeySet]:
    """Return the multiset difference, by identity.

    Two StaticRoutes may share one set, since equal destinations are compiled once. Equal sets of different identity
    are rare, and only cost the time to build them again.
    """
    known = Counter(map(id, others))
    missing = []
    for each in some:
        known[id(each)] -= 1
        if known[id(each)] < 0:
            missing.append(each)
    return missing


def _refusals(route: ResolvedRoute, refused: Sequence[Rejection]) -> Iterator[Issue]:
    if route.refused:
        yield Issue(RowState.REFUSED, Reason.INVALID_DESTINATION, _sample([each.problem for each in route.refused]))
    if refused:
        problem = Issue(RowState.REFUSED, Reason.PROTECTED_DESTINATION, _reasons(refused))
        partly = not _keys(refused) <= _keys([each for each in refused if each.whole])
        excludes = ", or cut the protected part out with spec.excludes" if partly else ""
        yield problem.but(f"remove it from spec.destinations{excludes}")


def _tolerations(tolerated: Sequence[Rejection]) -> Iterator[Issue]:
    if tolerated:
        problem = Issue(RowState.PROGRAMMED, Reason.NEWLY_PROTECTED, _reasons(tolerated))
        yield problem.but(
            "this has become known only after the route came into force, so the route stays for now: if it is true,"
            " cut the protected part out with spec.excludes"
        )


def _reasons(rejections: Sequence[Rejection]) -> str:
    """Describe keys with all reasons of each: whoever mends one should not meet the next."""
    why: dict[bytes, list[str]] = {}
    for each in rejections:
        for key in each.keys:
            why.setdefault(key, []).append(each.why)
    return _sample([f"{unpack_prefix(prefix_of(key))} {', and '.join(found)}" for key, found in why.items()])


def _keys(rejections: Iterable[Rejection]) -> set[bytes]:
    return {key for each in rejections for key in each.keys}


def _without(keys: KeySet, rejections: Iterable[Rejection]) -> KeySet:
    for each in rejections:
        keys -= each.keys
    return keys


class _InForce(Container[bytes]):
    """The keys of the routes of an object that are in force.

    Args:
        before: the last plan of the object; None without one.
        installed: the keys of the installed routes.
    """

    def __init__(self, before: ObjectPlan | None, installed: Container[bytes]) -> None:
        self._before = before
        self._installed = installed

    def __contains__(self, key: object) -> bool:
        return key in self._installed or (self._before is not None and self._before.accepts(key))


def _split(
    conflicts: Iterable[Rejection], left: KeySet, in_force: Container[bytes]
) -> tuple[list[Rejection], list[Rejection]]:
    """Split conflicts with new claims: those that count, and those of routes that are in force.

    Args:
        conflicts: of the routes of an object.
        left: the routes that are not refused for another reason.
        in_force: the keys of the routes that are in force.
    """
    blocked, tolerated = [], []
    for each in conflicts:
        kept = KeySet.of(each.keys.size, (key for key in each.keys & left if key in in_force))
        if kept:
            tolerated.append(each._replace(keys=kept))
        if rest := each.keys - kept:
            blocked.append(each._replace(keys=rest))
    return blocked, tolerated


def _standby(lost: Sequence[bytes], owners: Mapping[bytes, ResolvedRoute]) -> Issue:
    winners = list(dict.fromkeys(owners[key].name for key in lost))
    return Issue(
        RowState.STANDBY,
        Reason.ANOTHER_WINS,
        f"{_sample([unpack_prefix(prefix_of(key)) for key in lost])}: StaticRoute {_sample(winners)} has precedence",
    )


def _standing_by(lost: Sequence[bytes], owners: Mapping[bytes, ResolvedRoute]) -> Iterator[LeftOut]:
    by_winner: dict[str, list[bytes]] = {}
    for key in lost:
        by_winner.setdefault(owners[key].name, []).append(key)
    for winner, keys in by_winner.items():
        yield LeftOut(RowState.STANDBY, KeySet.of(len(keys[0]), keys), f"StaticRoute {winner} has precedence")


def _sample(texts: Sequence[str], most: int = 3) -> str:
    """Join the first few texts, and add the number of the others."""
    rest = len(texts) - most
    return "; ".join(texts[:most]) + (f"; and {rest} more" if rest > 0 else "")


def owner_of(key: bytes, plan: Plan) -> str | None:
    """Return the name of the object that a route in the kernel belongs to."""
    for each in plan.objects:
        if key in each.keys or key in each.retained or (each.route.spec.takes_default and key in plan.bypass):
            return each.route.name
    return None
