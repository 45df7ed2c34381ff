"""Which routes this node should have, and which StaticRoute each belongs to."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from static_route_operator.api.noderoutestate import SEVERITY, Reason, RowState
from static_route_operator.api.nodeselector import Node
from static_route_operator.api.staticroute import StaticRoute
from static_route_operator.planning.defaultroute import make_bypass_routes, make_rules
from static_route_operator.planning.gateways import GatewaySelection, GatewaySelector
from static_route_operator.planning.guards import Issue, Rejection, default_refusals, refusals, source_problem
from static_route_operator.planning.targets import Target
from static_route_operator.routing.facts import Facts
from static_route_operator.routing.keys import prefix_of
from static_route_operator.routing.keyset import KeySet, duplicates, union
from static_route_operator.routing.nexthops import NextHops
from static_route_operator.routing.prefixes import unpack_prefix
from static_route_operator.routing.routes import Routes
from static_route_operator.routing.rules import Rule


class LeftOut(NamedTuple):
    """Routes that an object asks for and does not get here, and why not."""

    state: RowState
    keys: KeySet
    why: str


@dataclass(frozen=True, slots=True)
class ObjectPlan:
    """One StaticRoute on this node.

    Attributes:
        route: the object.
        keys: of the routes it has to itself here.
        retained: of the routes that stay if they are installed: the object is valid, but can't be programmed now
            (its gateway is not reachable from here), and a route that may still work is better than none.
        problems: what keeps the other destinations out, or is to be said of its gateways, worst first.
        choice: the gateways.
        left_out: the routes that are refused, each as often as there is a reason, and those that others have.
    """

    route: StaticRoute
    keys: KeySet
    retained: KeySet
    problems: tuple[Issue, ...] = ()
    choice: GatewaySelection = field(default_factory=GatewaySelection)
    left_out: tuple[LeftOut, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """What should be in this node's kernel.

    Attributes:
        desired: every route that should be there.
        objects: the plan of each object that selects this node, in order of precedence.
        shares: by path, the keys of each object that uses it.
        overlapping: what more than one object wants.
        bypass: of the wanted routes those that keep what is protected from following a default route.
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
        """The keys of all routes that stay as they are if they are there."""
        return [each.retained for each in self.objects if each.retained]

    @property
    def targets(self) -> list[Target]:
        """The gateways to probe, and how; each once."""
        return list(dict.fromkeys(target for each in self.objects for target in each.choice.targets))


def make_plan(  # noqa: PLR0913  each is a different part of what is known
    routes: Iterable[StaticRoute],
    facts: Facts,
    before: Plan | None = None,
    *,
    node: Node | None = None,
    down: Collection[Target] = (),
    rules: Collection[Rule] = (),
) -> Plan:
    """Decide for every prefix which object gets it, and by which path.

    Objects are taken in order of precedence; the first that wants a prefix and can have it here gets it, the others
    stand by. An object none of whose gateways can be used on this node claims nothing, so the next one takes over,
    unless it is to drop packets then.

    Args:
        routes: the objects that select this node.
        facts: what is known of this node; look-ups of all their gateways included.
        before: the last plan; what has not changed since is taken from it.
        node: this node; needed where a gateway has a selector.
        down: the targets whose gateways do not answer.
        rules: the installed policy rules of this program. Those that lead to a retained default route stay, also when
            an earlier process added them.
    """
    ordered = sorted(routes, key=lambda route: route.precedence)
    before = before or Plan()
    chooser = GatewaySelector(node or Node(""), facts, down, before.targets)
    choices = [chooser.choose(route) for route in ordered]
    gateways = {address for choice in choices for address in choice.reachable}
    overlapping = before.overlapping
    if _missing((route.keys for route in ordered), (each.route.keys for each in before.objects)):
        overlapping = duplicates(route.keys for route in ordered)
    owners: dict[bytes, StaticRoute] = {}
    shares: dict[NextHops, list[KeySet]] = {}
    objects = []
    for route, choice in zip(ordered, choices, strict=True):
        keys, retained = route.keys, KeySet(route.keys.size)
        refused = list(_guard(route, choice, facts, gateways))
        for each in refused:
            keys -= each.keys
        left_out = [LeftOut(RowState.REFUSED, each.keys, each.why) for each in refused]
        problems = list(_refusals(route, refused))
        problems += [choice.problem] if choice.problem else []
        source = source_problem(route.options.source, facts)
        path = choice.path
        if path and not path.blackhole and source:
            problems.append(source)
            path, keep = None, True
        else:
            keep = choice.keep
        if path is None:
            keys, retained = keys[:0], keys if keep else retained
        elif overlapping and (rivalled := [key for key in keys if key in overlapping]):
            if lost := [key for key in rivalled if key in owners]:
                problems.append(_standby(lost, owners))
                left_out += _standing_by(lost, owners)
                keys -= KeySet.of(keys.size, lost)
            for key in rivalled:
                owners.setdefault(key, route)
        if path and keys:
            shares.setdefault(path, []).append(keys)
        problems.sort(key=lambda each: -SEVERITY[each.state])
        objects.append(ObjectPlan(route, keys, retained, tuple(problems), choice, tuple(left_out)))
    kept = {path: tuple(each) for path, each in shares.items()}
    bypass, desired_rules = _lead_default(objects, facts, rules)
    return Plan(_united(kept, before, bypass), tuple(objects), kept, overlapping, bypass, desired_rules)


