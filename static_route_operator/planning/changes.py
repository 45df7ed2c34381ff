"""What a change would do to each route of a node, told from the routes before and after it."""

import enum
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from static_route_operator.api.noderoutestate import Reason, Row, RowState
from static_route_operator.api.resolution import ResolvedRoute
from static_route_operator.planning.diff import diff
from static_route_operator.planning.plan import ObjectPlan, Plan, owner_of
from static_route_operator.routing.description import describe_place, describe_route
from static_route_operator.routing.keyset import KeySet, by_family
from static_route_operator.routing.nexthops import NextHops
from static_route_operator.routing.routes import Action, Failure, Routes


class Kind(enum.StrEnum):
    """What becomes of a route, in the order in which it is told."""

    ADD = "add"
    CHANGE = "change"
    DELETE = "delete"
    CONFLICT = "conflict"
    REFUSED = "refused"
    FAILED = "failed"
    STANDBY = "standby"
    UNCHANGED = "unchanged"


CHANGES = frozenset({Kind.ADD, Kind.CHANGE, Kind.DELETE})
# What an object asks for and can't have.
DENIED = frozenset({Kind.CONFLICT, Kind.REFUSED, Kind.FAILED})


class RouteChange(NamedTuple):
    """What becomes of some routes.

    Attributes:
        kind: see `Kind`.
        name: of the StaticRoute that has them, asks for them or had them; None when it is not known.
        keys: of the routes, at least one.
        path: that they take then; None where there is none.
        before: that they take now, where it is another one.
        why: for people; empty where it goes without saying.
    """

    kind: Kind
    name: str | None
    keys: KeySet
    path: NextHops | None = None
    before: NextHops | None = None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a change would do.

    Attributes:
        fates: of all routes that it would touch, and of all that the objects in question ask for.
        rows: what this node would say of those objects that select it.
        interfaces: names of interfaces by index.
    """

    fates: tuple[RouteChange, ...]
    rows: tuple[Row, ...]
    interfaces: Mapping[int, str]

    def counts(self, name: str | None = None) -> dict[str, int]:
        """The number of routes of each kind; those of one object where its name is given."""
        counts: Counter[Kind] = Counter()
        for fate in self.fates:
            if name is None or fate.name == name:
                counts[fate.kind] += len(fate.keys)
        return {kind.value: counts[kind] for kind in Kind}

    def to_json(self) -> dict[str, Any]:
        """As a JSON object, with each route that is not as it stays."""
        return {
            "summary": self.counts(),
            "objects": [
                {"name": row.name, "state": row.state, "reason": row.reason, "message": row.message}
                | {"summary": self.counts(row.name)}
                for row in self.rows
            ],
            "routes": [route for fate in self.fates if fate.kind is not Kind.UNCHANGED for route in self._routes(fate)],
        }

    def _routes(self, fate: RouteChange) -> Iterator[dict[str, Any]]:
        for key in fate.keys:
            path = fate.path or fate.before
            described = describe_route(key, path, self.interfaces) if path else describe_place(key)
            route = {"action": fate.kind, "object": fate.name, **described}
            if fate.path and fate.before:
                route["before"] = describe_route(key, fate.before, self.interfaces)
            if fate.why:
                route["reason"] = fate.why
            yield route


def make_forecast(  # noqa: PLR0913  one of each, and none goes with another
    plan: Plan,
    known: Plan,
    routes: tuple[Routes, Routes],
    failures: Mapping[bytes, Failure],
    rows: Iterable[Row],
    *,
    names: Collection[str],
    interfaces: Mapping[int, str],
) -> Forecast:
    """Tell what becomes of each route.

    Args:
        plan: what should be in the kernel after the change.
        known: what should be there now, as far as that is known: it tells whose a deleted route is.
        routes: our routes in the kernel before and after.
        failures: by key, what the kernel would refuse.
        rows: what this node would say of all objects.
        names: of the objects in question.
        interfaces: names of interfaces by index.
    """
    before, after = routes
    fates = list(_changes(plan, known, before, after))
    for each in plan.objects:
        if each.route.name in names:
            fates += _others(each, plan, before, after, failures)
    order = list(Kind)
    fates.sort(key=lambda fate: (fate.name or "", order.index(fate.kind)))
    return Forecast(tuple(fates), tuple(row for row in rows if row.name in names), interfaces)


def dry_run_row(route: ResolvedRoute, forecast: Forecast) -> Row | None:
    """What a node says of an object that is only rehearsed; None where it has nothing to do with it."""
    counts = forecast.counts(route.name)
    would = ", ".join(f"{kind} {counts[kind]}" for kind in Kind if kind in CHANGES and counts[kind])
    row = next((row for row in forecast.rows if row.name == route.name), None)
    if row is None:
        if not would:
            return None
        text, reason, gateway = f"would {would}: it is not for this node any more", Reason.PROGRAMMED, ""
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


def _changes(plan: Plan, known: Plan, before: Routes, after: Routes) -> Iterator[RouteChange]:
    for action, path, keys in diff(after, before):
        for name, owned in _by_owner(keys, known if action is Action.DELETE else plan):
            if action is Action.ADD:
                yield RouteChange(Kind.ADD, name, owned, path)
            elif action is Action.DELETE:
                yield RouteChange(Kind.DELETE, name, owned, None, path)
            else:
                for other, there in before:
                    if moved := owned & there:
                        yield RouteChange(Kind.CHANGE, name, moved, path, other)


def _by_owner(keys: KeySet, plan: Plan) -> Iterator[tuple[str | None, KeySet]]:
    # What an object has comes before what another one would leave as it is.
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
    planned: ObjectPlan, plan: Plan, before: Routes, after: Routes, failures: Mapping[bytes, Failure]
) -> Iterator[RouteChange]:
    """What becomes of the routes of an object that would not be touched."""
    name, rest = planned.route.name, planned.route.keys
    for state, keys, why in planned.left_out:
        # A key that is refused for several reasons is told once.
        if told := keys & rest:
            rest -= told
            yield RouteChange(Kind.STANDBY if state is RowState.STANDBY else Kind.REFUSED, name, told, why=why)
    for fate in _conflicts(planned, failures):
        rest -= fate.keys
        yield fate
    mine = planned.keys or planned.retained
    for _, keys in plan.desired if planned.retained else ():
        # What would be left as it is, but others have it.
        mine -= keys
    for path, keys in after:
        # The others of these are added or changed: that is told already.
        if same := rest & mine & keys & before.through(path):
            yield RouteChange(Kind.UNCHANGED, name, same, path)
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
