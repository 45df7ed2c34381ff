"""How a StaticRoute fares on all of its nodes, put together from what each node says of it."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, NamedTuple

from static_route_operator.api.conditions import (
    Condition,
    ConditionReason,
    ConditionStatus,
    ConditionType,
)
from static_route_operator.api.crd.staticroute_status import MAX_FAILING_NODES
from static_route_operator.api.noderoutestate import GOOD_REASONS, GOOD_STATES, SEVERITY, Reason, RowState
from static_route_operator.api.rollout import Phase, Stage, parse_stage
from static_route_operator.controller.staging import StagedNode, next_stage
from static_route_operator.controller.summaries import NodeInfo, Report, RouteSummary, more

# So many names stand in a message, and so many characters of what a node says.
MOST_NAMES = 3
LONGEST_MESSAGE = 500


class GatewayCount(NamedTuple):
    """On how many nodes a gateway is up, and on how many it is down."""

    address: str
    healthy: int
    unhealthy: int

    def to_json(self) -> dict[str, Any]:
        """As it stands in a status."""
        return {"address": self.address, "healthyNodes": self.healthy, "unhealthyNodes": self.unhealthy}


class FailingNode(NamedTuple):
    """A node that can't do what a StaticRoute asks for, and what it says."""

    node: str
    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class Rollup:
    """How a StaticRoute fares.

    Attributes:
        ready: number of nodes that have all of its routes, or stand by.
        failed: number of nodes that say they can't.
        pending: number of nodes that have not answered for this generation.
        unknown: number of nodes that are NotReady in Kubernetes, whatever they said before.
        failing: the first of the failed nodes, worst first, then by name.
        condition: the Ready condition.
        gateways: those that nodes probe for it; None when it has no health check.
        stage: which nodes may use it; None when all may.
    """

    ready: int
    failed: int
    pending: int
    unknown: int
    failing: tuple[FailingNode, ...]
    condition: Condition
    gateways: tuple[GatewayCount, ...] | None = None
    stage: Stage | None = None

    @property
    def selected(self) -> int:
        """Number of nodes that it is for."""
        return self.ready + self.failed + self.pending + self.unknown


def roll_up(
    subject: RouteSummary,
    members: Iterable[NodeInfo],
    report_of: Callable[[NodeInfo], Report | None],
    stored: Mapping[str, Any] = MappingProxyType({}),
) -> Rollup:
    """Put together how a StaticRoute fares, and which nodes may use it.

    Args:
        subject: the StaticRoute.
        members: all nodes that there are.
        report_of: what a node says of it, if anything.
        stored: the status that it has.
    """
    ready = 0
    failed: list[tuple[int, FailingNode]] = []
    pending: list[str] = []
    unknown: list[str] = []
    up: Counter[str] = Counter()
    down: Counter[str] = Counter()
    candidates: list[StagedNode] = []
    rehearsed: list[tuple[str, str]] = []
    for member in members:
        if not subject.selects(member):
            continue
        report = report_of(member)
        if subject.rollout is not None:
            candidates.append(_candidate(member, report, subject.generation))
        if not member.ready:
            unknown.append(member.name)
            continue
        if report is not None:
            up.update(report.up)
            down.update(report.down)
        if report is None or report.generation != subject.generation or report.state is RowState.PENDING:
            pending.append(member.name)
        elif _is_good(report):
            ready += 1
            rehearsed.append((member.name, report.message))
        else:
            failing = FailingNode(member.name, report.reason, report.message[:LONGEST_MESSAGE])
            failed.append((-SEVERITY[report.state], failing))
    failed.sort()
    worst = tuple(failing for _, failing in failed[:MAX_FAILING_NODES])
    condition = _ready_condition(subject, ready, [failing for _, failing in failed], sorted(pending), sorted(unknown))
    if subject.dry_run:
        condition = _rehearsed(condition, rehearsed)
    stage = None
    if subject.rollout is not None:
        stage = next_stage(subject.rollout, subject.generation, candidates, parse_stage(stored))
        condition = _staged(condition, stage)
    counts = tuple(GatewayCount(each, up[each], down[each]) for each in subject.gateways if up[each] or down[each])
    gateways = counts if subject.checked else None
    return Rollup(ready, len(failed), len(pending), len(unknown), worst, condition, gateways, stage)