def _guard(
    route: StaticRoute, choice: GatewaySelection, facts: Facts, gateways: Collection[bytes]
) -> Iterator[Rejection]:
    if route.takes_default:
        return default_refusals(route.keys, facts)
    return refusals(route.keys, facts, gateways, choice.path)


def _lead_default(
    objects: Iterable[ObjectPlan], facts: Facts, installed: Collection[Rule]
) -> tuple[Routes, dict[Rule, tuple[str, ...]]]:
    """Return the bypass routes and the rules for the default routes among these objects.

    Rules stay installed as long as the routes that they lead to are retained, since their gateway can't be used now.
    """
    defaults = [each for each in objects if each.route.takes_default]
    rules = make_rules(
        [(each.route.name, each.choice.path) for each in defaults if each.choice.path and each.keys], facts
    )
    led = {rule.address_size for rule in rules}
    for rule in installed:
        if rule.address_size not in led and (names := _retaining(defaults, rule.address_size)):
            rules[rule] = names
    return make_bypass_routes({rule.address_size for rule in rules}, facts), rules


def _retaining(defaults: Iterable[ObjectPlan], address_size: int) -> tuple[str, ...]:
    """Return the names of the objects that retain a default route of a family."""
    return tuple(each.route.name for each in defaults if each.retained and len(each.route.gateway) == address_size)


def _united(shares: Mapping[NextHops, tuple[KeySet, ...]], before: Plan, bypass: Routes) -> Routes:
    """The keys of each path in one set, made from that of the last plan where little has changed; and the pins."""
    groups = {}
    for path, parts in shares.items():
        known = before.shares.get(path, ())
        gone, new = _missing(known, parts), _missing(parts, known)
        if len(gone) + len(new) < len(parts):
            whole = before.desired.through(path) - before.bypass.through(path)
            for keys in gone:
                whole -= keys
            for keys in new:
                whole |= keys
            groups[path] = whole
        else:
            groups[path] = union(parts)
    desired = Routes(groups)
    for path, keys in bypass:
        desired.put(path, keys)
    return desired


def _missing(some: Iterable[KeySet], others: Iterable[KeySet]) -> list[KeySet]:
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


def _refusals(route: StaticRoute, refused: Sequence[Rejection]) -> Iterator[Issue]:
    if route.refused:
        yield Issue(RowState.REFUSED, Reason.INVALID_DESTINATION, _sample([each.problem for each in route.refused]))
    if refused:
        # The last reason counts where there are several.
        why = {key: each.why for each in refused for key in each.keys}
        texts = [f"{unpack_prefix(prefix_of(key))} {text}" for key, text in why.items()]
        problem = Issue(RowState.REFUSED, Reason.PROTECTED_DESTINATION, _sample(texts))
        yield problem.but("take it out of spec.destinations, or what is protected out of it by spec.excludes")


def _standby(lost: Sequence[bytes], owners: Mapping[bytes, StaticRoute]) -> Issue:
    winners = list(dict.fromkeys(owners[key].name for key in lost))
    return Issue(
        RowState.STANDBY,
        Reason.ANOTHER_WINS,
        f"{_sample([unpack_prefix(prefix_of(key)) for key in lost])}: StaticRoute {_sample(winners)} has precedence",
    )


def _standing_by(lost: Sequence[bytes], owners: Mapping[bytes, StaticRoute]) -> Iterator[LeftOut]:
    by_winner: dict[str, list[bytes]] = {}
    for key in lost:
        by_winner.setdefault(owners[key].name, []).append(key)
    for winner, keys in by_winner.items():
        yield LeftOut(RowState.STANDBY, KeySet.of(len(keys[0]), keys), f"StaticRoute {winner} has precedence")


def _sample(texts: Sequence[str], most: int = 3) -> str:
    """The first few texts, and how many more there are."""
    rest = len(texts) - most
    return "; ".join(texts[:most]) + (f"; and {rest} more" if rest > 0 else "")


def owner_of(key: bytes, plan: Plan) -> str | None:
    """The name of the object that a route in the kernel belongs to."""
    for each in plan.objects:
        if key in each.keys or key in each.retained or (each.route.takes_default and key in plan.bypass):
            return each.route.name
    return None
