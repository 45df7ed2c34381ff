"""Rows of a node's report, from the plan and the kernel's answers."""

import dataclasses
import errno
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from static_route_operator.api.noderoutestate import SEVERITY, GatewayState, Reason, Row, RowState
from static_route_operator.api.resolution import ResolvedRoute, Version
from static_route_operator.errors import InvalidSpecError
from static_route_operator.node.drift.damping import LAST_PAUSE, FlappingRoutes, hint
from static_route_operator.planning.guards import Issue
from static_route_operator.planning.plan import ObjectPlan, Plan
from static_route_operator.planning.targets import Target
from static_route_operator.routing.description import Interfaces, shadow_words
from static_route_operator.routing.kernelroute import KernelRoute
from static_route_operator.routing.keys import prefix_of
from static_route_operator.routing.keyset import KeySet
from static_route_operator.routing.prefixes import unpack_address, unpack_prefix
from static_route_operator.routing.routes import Failure, Routes

# Histories of flapping routes of an object that a message describes; of the others it gives the number of routes.
MOST_FLAPPING = 3
# Routes that a message about foreign routes names; of the others it gives the number.
MOST_SHADOWED = 2


@dataclass(frozen=True, slots=True)
class Outcome:
    """The state of the kernel after a plan was applied.

    Attributes:
        installed: the routes of this program in the kernel.
        failures: by key, the kernel's refusals; the text of a conflict (EEXIST) names the route that holds the place,
            as far as that was asked.
        flapping: the routes that other programs take away again and again.
        health: the health of each gateway that is probed.
        hints: by gateway that is down, a predicate with the likely cause, and what to do.
        shadowing: by key of an installed route, the route of another program that packets take in its place.
        interfaces: names of the interfaces by index.
    """

    installed: Routes
    failures: Mapping[bytes, Failure]
    flapping: Sequence[FlappingRoutes] = ()
    health: Mapping[Target, GatewayState] = field(default_factory=dict)
    hints: Mapping[Target, str] = field(default_factory=dict)
    shadowing: Mapping[bytes, KernelRoute] = field(default_factory=dict)
    interfaces: Interfaces = field(default_factory=dict)


def make_rows(
    plan: Plan,
    outcome: Outcome,
    undecided: Iterable[ResolvedRoute],
    invalid: Iterable[tuple[InvalidSpecError, int]],
) -> tuple[Row, ...]:
    """Return the rows of all objects that select this node, sorted by name.

    Args:
        plan: the desired state of the kernel.
        outcome: the state of the kernel.
        undecided: objects that may select this node: its labels are not known yet.
        invalid: the error and the generation of each object whose newest version can't be used.
    """
    rows = {each.route.name: _planned_row(each, outcome, plan) for each in plan.objects}
    for route in undecided:
        issue = Issue(RowState.PENDING, Reason.PENDING, "the labels of this node are not known yet")
        rows[route.name] = _row(route, [issue], 0)
    for error, generation in invalid:
        rows[error.name] = _invalid_row(error, generation, rows.get(error.name))
    return tuple(rows[name] for name in sorted(rows))


def with_dry_runs(
    rows: Sequence[Row], planned: Mapping[Version, Row], dry_runs: Iterable[ResolvedRoute]
) -> tuple[Row, ...]:
    """Return the rows, with those of dry runs in place of those of the versions in force.

    Args:
        rows: the rows of the versions in force; their numbers of installed routes are kept.
        planned: the rows of dry runs, by version.
        dry_runs: the objects with ``spec.dryRun`` now; a row of any other is out of date.
    """
    by_name = {row.name: row for row in rows}
    for route in dry_runs:
        if (row := planned.get(route.version)) is not None:
            known = by_name.get(row.name)
            by_name[row.name] = dataclasses.replace(row, programmed=known.programmed if known else 0)
    return tuple(by_name[name] for name in sorted(by_name))


def failed_rows(selected: Iterable[ResolvedRoute], known: Iterable[Row], text: str) -> tuple[Row, ...]:
    """Return the rows while runs fail as a whole.

    Args:
        selected: the objects for this node, or that may be for it.
        known: the last rows; their numbers of installed routes are kept.
        text: the error, and since when.
    """
    issue = Issue(RowState.FAILED, Reason.RECONCILE_FAILED, text)
    rows = {route.name: _row(route, [issue], 0) for route in selected}
    for row in known:
        rows[row.name] = dataclasses.replace(row, state=issue.state, reason=issue.reason, message=issue.message)
    return tuple(rows[name] for name in sorted(rows))


