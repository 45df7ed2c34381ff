"""Changes that StaticRoutes would make to the routes and rules of a node, from the state before and after."""

import enum
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from static_route_operator.api.noderoutestate import Reason, Row, RowState
from static_route_operator.api.resolution import ResolvedRoute
from static_route_operator.planning.diff import diff, diff_rules
from static_route_operator.planning.plan import ObjectPlan, Plan, owner_of
from static_route_operator.routing.description import describe_place, describe_route
from static_route_operator.routing.keyset import KeySet, by_family
from static_route_operator.routing.nexthops import NextHops
from static_route_operator.routing.routes import Action, Failure, Routes
from static_route_operator.routing.rules import Rule


class Kind(enum.StrEnum):
    """The change of a route, in the order in which changes are shown."""

    ADD = "add"
    CHANGE = "change"
    DELETE = "delete"
    CONFLICT = "conflict"
    REFUSED = "refused"
    FAILED = "failed"
    STANDBY = "standby"
    UNCHANGED = "unchanged"


CHANGES = frozenset({Kind.ADD, Kind.CHANGE, Kind.DELETE})
# Routes that an object asks for and can't have.
DENIED = frozenset({Kind.CONFLICT, Kind.REFUSED, Kind.FAILED})


class RouteChange(NamedTuple):
    """The change of some routes.

    Attributes:
        kind: see `Kind`.
        name: of the StaticRoute that has the routes, asks for them or had them; None for unknown.
        keys: of the routes, at least one.
        next_hops: next hops after the change; None for routes that would not be installed.
        before: next hops before the change, where they differ.
        why: reason for people; empty where the kind says everything.
    """

    kind: Kind
    name: str | None
    keys: KeySet
    next_hops: NextHops | None = None
    before: NextHops | None = None
    why: str = ""


