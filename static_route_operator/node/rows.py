"""What became of each object on this node, put together from its plan and from what the kernel refused."""

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
from static_route_operator.routing.keys import prefix_of
from static_route_operator.routing.keyset import KeySet
from static_route_operator.routing.prefixes import unpack_address, unpack_prefix
from static_route_operator.routing.routes import Failure, Routes

# Contests of an object that are told in full; of the others the number of routes is.
MOST_CONTESTS = 3


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a plan in the kernel.

    Attributes:
        installed: the routes that are there of ours.
        failures: by key, what the kernel refused; the text of a conflict (EEXIST) says who holds the place, as far as
            that was asked.
        contests: what others take away again and again.
        health: of the gateways that are probed.
    """

    installed: Routes
    failures: Mapping[bytes, Failure]
    contests: Sequence[FlappingRoutes] = ()
    health: Mapping[Target, GatewayState] = field(default_factory=dict)


def make_rows(
    plan: Plan,
    outcome: Outcome,
    undecided: Iterable[ResolvedRoute],
    invalid: Iterable[tuple[InvalidSpecError, int]],
) -> tuple[Row, ...]:
    """The rows of all objects that select this node, by name.

    Args:
        plan: what should be in the kernel.
        outcome: what is.
        undecided: objects of which it is not known yet whether they are for this node.
        invalid: what is wrong with objects that can't be used, and the generation that is so.
    """
    rows = {each.route.name: _planned_row(each, outcome, plan.bypass) for each in plan.objects}
    for route in undecided:
        problem = Issue(RowState.PENDING, Reason.PENDING, "the labels of this node are not known yet")
        rows[route.name] = _row(route, [problem], 0)
    for error, generation in invalid:
        rows[error.name] = _invalid_row(error, generation, rows.get(error.name))
    return tuple(rows[name] for name in sorted(rows))


def with_dry_runs(
    rows: Sequence[Row], planned: Mapping[Version, Row], dry_runs: Iterable[ResolvedRoute]
) -> tuple[Row, ...]:
    """The rows with those of dry runs in the place of those of the versions in force, whose routes are counted.

    Args:
        rows: of what is in force.
        planned: by version, the rows of dry runs.
        dry_runs: those that there are now.
    """
    by_name = {row.name: row for row in rows}
    for route in dry_runs:
        if (row := planned.get(route.version)) is not None:
            known = by_name.get(row.name)
            by_name[row.name] = dataclasses.replace(row, programmed=known.programmed if known else 0)
    return tuple(by_name[name] for name in sorted(by_name))


def _planned_row(planned: ObjectPlan, outcome: Outcome, bypass: Routes) -> Row:
    # Without its pins a default route is not used.
    bypass = bypass if planned.route.spec.takes_default else Routes()
    failed = {key: outcome.failures[key] for key in sorted(outcome.failures) if key in planned.keys or key in bypass}
    contested = [(keys, contest) for contest in outcome.contests if (keys := planned.keys & contest.keys)]
    problems = [*planned.problems, *_contentions(contested), *_refusals_of_kernel(failed)]
    # What is contested counts as missing, whether it is there just now or not.
    missing = sum(len(keys) for keys, _ in contested)
    missing += sum(not any(key in keys for keys, _ in contested) for key in failed)
    kept = outcome.installed.count(planned.retained) if planned.retained else 0
    row = _row(planned.route, problems, max(len(planned.keys) - missing, 0), kept)
    path = planned.selection.path
    if path is not None and path.forwards:
        row = dataclasses.replace(row, gateway=_texts(hop.gateway for hop in path.hops))
    if targets := planned.selection.targets:
        up, down = (
            tuple(each.address for each in targets if outcome.health.get(each) is state)
            for state in (GatewayState.UP, GatewayState.DOWN)
        )
        row = dataclasses.replace(row, up=up, down=down)
    return row


def _contentions(contested: Sequence[tuple[KeySet, FlappingRoutes]]) -> Iterator[Issue]:
    if contested:
        told = sorted(contested, key=lambda each: each[1].times, reverse=True)[:MOST_CONTESTS]
        texts = [f"{unpack_prefix(prefix_of(keys[0]))}{_more(len(keys) - 1)} {contest}" for keys, contest in told]
        rest = sum(len(keys) for keys, _ in contested) - sum(len(keys) for keys, _ in told)
        message = (
            f"{', '.join(texts)}{_more(rest)}; put back after pauses of up to {LAST_PAUSE:g} s: "
            f"{hint(told[0][1].rival)}"
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
        yield Issue(
            RowState.CONFLICT, Reason.FOREIGN_ROUTE, f"{text}; it is left alone: remove it, or this destination"
        )
    for text, keys in by_text.items():
        where = f"{unpack_prefix(prefix_of(keys[0]))}{_more(len(keys) - 1)}"
        message = f"the kernel refused {where}: {text}; it is tried again"
        yield Issue(RowState.FAILED, Reason.KERNEL_REFUSED, message)


def _more(number: int) -> str:
    return f" and {number} more" if number > 0 else ""


def _row(route: ResolvedRoute, problems: Sequence[Issue], programmed: int, kept: int = 0) -> Row:
    ordered = sorted(problems, key=lambda each: SEVERITY[each.state], reverse=True)
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
    """The row of an object whose newest version can't be used; ``known`` is that of the version in force."""
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
