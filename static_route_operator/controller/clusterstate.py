"""What the controller knows of the cluster: StaticRoutes, nodes, and what each node says of each StaticRoute."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from static_route_operator.api.clusteraddresses import NodeAddresses
from static_route_operator.api.noderoutestate import Reason, RowState
from static_route_operator.api.nodeselector import Node
from static_route_operator.api.store import Store
from static_route_operator.controller.rollup import Rollup, roll_up
from static_route_operator.controller.summaries import NodeInfo, Report, RouteSummary
from static_route_operator.supervision import Signal


@dataclass(frozen=True, slots=True)
class StateOfNode:
    """A NodeRouteState.

    Attributes:
        name: the node's.
        owner: uid of the Node that it belongs to; empty when it names none.
        reports: by name of the StaticRoute.
    """

    name: str
    owner: str
    reports: Mapping[str, Report] = field(default_factory=dict)


class ClusterState:
    """All that statuses are made from.

    Attributes:
        on_change: called when a status may have to change.
        on_members: called when what is known of the nodes has changed.
        subjects: the StaticRoutes.
        members: the nodes.
        states: what the nodes say.
    """

    def __init__(self) -> None:
        self.on_change: Signal[[]] = Signal()
        self.on_members: Signal[[]] = Signal()
        self._changed: set[str] = set()
        self._stored: dict[str, Mapping[str, Any]] = {}
        self.subjects = Store[RouteSummary](self._subject_changed)
        self.members = Store[NodeInfo](self._member_changed)
        self.states = Store[StateOfNode](self._state_changed)

    @property
    def complete(self) -> bool:
        """Whether everything was seen once: before that a status would only say what is not known yet."""
        return self.subjects.complete and self.members.complete and self.states.complete

    def take_changed(self) -> list[RouteSummary]:
        """The StaticRoutes that have to be looked at since the last call, by name."""
        found = [self.subjects.items[uid] for uid in self._changed if uid in self.subjects.items]
        self._changed.clear()
        return sorted(found, key=lambda each: each.name)

    def roll_up(self, subject: RouteSummary) -> Rollup:
        """How a StaticRoute fares."""
        return roll_up(
            subject,
            self.members.items.values(),
            lambda member: self._report(member, subject.name),
            self.stored(subject),
        )

    def stored(self, subject: RouteSummary) -> Mapping[str, Any]:
        """The status that a StaticRoute has."""
        return self._stored.get(subject.uid, {})

    def put_route(self, subject: RouteSummary, status: Mapping[str, Any], resource_version: int) -> None:
        """Take in a StaticRoute and the status it has; a status that is no news, such as our own, wakes nobody."""
        self.subjects.put(subject.uid, subject, resource_version)
        if subject.uid in self.subjects.items and self._stored.get(subject.uid) != status:
            self._stored[subject.uid] = status
            self._touch({subject.uid})

    def know_status(self, subject: RouteSummary, status: Mapping[str, Any]) -> None:
        """Take in that the controller itself has written a status."""
        if subject.uid in self.subjects.items:
            before = self.stored(subject)
            self._stored[subject.uid] = {**before, **status}
            if before.get("rollout") != status.get("rollout"):
                # The nodes that may use it now may have answered already.
                self._touch({subject.uid})

    def _report(self, member: NodeInfo, name: str) -> Report | None:
        state = self.states.find(member.name)
        # A node that came again under its name has nothing to do with what its predecessor said.
        return state.reports.get(name) if state and state.owner in {"", member.uid} else None

    def _subject_changed(self, before: RouteSummary | None, after: RouteSummary | None) -> None:
        if before is not None and after is None:
            self._stored.pop(before.uid, None)
        if after is not None:
            self._touch({after.uid})

    def _member_changed(self, before: NodeInfo | None, after: NodeInfo | None) -> None:
        self.on_members.emit()
        sides = [each for each in (before, after) if each is not None]
        self._touch(
            {uid for uid, subject in self.subjects.items.items() if any(subject.selects(side) for side in sides)}
        )

    def _state_changed(self, before: StateOfNode | None, after: StateOfNode | None) -> None:
        old, new = (each.reports if each is not None else {} for each in (before, after))
        if before is not None and after is not None and before.owner != after.owner:
            old = {}
        differing = {name for name in old.keys() | new.keys() if old.get(name) != new.get(name)}
        self._touch({subject.uid for name in differing if (subject := self.subjects.find(name)) is not None})

    def _touch(self, uids: set[str]) -> None:
        if uids:
            self._changed |= uids
            self.on_change.emit()


def parse_node_info(body: Mapping[str, Any]) -> NodeInfo:
    """What is kept of a Node."""
    metadata = body["metadata"]
    conditions = body.get("status", {}).get("conditions") or ()
    wrong = [each for each in conditions if each["type"] == "Ready" and each["status"] != "True"]
    since = wrong[0].get("lastTransitionTime") or "" if wrong else ""
    node = Node(metadata["name"], dict(metadata.get("labels") or {}))
    return NodeInfo(node, metadata["uid"], not wrong, NodeAddresses.parse(body), since)


def parse_state(body: Mapping[str, Any]) -> StateOfNode:
    """What is kept of a NodeRouteState."""
    metadata = body["metadata"]
    owner = next((each["uid"] for each in metadata.get("ownerReferences") or () if each["kind"] == "Node"), "")
    reports = []
    for row in body.get("status", {}).get("rows") or ():
        try:
            report = _report(
                row["observedGeneration"],
                RowState(row["state"]),
                Reason(row["reason"]),
                row.get("message", ""),
                tuple(row.get("gatewaysUp") or ()),
                tuple(row.get("gatewaysDown") or ()),
            )
        except (KeyError, ValueError):
            # Of an agent of another version: as if it had not answered, until one of this version does.
            continue
        reports.append((sys.intern(row["name"]), report))
    return StateOfNode(metadata["name"], owner, _reports(tuple(reports)))


# Thousands of nodes say the same of hundreds of StaticRoutes: that is kept once, not once per node. What one node alone
# says is kept as often as it is said.
_report = lru_cache(maxsize=10_000)(Report)


@lru_cache(maxsize=100)
def _reports(reports: tuple[tuple[str, Report], ...]) -> Mapping[str, Report]:
    """All that a node says, by name of the StaticRoute."""
    return dict(reports)