class RuleChange(NamedTuple):
    """The change of a policy rule.

    Attributes:
        kind: ADD or DELETE.
        rule: the rule.
        names: of the StaticRoutes that the rule is or was for; empty for unknown.
    """

    kind: Kind
    rule: Rule
    names: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the change as a JSON object."""
        return {"action": self.kind, "family": self.rule.family, "rule": str(self.rule), "objects": list(self.names)}


@dataclass(frozen=True, slots=True)
class Forecast:
    """The result of a dry run.

    Attributes:
        routes: the changes of all routes that would be touched, and of all that the objects in question ask for.
        rules: the policy rules that would be added or deleted.
        rows: what this node would report of the objects in question that select it.
        interfaces: names of interfaces by index.
    """

    routes: tuple[RouteChange, ...]
    rules: tuple[RuleChange, ...]
    rows: tuple[Row, ...]
    interfaces: Mapping[int, str]

    def counts(self, name: str | None = None) -> dict[str, int]:
        """Return the number of routes of each kind; of one object if its name is given."""
        counts: Counter[Kind] = Counter()
        for change in self.routes:
            if name is None or change.name == name:
                counts[change.kind] += len(change.keys)
        return {kind.value: counts[kind] for kind in Kind}

    def to_json(self) -> dict[str, Any]:
        """Return the forecast as a JSON object, without the routes that stay as they are."""
        changes = [change for change in self.routes if change.kind is not Kind.UNCHANGED]
        return {
            "summary": self.counts(),
            "objects": [
                {"name": row.name, "state": row.state, "reason": row.reason, "message": row.message}
                | {"summary": self.counts(row.name)}
                for row in self.rows
            ],
            "routes": [route for change in changes for route in self._routes(change)],
            "rules": [change.to_json() for change in self.rules],
        }

    def _routes(self, change: RouteChange) -> Iterator[dict[str, Any]]:
        for key in change.keys:
            next_hops = change.next_hops or change.before
            described = describe_route(key, next_hops, self.interfaces) if next_hops else describe_place(key)
            route = {"action": change.kind, "object": change.name, **described}
            if change.next_hops and change.before:
                route["before"] = describe_route(key, change.before, self.interfaces)
            if change.why:
                route["reason"] = change.why
            yield route


class State(NamedTuple):
    """The routes and policy rules of this program on a node, before or after a change.

    Attributes:
        plan: what is desired, as far as that is known; it has the owners of routes and rules.
        routes: installed routes.
        rules: installed policy rules.
    """

    plan: Plan
    routes: Routes
    rules: Collection[Rule]


def make_forecast(  # noqa: PLR0913  each is a different part of a dry run
    before: State,
    after: State,
    failures: Mapping[bytes, Failure],
    rows: Iterable[Row],
    *,
    names: Collection[str],
    interfaces: Mapping[int, str],
) -> Forecast:
    """Return the changes of each route and rule.

    Args:
        before: the node as it is.
        after: the node as it would be.
        failures: what the kernel would refuse, by key.
        rows: what this node would report of all objects.
        names: of the objects in question.
        interfaces: names of interfaces by index.
    """
    changes = list(_route_changes(before, after))
    for each in after.plan.objects:
        if each.route.name in names:
            changes += _others(each, before, after, failures)
    order = list(Kind)
    changes.sort(key=lambda change: (change.name or "", order.index(change.kind)))
    return Forecast(
        tuple(changes),
        tuple(_rule_changes(before, after)),
        tuple(row for row in rows if row.name in names),
        interfaces,
    )


def dry_run_row(route: ResolvedRoute, forecast: Forecast) -> Row | None:
    """Return what a node reports of an object with ``spec.dryRun``; None if the object does not concern the node."""
    counts = forecast.counts(route.name)
    changes = [f"{kind} {counts[kind]}" for kind in Kind if kind in CHANGES and counts[kind]]
    rules = Counter(change.kind for change in forecast.rules if route.name in change.names)
    changes += [f"{kind} {rules[kind]} policy rules" for kind in Kind if rules[kind]]
    would = ", ".join(changes)
    row = next((row for row in forecast.rows if row.name == route.name), None)
    if row is None:
        if not would:
            return None
        text, reason, gateway = f"would {would}: the object no longer selects this node", Reason.PROGRAMMED, ""
    else:
        text, reason, gateway = f"would {would or 'change nothing'}", row.reason, row.gateway
        text += f"; {row.message}" if row.message else ""
    return Row(
        name=route.name,
        generation=route.generation,
        gateway=gateway,
        state=RowState.DRY_RUN,
        reason=reason,
        message=text,
        destinations=route.destinations,
        programmed=0,
    )


def _rule_changes(before: State, after: State) -> Iterator[RuleChange]:
    for action, rule in diff_rules(after.rules, before.rules):
        if action is Action.ADD:
            yield RuleChange(Kind.ADD, rule, after.plan.rules.get(rule, ()))
        else:
            yield RuleChange(Kind.DELETE, rule, before.plan.rules.get(rule, ()))


def _route_changes(before: State, after: State) -> Iterator[RouteChange]:
    for action, next_hops, keys in diff(after.routes, before.routes):
        for name, owned in _by_owner(keys, before.plan if action is Action.DELETE else after.plan):
            if action is Action.ADD:
                yield RouteChange(Kind.ADD, name, owned, next_hops)
            elif action is Action.DELETE:
                yield RouteChange(Kind.DELETE, name, owned, None, next_hops)
            else:
                for other, there in before.routes:
                    if moved := owned & there:
                        yield RouteChange(Kind.CHANGE, name, moved, next_hops, other)


def _by_owner(keys: KeySet, plan: Plan) -> Iterator[tuple[str | None, KeySet]]:
    # A route that one object has may be retained by another one; it belongs to the first.
    sets = [(each, each.keys) for each in plan.objects] + [
        (each, each.retained) for each in plan.objects if each.retained
    ]
    for planned, mine in sets:
        if owned := keys & mine:
            yield planned.route.name, owned
            keys -= owned
    for _, bypass in plan.bypass:
        if owned := keys & bypass:
            yield owner_of(owned[0], plan), owned
            keys -= owned
    if keys:
        yield None, keys


def _others(
    planned: ObjectPlan, before: State, after: State, failures: Mapping[bytes, Failure]
) -> Iterator[RouteChange]:
    """Yield the changes of the routes that an object asks for and that would not be touched."""
    name, rest = planned.route.name, planned.route.keys
    for state, keys, why in planned.left_out:
        # A key that is refused for several reasons counts once.
        if left := keys & rest:
            rest -= left
            yield RouteChange(Kind.STANDBY if state is RowState.STANDBY else Kind.REFUSED, name, left, why=why)
    for change in _conflicts(planned, failures):
        rest -= change.keys
        yield change
    mine = planned.keys or planned.retained
    for _, keys in after.plan.desired if planned.retained else ():
        # Routes that would be retained, but belong to another object.
        mine -= keys
    for next_hops, keys in after.routes:
        # Those that were installed otherwise are added or changed, and counted there.
        if same := rest & mine & keys & before.routes.through(next_hops):
            yield RouteChange(Kind.UNCHANGED, name, same, next_hops)
        rest -= keys & mine
    if rest:
        why = "; ".join(each.message for each in planned.problems if each.state is not RowState.STANDBY)
        yield RouteChange(Kind.FAILED, name, rest, why=why)


def _conflicts(planned: ObjectPlan, failures: Mapping[bytes, Failure]) -> Iterator[RouteChange]:
    by_text: dict[str, list[bytes]] = {}
    for key, failure in failures.items():
        if key in planned.keys:
            by_text.setdefault(failure.text, []).append(key)
    for text, failed in by_text.items():
        for keys in by_family(failed):
            why = f"another program's route is there{text and f': {text}'}"
            yield RouteChange(Kind.CONFLICT, planned.route.name, keys, why=why)