def _is_good(report: Report) -> bool:
    """Whether a node has all routes, or stands by, or would in earnest."""
    return report.state in GOOD_STATES or (report.state is RowState.DRY_RUN and report.reason in GOOD_REASONS)


def _candidate(member: NodeInfo, report: Report | None, generation: int) -> StagedNode:
    """A node in the order of a roll-out."""
    answers = report is not None and report.generation == generation and report.state is not RowState.PENDING
    done = (
        answers
        and report is not None
        and report.state in GOOD_STATES
        and report.reason is not Reason.AWAITING_CONFIRMATION
    )
    return StagedNode(member.name, done, answers and not done, member.not_ready_since)


def _rehearsed(condition: Condition, told: Sequence[tuple[str, str]]) -> Condition:
    """The Ready condition of what is only rehearsed."""
    parts = [f"nothing is done (spec.dryRun): {condition.message}"]
    if told:
        name, message = min(told)
        parts.append(f"{name} {message[:LONGEST_MESSAGE]}")
    reason, status = ConditionReason.DRY_RUN, ConditionStatus.FALSE
    return replace(condition, status=status, reason=reason, message="; ".join(parts))


def _staged(condition: Condition, stage: Stage) -> Condition:
    """The Ready condition of what not all nodes may use yet."""
    if stage.phase is Phase.COMPLETE:
        return condition
    if stage.phase is Phase.PAUSED:
        text = f"paused, since a node fails: released to {stage.nodes} nodes, the others keep what they have"
        return replace(condition, reason=ConditionReason.ROLLOUT_PAUSED, message=f"{text}; {condition.message}")
    return replace(condition, message=f"released to {stage.nodes} nodes; {condition.message}")


def _ready_condition(
    subject: RouteSummary, ready: int, failed: Sequence[FailingNode], pending: Sequence[str], unknown: Sequence[str]
) -> Condition:
    selected = ready + len(failed) + len(pending) + len(unknown)
    status = ConditionStatus.FALSE
    if not subject.usable:
        reason = ConditionReason.INVALID_SPEC
        parts = [f"nodes keep the last good version, if they have one: {subject.accepted.message}"]
    elif not selected:
        reason = ConditionReason.NO_NODES_SELECTED
        parts = ["no node matches spec.nodeSelector" if subject.selector else "there are no nodes"]
    else:
        parts = [f"{ready} of {selected} nodes ready"]
        if failed:
            reason = ConditionReason.NODES_FAILING
            parts += _failures(failed)
        elif pending:
            reason = ConditionReason.ROLLING_OUT
        elif unknown:
            # Its routes may well be there, but nobody can tell.
            reason, status = ConditionReason.NODES_NOT_READY, ConditionStatus.UNKNOWN
        else:
            reason, status = ConditionReason.ALL_NODES_READY, ConditionStatus.TRUE
        if pending:
            parts.append(f"waiting for {names_of(pending)}")
        if unknown:
            parts.append(f"not known of {names_of(unknown)}, NotReady in Kubernetes")
    return Condition(ConditionType.READY, status, reason, "; ".join(parts))


def _failures(failed: Sequence[FailingNode]) -> list[str]:
    worst, *others = failed
    parts = [f"{worst.node}: {worst.message}"]
    if others:
        parts.append(f"also failing: {names_of([each.node for each in others])}")
    return parts


def names_of(names: Sequence[str]) -> str:
    """Return the first names, and the number of the others."""
    return ", ".join(names[:MOST_NAMES]) + more(len(names) - MOST_NAMES)
