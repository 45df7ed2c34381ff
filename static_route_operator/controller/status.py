"""The status of a StaticRoute, made from the roll-up of all reports."""

from collections.abc import Mapping, Sequence
from typing import Any

from static_route_operator.api.conditions import (
    Condition,
    ConditionReason,
    ConditionStatus,
    ConditionType,
    find_condition,
)
from static_route_operator.api.crd.staticroute_status import MAX_MESSAGE_LENGTH
from static_route_operator.api.rollout import Stage, parse_stage
from static_route_operator.controller.rollup import GatewayCount, Rollup, names_of
from static_route_operator.controller.summaries import RouteSummary


def make_status(summary: RouteSummary, rollup: Rollup, before: Mapping[str, Any], now: str) -> dict[str, Any]:
    """Return the status of a StaticRoute as a JSON object.

    Args:
        summary: the StaticRoute.
        rollup: its state in the cluster.
        before: the stored status; an unchanged condition keeps the time of its last transition.
        now: the time, RFC 3339.
    """
    conditions = [summary.accepted, rollup.condition]
    optional: dict[str, Any] = {}
    # Fields without a value are absent; null deletes the value of an earlier status.
    if rollup.gateways is not None:
        optional["gateways"] = [each.to_json() for each in rollup.gateways]
        conditions.append(_gateways_condition(rollup.gateways))
    elif before.get("gateways"):
        optional["gateways"] = None
    if summary.several or before.get("gateway"):
        optional["gateway"] = ", ".join(summary.gateways) if summary.several else None
    if rollup.stage is not None:
        optional["rollout"] = _not_narrowed(rollup.stage, parse_stage(before)).to_json(now)
    elif before.get("rollout"):
        optional["rollout"] = None
    return {
        "observedGeneration": summary.generation,
        **optional,
        "summary": f"{rollup.ready}/{rollup.selected}",
        "routes": summary.routes,
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
                "message": each.message[:MAX_MESSAGE_LENGTH],
                "observedGeneration": summary.generation,
                "lastTransitionTime": _since(each, find_condition(before, each.type)) or now,
            }
            for each in conditions
        ],
    }


def _not_narrowed(stage: Stage, before: Stage | None) -> Stage:
    """Return the wider stage: a roll-up older than the last write must not exclude nodes again."""
    if before is None or before.generation != stage.generation or before.threshold <= stage.threshold:
        return stage
    return before


def _since(condition: Condition, before: Mapping[str, Any]) -> str:
    return before.get("lastTransitionTime", "") if before.get("status") == condition.status else ""


def _gateways_condition(gateways: Sequence[GatewayCount]) -> Condition:
    if not gateways:
        status, reason, message = ConditionStatus.UNKNOWN, ConditionReason.NOT_PROBED, "no node has reported yet"
    elif down := [each for each in gateways if each.unhealthy]:
        status, reason = ConditionStatus.FALSE, ConditionReason.GATEWAYS_DOWN
        # Names only: each change of a number of nodes, which `status.gateways` has, would be another Event.
        message = f"down: {names_of([each.address + (' on some nodes' if each.healthy else '') for each in down])}"
    else:
        status, reason = ConditionStatus.TRUE, ConditionReason.ALL_GATEWAYS_UP
        message = f"up: {names_of([each.address for each in gateways])}"
    return Condition(ConditionType.GATEWAYS_HEALTHY, status, reason, message)