def _planned_row(planned: ObjectPlan, outcome: Outcome, plan: Plan) -> Row:
    # Without its bypass routes a default route is not used.
    bypass = plan.bypass if planned.route.spec.takes_default else Routes()
    concerned = [key for key in sorted({*outcome.failures, *outcome.shadowing}) if key in planned.keys or key in bypass]
    failed = {key: outcome.failures[key] for key in concerned if key in outcome.failures}
    shadowed = {key: outcome.shadowing[key] for key in concerned if key not in failed}
    flapping = [(keys, history) for history in outcome.flapping if (keys := planned.keys & history.keys)]
    issues = [
        *planned.problems,
        *_flapping(flapping),
        *_refusals_of_kernel(failed),
        *_shadowed(shadowed, outcome.interfaces),
    ]
    issues += [
        Issue(RowState.PROGRAMMED, Reason.GATEWAYS_NOT_USED, f"gateway {each.address} {outcome.hints[each]}")
        for each in planned.selection.targets
        if each in outcome.hints
    ]
    # Flapping routes count as missing, whether they are installed at this moment or not.
    missing = sum(len(keys) for keys, _ in flapping)
    # A route that packets do not take counts as missing too.
    missing += sum(not any(key in keys for keys, _ in flapping) for key in (*failed, *shadowed))
    row = _row(planned.route, issues, max(len(planned.keys) - missing, 0), _kept(planned, outcome, plan))
    next_hops = planned.selection.next_hops
    if next_hops is not None and next_hops.forwards:
        row = dataclasses.replace(row, gateway=_texts(hop.gateway for hop in next_hops.hops))
    if targets := planned.selection.targets:
        up, down = (
            tuple(each.address for each in targets if outcome.health.get(each) is state)
            for state in (GatewayState.UP, GatewayState.DOWN)
        )
        row = dataclasses.replace(row, up=up, down=down)
    return row


def _kept(planned: ObjectPlan, outcome: Outcome, plan: Plan) -> int:
    """Return the number of routes that stay as they were, without those that another object has now."""
    retained = planned.retained
    for _, keys in plan.desired if retained else ():
        if keys.size == retained.size:
            retained -= keys
    return outcome.installed.count(retained) if retained else 0


def _flapping(flapping: Sequence[tuple[KeySet, FlappingRoutes]]) -> Iterator[Issue]:
    if flapping:
        worst = sorted(flapping, key=lambda each: each[1].times, reverse=True)[:MOST_FLAPPING]
        texts = [f"{unpack_prefix(prefix_of(keys[0]))}{_more(len(keys) - 1)} {history}" for keys, history in worst]
        rest = sum(len(keys) for keys, _ in flapping) - sum(len(keys) for keys, _ in worst)
        message = (
            f"{', '.join(texts)}{_more(rest)}; restored after pauses of up to {LAST_PAUSE:g} s: "
            f"{hint(worst[0][1].actor)}"
        )
        yield Issue(RowState.FAILED, Reason.KEEPS_BEING_REMOVED, message)


def _refusals_of_kernel(failures: Mapping[bytes, Failure]) -> Iterator[Issue]:
    by_text: dict[str, list[bytes]] = {}
    conflicts = {}
    for key, failure in failures.items():
        if failure.errno == errno.EEXIST:
            conflicts[key] = failure.text
        else:
            by_text.setdefault(failure.text, []).append(key)
    if conflicts:
        named = [key for key, holder in conflicts.items() if holder] or list(conflicts)[:1]
        texts = [unpack_prefix(prefix_of(key)) + (f" ({conflicts[key]})" if conflicts[key] else "") for key in named]
        text = f"another program's route holds {', '.join(texts)}{_more(len(conflicts) - len(named))}"
        remedy = "it is left alone: have its owner give it up, or take this destination out"
        yield Issue(RowState.CONFLICT, Reason.FOREIGN_ROUTE, f"{text}; {remedy}")
    for text, keys in by_text.items():
        where = f"{unpack_prefix(prefix_of(keys[0]))}{_more(len(keys) - 1)}"
        message = f"the kernel refused {where}: {text}; it is tried again"
        yield Issue(RowState.FAILED, Reason.KERNEL_REFUSED, message)


def _shadowed(shadowing: Mapping[bytes, KernelRoute], interfaces: Interfaces) -> Iterator[Issue]:
    if not shadowing:
        return
    texts = [shadow_words(key, route, interfaces) for key, route in list(shadowing.items())[:MOST_SHADOWED]]
    yield Issue(RowState.CONFLICT, Reason.FOREIGN_ROUTE, "; ".join(texts) + _more(len(shadowing) - len(texts)))


def _more(number: int) -> str:
    return f" and {number} more" if number > 0 else ""


def _row(route: ResolvedRoute, issues: Sequence[Issue], programmed: int, kept: int = 0) -> Row:
    ordered = sorted(issues, key=lambda each: SEVERITY[each.state], reverse=True)
    messages = [each.message for each in ordered]
    if kept:
        stay = "stays as it was" if kept == 1 else "stay as they were"
        messages.append(f"{kept} of its routes {stay}")
    return Row(
        name=route.name,
        generation=route.generation,
        gateway=_texts(each.address for each in route.gateways),
        state=ordered[0].state if ordered else RowState.PROGRAMMED,
        reason=ordered[0].reason if ordered else Reason.PROGRAMMED,
        message="; ".join(messages),
        destinations=route.destinations,
        programmed=programmed,
    )


def _texts(addresses: Iterable[bytes]) -> str:
    return ", ".join(map(unpack_address, addresses))


def _invalid_row(error: InvalidSpecError, generation: int, known: Row | None) -> Row:
    """Return the row of an object whose newest version can't be used; ``known`` is the row of the version in force."""
    return Row(
        name=error.name,
        generation=generation,
        gateway=known.gateway if known else "",
        state=RowState.REFUSED,
        reason=Reason.INVALID_SPEC,
        message=f"{error.field}: {error.problem}" + ("; its last good version stays in force" if known else ""),
        destinations=known.destinations if known else 0,
        programmed=known.programmed if known else 0,
    )
