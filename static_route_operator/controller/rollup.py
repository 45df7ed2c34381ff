"""The state of a StaticRoute on all selected nodes, rolled up from the report of each node."""

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

# Names in a message.
MOST_NAMES = 3
# Characters of a node's message.
LONGEST_MESSAGE = 500


class GatewayCount(NamedTuple):
    """The numbers of nodes on which a gateway is up, and down."""

    address: str
    healthy: int
    unhealthy: int

    def to_json(self) -> dict[str, Any]:
        """Return the entry of a status."""
        return {"address": self.address, "healthyNodes": self.healthy, "unhealthyNodes": self.unhealthy}


class FailingNode(NamedTuple):
    """A node that can't program a StaticRoute, with its reason."""

    node: str
    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class Rollup:
    """The state of a StaticRoute in the cluster.

    Attributes:
        ready: number of nodes that have all routes or are on standby.
        failed: number of nodes that report a failure.
        pending: number of nodes without a report on this generation.
        unknown: number of nodes that are NotReady in Kubernetes, whatever they reported before.
        failing: the first failed nodes, worst first, then by name.
        condition: the Ready condition.
        gateways: the probed gateways; None without a health check.
        stage: the stage of the roll-out; None without a roll-out in stages.
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
        """Return the number of selected nodes."""
        return self.ready + self.failed + self.pending + self.unknown


def roll_up(
    summary: RouteSummary,
    nodes: Iterable[NodeInfo],
    report_of: Callable[[NodeInfo], Report | None],
    stored: Mapping[str, Any] = MappingProxyType({}),
) -> Rollup:
    """Return the state of a StaticRoute and the next stage of its roll-out.

    Args:
        summary: the StaticRoute.
        nodes: all nodes of the cluster.
        report_of: function that returns a node's report on the StaticRoute, if any.
        stored: the stored status of the StaticRoute.
    """
    ready = 0
    failed: list[tuple[int, FailingNode]] = []
    pending: list[str] = []
    unknown: list[str] = []
    up: Counter[str] = Counter()
    down: Counter[str] = Counter()
    candidates: list[StagedNode] = []
    dry_runs: list[tuple[str, str]] = []
    for node in nodes:
        if not summary.selects(node):
            continue
        report = report_of(node)
        if summary.rollout is not None:
            candidates.append(_candidate(node, report, summary.generation))
        if not node.ready:
            unknown.append(node.name)
            continue
        if report is not None:
            up.update(report.up)
            down.update(report.down)
        if report is None or report.generation != summary.generation or report.state is RowState.PENDING:
            pending.append(node.name)
        elif _is_good(report):
            ready += 1
            dry_runs.append((node.name, report.message))
        else:
            failing = FailingNode(node.name, report.reason, report.message[:LONGEST_MESSAGE])
            failed.append((-SEVERITY[report.state], failing))
    failed.sort()
    worst = tuple(failing for _, failing in failed[:MAX_FAILING_NODES])
    condition = _ready_condition(summary, ready, [failing for _, failing in failed], sorted(pending), sorted(unknown))
    if summary.dry_run:
        condition = _dry_run_condition(condition, dry_runs)
    stage = None
    if summary.rollout is not None:
        stage = next_stage(summary.rollout, summary.generation, candidates, parse_stage(stored))
        condition = _stage_condition(condition, stage)
    counts = tuple(GatewayCount(each, up[each], down[each]) for each in summary.gateways if up[each] or down[each])
    gateways = counts if summary.checked else None
    return Rollup(ready, len(failed), len(pending), len(unknown), worst, condition, gateways, stage)


def _is_good(report: Report) -> bool:
    """Report whether a node has all routes or is on standby; for a dry run, whether it would be."""
    return report.state in GOOD_STATES or (report.state is RowState.DRY_RUN and report.reason in GOOD_REASONS)


def _candidate(node: NodeInfo, report: Report | None, generation: int) -> StagedNode:
    """Return the node as a candidate of the roll-out."""
    answers = report is not None and report.generation == generation and report.state is not RowState.PENDING
    done = (
        answers
        and report is not None
        and report.state in GOOD_STATES
        and report.reason is not Reason.AWAITING_CONFIRMATION
    )
    return StagedNode(node.name, done, answers and not done, node.not_ready_since)


def _dry_run_condition(condition: Condition, dry_runs: Sequence[tuple[str, str]]) -> Condition:
    """Return the Ready condition of a StaticRoute with spec.dryRun.

    Args:
        condition: the condition without spec.dryRun.
        dry_runs: name and message of each good node.
    """
    parts = [f"dry run, no route is changed (spec.dryRun): {condition.message}"]
    if dry_runs:
        name, message = min(dry_runs)
        parts.append(f"{name} {message[:LONGEST_MESSAGE]}")
    reason, status = ConditionReason.DRY_RUN, ConditionStatus.FALSE
    return replace(condition, status=status, reason=reason, message="; ".join(parts))


def _stage_condition(condition: Condition, stage: Stage) -> Condition:
    """Return the Ready condition during a roll-out in stages."""
    if stage.phase is Phase.COMPLETE:
        return condition
    if stage.phase is Phase.PAUSED:
        text = f"paused because a node fails: released to {stage.nodes} nodes, the others keep the previous version"
        return replace(condition, reason=ConditionReason.ROLLOUT_PAUSED, message=f"{text}; {condition.message}")
    return replace(condition, message=f"released to {stage.nodes} nodes; {condition.message}")


def _ready_condition(
    summary: RouteSummary, ready: int, failed: Sequence[FailingNode], pending: Sequence[str], unknown: Sequence[str]
) -> Condition:
    selected = ready + len(failed) + len(pending) + len(unknown)
    status = ConditionStatus.FALSE
    if not summary.usable:
        reason = ConditionReason.INVALID_SPEC
        parts = [f"the spec is invalid and nodes keep the last good version, if any: {summary.accepted.message}"]
    elif not selected:
        reason = ConditionReason.NO_NODES_SELECTED
        parts = ["no node matches spec.nodeSelector" if summary.selector else "the cluster has no nodes"]
    else:
        parts = [f"{ready} of {selected} nodes ready"]
        if failed:
            reason = ConditionReason.NODES_FAILING
            parts += _failures(failed)
        elif pending:
            reason = ConditionReason.ROLLING_OUT
        elif unknown:
            # The routes may be installed, but no agent confirms that.
            reason, status = ConditionReason.NODES_NOT_READY, ConditionStatus.UNKNOWN
        else:
            reason, status = ConditionReason.ALL_NODES_READY, ConditionStatus.TRUE
        if pending:
            parts.append(f"waiting for {names_of(pending)}")
        if unknown:
            parts.append(f"unknown on {names_of(unknown)} (NotReady in Kubernetes)")
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
