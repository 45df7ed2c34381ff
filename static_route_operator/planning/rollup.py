"""How a StaticRoute fares on all of its nodes, put together from what each node says of it."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, NamedTuple

from static_route_operator.api.clusteraddresses import NodeAddresses
from static_route_operator.api.conditions import (
    Condition,
    ConditionReason,
    ConditionStatus,
    ConditionType,
    find_condition,
)
from static_route_operator.api.crd import MOST_FAILING
from static_route_operator.api.noderoutestate import GOOD_REASONS, GOOD_STATES, SEVERITY, Reason, RowState
from static_route_operator.api.nodeselector import NodeSelector
from static_route_operator.api.rollout import Phase, Rollout, Stage, parse_stage
from static_route_operator.api.staticroute import StaticRoute
from static_route_operator.errors import InvalidSpecError
from static_route_operator.planning.facts import Node
from static_route_operator.planning.selection import selects
from static_route_operator.planning.staging import Candidate, next_stage

# So many names stand in a message, and so many characters of what a node says.
MOST_NAMES = 3
LONGEST_MESSAGE = 500


class Report(NamedTuple):
    """What a node says of a StaticRoute.

    Attributes:
        generation: the generation of the spec that this is about.
        state: see `RowState`.
        reason: see `Reason`.
        message: for people; empty when all is well.
        up: addresses of its gateways that answer there.
        down: addresses of those that do not.
    """

    generation: int
    state: RowState
    reason: Reason
    message: str
    up: tuple[str, ...] = ()
    down: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Member:
    """A node of the cluster.

    Attributes:
        node: its name and labels.
        uid: a node that comes again under its name has another one.
        ready: whether Kubernetes takes it for ready; a node that nobody has judged counts as ready.
        addresses: which no route may capture.
        not_ready_since: when it ceased to be so, in RFC 3339; empty while it is.
    """

    node: Node
    uid: str
    ready: bool
    addresses: NodeAddresses = field(default_factory=NodeAddresses)
    not_ready_since: str = ""

    @property
    def name(self) -> str:
        """The node's name."""
        return self.node.name


@dataclass(frozen=True, slots=True)
class Subject:
    """A StaticRoute without its destinations: all that a roll-up needs, and small however many they are.

    Attributes:
        name: ``metadata.name``.
        uid: ``metadata.uid``.
        generation: ``metadata.generation``.
        routes: how many destinations its spec names, equal ones counted once.
        accepted: whether its spec can be used.
        selector: the nodes it is for; None means every node.
        gateways: the addresses of its gateways.
        several: whether they are in ``spec.gateways``.
        checked: whether its gateways are checked.
        rollout: how a new generation reaches the nodes; None for all at once.
        dry_run: nodes do nothing, and tell what they would do.
    """

    name: str
    uid: str
    generation: int
    routes: int
    accepted: Condition
    selector: NodeSelector | None = None
    gateways: tuple[str, ...] = ()
    several: bool = False
    checked: bool = False
    rollout: Rollout | None = None
    dry_run: bool = False

    @property
    def usable(self) -> bool:
        """Whether anything of its spec can be used."""
        return self.accepted.reason is not ConditionReason.INVALID_SPEC

    def selects(self, member: Member) -> bool:
        """Whether it is for a node."""
        return self.usable and selects(self.selector, member.node)

    @classmethod
    def parse(cls, body: Mapping[str, Any], rollout: Rollout | None = None) -> "Subject":
        """Read an object as the API server sends it, whatever is wrong with its spec.

        Args:
            body: of the object.
            rollout: how it reaches the nodes if it does not say.
        """
        metadata = body["metadata"]
        generation = metadata.get("generation") or 0
        try:
            route = StaticRoute.parse(body)
        except InvalidSpecError as error:
            accepted = _accepted(ConditionReason.INVALID_SPEC, f"{error.field}: {error.problem}")
            return cls(metadata["name"], metadata["uid"], generation, 0, accepted)
        routes = len(route.keys) + len(route.refused)
        if route.refused:
            first = route.refused[0].problem
            message = f"{len(route.refused)} of {routes} destinations can't be routed: {first}"
            accepted = _accepted(ConditionReason.INVALID_DESTINATIONS, message + _more(len(route.refused) - 1))
        else:
            accepted = _accepted(ConditionReason.VALID, "the spec can be used")
        return cls(
            name=route.name,
            uid=route.uid,
            generation=generation,
            routes=routes,
            accepted=accepted,
            selector=route.node_selector,
            gateways=tuple(each.text for each in route.gateways),
            several=body["spec"].get("gateway") is None,
            checked=route.check is not None,
            # What does nothing needs no care.
            rollout=None if route.dry_run else route.rollout or rollout,
            dry_run=route.dry_run,
        )


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
    subject: Subject,
    members: Iterable[Member],
    report_of: Callable[[Member], Report | None],
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
    candidates: list[Candidate] = []
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
    worst = tuple(failing for _, failing in failed[:MOST_FAILING])
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


