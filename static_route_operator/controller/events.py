"""Events about StaticRoutes: few, one per transition of an object, where `kubectl describe` finds them.

An Event of a cluster-scoped object stands in namespace ``default`` and names the object by uid and without a namespace:
nothing else is shown by both `kubectl describe` and `kubectl events --for`. The same again is counted in its series.
"""

import asyncio
import datetime as dt
import logging
import socket
import uuid
from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from static_route_operator.api import API_VERSION
from static_route_operator.api.conditions import ConditionReason, ConditionType, find_condition
from static_route_operator.api.staticroute import KIND
from static_route_operator.cluster.engine import FIRST_BACKOFF, LAST_BACKOFF
from static_route_operator.controller.client import APPLY_PATCH, IDENTITY, Client
from static_route_operator.controller.summaries import RouteSummary
from static_route_operator.errors import ApiError
from static_route_operator.observability.metrics import ControllerMetrics
from static_route_operator.supervision import Backoff

logger = logging.getLogger(__name__)

CONTROLLER = "static-route-operator"
PATH = "/apis/events.k8s.io/v1/namespaces/default/events"

# The API server's limit of a note. Characters.
LONGEST_NOTE = 1024
# An Event is worth so many tries: what it says stands in the status too.
TRIES = 5
# So many different Events of an object are counted on; the API server forgets them after an hour.
MOST_SERIES = 20


class Kind(NamedTuple):
    """How a transition is told.

    Attributes:
        type: Normal or Warning.
        reason: the Event's, stable.
    """

    type: str
    reason: str


# The transitions that are told: those into a state in which it may stay. A roll-out is seen in the status.
KINDS: Mapping[str, Kind] = {
    ConditionReason.ALL_NODES_READY: Kind("Normal", "Ready"),
    ConditionReason.NODES_FAILING: Kind("Warning", "NodesFailing"),
    ConditionReason.ROLLOUT_PAUSED: Kind("Warning", "RolloutPaused"),
    ConditionReason.NO_NODES_SELECTED: Kind("Warning", "NoNodesSelected"),
    ConditionReason.INVALID_SPEC: Kind("Warning", "Invalid"),
    ConditionReason.ALL_GATEWAYS_UP: Kind("Normal", "GatewaysHealthy"),
    ConditionReason.GATEWAYS_DOWN: Kind("Warning", "GatewaysDown"),
}


@dataclass(slots=True)
class _Series:
    """An Event that was written, to be counted on."""

    name: str
    time: str
    count: int = 1


class EventRecorder:
    """Writes the Events, one after the other.

    Args:
        api: the API server.
        metrics: where to count.
    """

    def __init__(self, api: Client, metrics: ControllerMetrics) -> None:
        self._api = api
        self._metrics = metrics
        self._told: dict[str, tuple[int, str]] = {}
        self._told_gateways: dict[str, frozenset[str]] = {}
        self._series: dict[str, dict[tuple[str, str], _Series]] = {}
        self._queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    def record(self, subject: RouteSummary, before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
        """Tell of a written status, if it is a transition.

        Args:
            subject: the object.
            before: the status it had.
            after: the status it has now.
        """
        self._record_gateways(subject, before, after)
        # What the object said before this process started was told then.
        told = self._told.setdefault(subject.uid, _state(before))
        state = _state(after)
        kind = KINDS.get(state[1])
        # As a roll-out begins, the first that fails is not the worst yet.
        too_early = before.get("observedGeneration") != after["observedGeneration"] and after["nodes"]["pending"]
        if kind is None or state == told or too_early:
            return
        self._told[subject.uid] = state
        note = find_condition(after, ConditionType.READY)["message"][:LONGEST_NOTE]
        self._queue.put_nowait(self._event(subject, kind, note))

    def _record_gateways(self, subject: RouteSummary, before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
        """Tell of gateways that went down or came back; that they are up at first is no news."""
        told = self._told_gateways.setdefault(subject.uid, _down(before))
        down = _down(after)
        condition = find_condition(after, ConditionType.GATEWAYS_HEALTHY)
        kind = KINDS.get(condition.get("reason", ""))
        if kind is None or down == told:
            return
        self._told_gateways[subject.uid] = down
        self._queue.put_nowait(self._event(subject, kind, condition["message"][:LONGEST_NOTE]))

    def retain(self, uids: Container[str]) -> None:
        """Forget all objects but these."""
        for known in (self._told, self._told_gateways, self._series):
            for uid in [uid for uid in known if uid not in uids]:
                del known[uid]

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            await self._write(await self._queue.get())

    def _event(self, subject: RouteSummary, kind: Kind, note: str) -> dict[str, Any]:
        now = dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        known = self._series.setdefault(subject.uid, {})
        series = known.get((kind.reason, note))
        if series is None:
            series = known[kind.reason, note] = _Series(f"{subject.name[:200]}.{uuid.uuid4().hex[:16]}", now)
            if len(known) > MOST_SERIES:
                del known[next(iter(known))]
        else:
            series.count += 1
        event = {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"name": series.name, "namespace": "default"},
            "eventTime": series.time,
            "reportingController": CONTROLLER,
            "reportingInstance": socket.gethostname()[:128],
            "action": "RollOut",
            "type": kind.type,
            "reason": kind.reason,
            "note": note,
            "regarding": {"apiVersion": API_VERSION, "kind": KIND, "name": subject.name, "uid": subject.uid},
        }
        if series.count > 1:
            event["series"] = {"count": series.count, "lastObservedTime": now}
        return event

    async def _write(self, event: Mapping[str, Any]) -> None:
        # Applied, not created: a repeat of a request that was answered too late changes nothing.
        path = f"{PATH}/{event['metadata']['name']}?fieldManager={IDENTITY}&force=true"
        backoff = Backoff(FIRST_BACKOFF, LAST_BACKOFF)
        for _ in range(TRIES):
            try:
                await self._api.patch(path, event, content_type=APPLY_PATCH)
            except ApiError as error:
                self._metrics.events.labels(str(error.status or "no answer")).inc()
                logger.warning("Event %s can't be written: %s", event["reason"], error)
                await asyncio.sleep(next(backoff))
            else:
                self._metrics.events.labels("ok").inc()
                return


def _down(status: Mapping[str, Any]) -> frozenset[str]:
    """The gateways that are down on some node."""
    gateways = status.get("gateways")
    found = gateways if isinstance(gateways, list) else ()
    return frozenset(each["address"] for each in found if isinstance(each, Mapping) and each.get("unhealthyNodes"))


def _state(status: Mapping[str, Any]) -> tuple[int, str]:
    """What is told once: a generation, and the reason of its Ready condition."""
    return (status.get("observedGeneration", 0), find_condition(status, ConditionType.READY).get("reason", ""))
