"""Events about StaticRoutes, one per transition of an object, and Warnings about Nodes that claim wrong addresses.

An Event about a cluster-scoped object is in namespace ``default`` and refers to the object by uid, without a namespace:
only such Events are shown by both `kubectl describe` and `kubectl events --for`. A repeated Event raises the count
of its series.
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
from static_route_operator.controller.summaries import NodeInfo, RouteSummary
from static_route_operator.errors import ApiError
from static_route_operator.observability.metrics import ControllerMetrics
from static_route_operator.supervision import Backoff

logger = logging.getLogger(__name__)

CONTROLLER = "static-route-operator"
PATH = "/apis/events.k8s.io/v1/namespaces/default/events"

# Characters of a note; the API server's limit.
LONGEST_NOTE = 1024
# Attempts per Event. Giving up is harmless, since the status has the same message.
TRIES = 5
# Statuses of requests that may succeed later, besides those of 500 and more: timeout, conflict, too many requests.
PASSING = frozenset({408, 409, 429})
# Events that wait to be written; more than a thousand transitions in the time of a few writes are news to nobody.
MOST_WAITING = 1000
# Characters of an object's name in the name of its Event. The API server allows 253 in all.
LONGEST_NAME = 200
# Series per object; the API server deletes Events after an hour.
MOST_SERIES = 20


class Kind(NamedTuple):
    """Type and reason of an Event.

    Attributes:
        type: Normal or Warning.
        reason: stable reason, for alerts.
    """

    type: str
    reason: str


# Events by the new reason of the condition. Reasons that last only during a roll-out have none.
KINDS: Mapping[str, Kind] = {
    ConditionReason.ALL_NODES_READY: Kind("Normal", "Ready"),
    ConditionReason.NODES_FAILING: Kind("Warning", "NodesFailing"),
    ConditionReason.ROLLOUT_PAUSED: Kind("Warning", "RolloutPaused"),
    ConditionReason.NO_NODES_SELECTED: Kind("Warning", "NoNodesSelected"),
    ConditionReason.INVALID_SPEC: Kind("Warning", "Invalid"),
    ConditionReason.ALL_GATEWAYS_UP: Kind("Normal", "GatewaysHealthy"),
    ConditionReason.GATEWAYS_DOWN: Kind("Warning", "GatewaysDown"),
}
WRONG_ADDRESSES = Kind("Warning", "WrongAddresses")


class _Object(NamedTuple):
    """The object of an Event."""

    api_version: str
    kind: str
    name: str
    uid: str


@dataclass(slots=True)
class _Series:
    """An Event that may be repeated."""

    name: str
    time: str
    count: int = 1


class EventRecorder:
    """Writer of Events, one after the other.

    Args:
        client: the API server.
        metrics: counters of Events.
    """

    def __init__(self, client: Client, metrics: ControllerMetrics) -> None:
        self._client = client
        self._metrics = metrics
        self._reported: dict[str, tuple[int, str]] = {}
        self._reported_gateways: dict[str, frozenset[str]] = {}
        self._series: dict[str, dict[tuple[str, str], _Series]] = {}
        self._queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue(MOST_WAITING)

    def record(self, summary: RouteSummary, before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
        """Queue the Events for a written status; without a transition there are none.

        Args:
            summary: the object.
            before: the previous status.
            after: the written status.
        """
        self._record_gateways(summary, before, after)
        # An earlier process recorded the status that was stored before this one started.
        reported = self._reported.setdefault(summary.uid, _state(before))
        state = _state(after)
        kind = KINDS.get(state[1])
        # The first failing node at the start of a roll-out may not be the worst one.
        too_early = before.get("observedGeneration") != after["observedGeneration"] and after["nodes"]["pending"]
        if kind is None or state == reported or too_early:
            return
        self._reported[summary.uid] = state
        note = find_condition(after, ConditionType.READY)["message"][:LONGEST_NOTE]
        self._put(self._event(_about(summary), kind, note))

    def warn_node(self, node: NodeInfo, note: str) -> None:
        """Queue a Warning about the addresses that a Node claims; the caller bounds the rate."""
        about = _Object("v1", "Node", node.name, node.uid)
        self._put(self._event(about, WRONG_ADDRESSES, note[:LONGEST_NOTE]))

    def _record_gateways(self, summary: RouteSummary, before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
        """Queue an Event if the set of gateways that are down has changed; it is empty at first."""
        reported = self._reported_gateways.setdefault(summary.uid, _down(before))
        down = _down(after)
        condition = find_condition(after, ConditionType.GATEWAYS_HEALTHY)
        kind = KINDS.get(condition.get("reason", ""))
        if kind is None or down == reported:
            return
        self._reported_gateways[summary.uid] = down
        self._put(self._event(_about(summary), kind, condition["message"][:LONGEST_NOTE]))

    def retain(self, uids: Container[str]) -> None:
        """Forget all other objects."""
        for known in (self._reported, self._reported_gateways, self._series):
            for uid in [uid for uid in known if uid not in uids]:
                del known[uid]

    def _put(self, event: dict[str, Any]) -> None:
        """Queue an Event; without room for one more, count it as lost."""
        try:
            self._queue.put_nowait(event)
        except asyncio.QueueFull:
            self._metrics.events.labels("no room").inc()

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            await self._write(await self._queue.get())

    def _event(self, about: "_Object", kind: Kind, note: str) -> dict[str, Any]:
        now = dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        known = self._series.setdefault(about.uid, {})
        series = known.get((kind.reason, note))
        if series is None:
            series = known[kind.reason, note] = _Series(_name(about.name), now)
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
            "action": "Protect" if kind is WRONG_ADDRESSES else "RollOut",
            "type": kind.type,
            "reason": kind.reason,
            "note": note,
            "regarding": {"apiVersion": about.api_version, "kind": about.kind, "name": about.name, "uid": about.uid},
        }
        if series.count > 1:
            event["series"] = {"count": series.count, "lastObservedTime": now}
        return event

    async def _write(self, event: Mapping[str, Any]) -> None:
        # Apply, not create: repeating a request whose answer was late changes nothing.
        path = f"{PATH}/{event['metadata']['name']}?fieldManager={IDENTITY}&force=true"
        backoff = Backoff(FIRST_BACKOFF, LAST_BACKOFF)
        for _ in range(TRIES):
            try:
                await self._client.patch(path, event, content_type=APPLY_PATCH)
            except ApiError as error:
                self._metrics.events.labels(str(error.status or "no answer")).inc()
                logger.warning("Can't write Event %s: %s", event["reason"], error)
                if error.status is not None and error.status < 500 and error.status not in PASSING:
                    # The API server will never accept this Event, and others wait for their turn.
                    return
                await asyncio.sleep(next(backoff))
            else:
                self._metrics.events.labels("ok").inc()
                return


def _about(summary: RouteSummary) -> _Object:
    return _Object(API_VERSION, KIND, summary.name, summary.uid)


def _name(about: str) -> str:
    """Return a new name for an Event about an object. No part of a name may end with another sign than a letter."""
    return f"{about[:LONGEST_NAME].rstrip('.-')}.{uuid.uuid4().hex[:16]}"


def _down(status: Mapping[str, Any]) -> frozenset[str]:
    """Return the gateways that are down on some node."""
    gateways = status.get("gateways")
    found = gateways if isinstance(gateways, list) else ()
    return frozenset(each["address"] for each in found if isinstance(each, Mapping) and each.get("unhealthyNodes"))


def _state(status: Mapping[str, Any]) -> tuple[int, str]:
    """Return the generation and the reason of the Ready condition; each pair causes one Event."""
    return (status.get("observedGeneration", 0), find_condition(status, ConditionType.READY).get("reason", ""))