def _candidate(member: Member, report: Report | None, generation: int) -> Candidate:
    """A node in the order of a roll-out."""
    answers = report is not None and report.generation == generation and report.state is not RowState.PENDING
    done = answers and report is not None and report.state in GOOD_STATES and report.reason is not Reason.ON_TRIAL
    return Candidate(member.name, done, answers and not done, member.not_ready_since)


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


def make_status(subject: Subject, rollup: Rollup, before: Mapping[str, Any], now: str) -> dict[str, Any]:
    """The status of a StaticRoute as a JSON object.

    Args:
        subject: the StaticRoute.
        rollup: how it fares.
        before: the status it has: a condition that keeps its status keeps the time of its last transition.
        now: RFC 3339.
    """
    conditions = [subject.accepted, rollup.condition]
    optional: dict[str, Any] = {}
    # Absent where they say nothing; null takes away what another version of the object had.
    if rollup.gateways is not None:
        optional["gateways"] = [each.to_json() for each in rollup.gateways]
        conditions.append(_gateways_condition(rollup.gateways))
    elif before.get("gateways"):
        optional["gateways"] = None
    if subject.several or before.get("gateway"):
        optional["gateway"] = ", ".join(subject.gateways) if subject.several else None
    if rollup.stage is not None:
        optional["rollout"] = _not_narrowed(rollup.stage, parse_stage(before)).to_json(now)
    elif before.get("rollout"):
        optional["rollout"] = None
    return {
        "observedGeneration": subject.generation,
        **optional,
        "summary": f"{rollup.ready}/{rollup.selected}",
        "routes": subject.routes,
        "nodes": {
            "selected": rollup.selected,
            "ready": rollup.ready,
            "failed": rollup.failed,
            "pending": rollup.pending,
            "unknown": rollup.unknown,
        },
        "failingNodes": [each._asdict() for each in rollup.failing],
        "conditions": [
            {
                "type": each.type,
                "status": each.status,
                "reason": each.reason,
                "message": each.message,
                "observedGeneration": subject.generation,
                "lastTransitionTime": _since(each, find_condition(before, each.type)) or now,
            }
            for each in conditions
        ],
    }


def _not_narrowed(stage: Stage, before: Stage | None) -> Stage:
    """A stage that was made before the last one was written must not take back what that released."""
    if before is None or before.generation != stage.generation or before.up_to <= stage.up_to:
        return stage
    return before


def _since(condition: Condition, before: Mapping[str, Any]) -> str:
    return before.get("lastTransitionTime", "") if before.get("status") == condition.status else ""


def _accepted(reason: ConditionReason, message: str) -> Condition:
    status = ConditionStatus.TRUE if reason is ConditionReason.VALID else ConditionStatus.FALSE
    return Condition(ConditionType.ACCEPTED, status, reason, message)


def _gateways_condition(gateways: Sequence[GatewayCount]) -> Condition:
    if not gateways:
        status, reason, message = ConditionStatus.UNKNOWN, ConditionReason.NOT_PROBED, "no node has told of any yet"
    elif down := [each for each in gateways if each.unhealthy]:
        status, reason = ConditionStatus.FALSE, ConditionReason.GATEWAYS_DOWN
        # Which, not on how many nodes: that is in `status.gateways`, and would be another Event each time.
        message = f"down: {_names([each.address + (' on some nodes' if each.healthy else '') for each in down])}"
    else:
        status, reason = ConditionStatus.TRUE, ConditionReason.ALL_GATEWAYS_UP
        message = f"up: {_names([each.address for each in gateways])}"
    return Condition(ConditionType.GATEWAYS_HEALTHY, status, reason, message)


def _ready_condition(
    subject: Subject, ready: int, failed: Sequence[FailingNode], pending: Sequence[str], unknown: Sequence[str]
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
            parts.append(f"waiting for {_names(pending)}")
        if unknown:
            parts.append(f"not known of {_names(unknown)}, NotReady in Kubernetes")
    return Condition(ConditionType.READY, status, reason, "; ".join(parts))


def _failures(failed: Sequence[FailingNode]) -> list[str]:
    worst, *others = failed
    parts = [f"{worst.node}: {worst.message}"]
    if others:
        parts.append(f"also failing: {_names([each.node for each in others])}")
    return parts


def _names(names: Sequence[str]) -> str:
    return ", ".join(names[:MOST_NAMES]) + _more(len(names) - MOST_NAMES)


def _more(number: int) -> str:
    return f" and {number} more" if number > 0 else ""
