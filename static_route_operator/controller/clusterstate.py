"""The controller's knowledge of the cluster: StaticRoutes, nodes, and each node's report on each StaticRoute."""

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
class NodeState:
    """A NodeRouteState.

    Attributes:
        name: name of the node.
        owner: uid of the owning Node; empty without an owner.
        reports: the node's reports, by name of the StaticRoute.
    """

    name: str
    owner: str
    reports: Mapping[str, Report] = field(default_factory=dict)


class ClusterState:
    """The sources of all statuses.

    Attributes:
        on_change: callback for a change that may change a status.
        on_nodes: callback for a change of the nodes.
        summaries: the StaticRoutes.
        nodes: the nodes.
        states: the NodeRouteStates.
    """

    def __init__(self) -> None:
        self.on_change: Signal[[]] = Signal()
        self.on_nodes: Signal[[]] = Signal()
        self._changed: set[str] = set()
        self._stored: dict[str, Mapping[str, Any]] = {}
        self.summaries = Store[RouteSummary](self._summary_changed)
        self.nodes = Store[NodeInfo](self._node_changed)
        self.states = Store[NodeState](self._state_changed)

    @property
    def complete(self) -> bool:
        """Report whether all objects are known; before that a status would count missing reports as pending nodes."""
        return self.summaries.complete and self.nodes.complete and self.states.complete

    def take_changed(self) -> list[RouteSummary]:
        """Return the StaticRoutes whose status may have to change since the last call, in order of name."""
        found = [self.summaries.items[uid] for uid in self._changed if uid in self.summaries.items]
        self._changed.clear()
        return sorted(found, key=lambda each: each.name)

    def roll_up(self, summary: RouteSummary) -> Rollup:
        """Return the roll-up of a StaticRoute."""
        return roll_up(
            summary,
            self.nodes.items.values(),
            lambda node: self._report(node, summary.name),
            self.stored(summary),
        )

    def stored(self, summary: RouteSummary) -> Mapping[str, Any]:
        """Return the stored status of a StaticRoute."""
        return self._stored.get(summary.uid, {})

    def put_route(self, summary: RouteSummary, status: Mapping[str, Any], resource_version: int) -> None:
        """Store a StaticRoute and its status; a known status, such as one that this controller wrote, is no change."""
        self.summaries.put(summary.uid, summary, resource_version)
        if summary.uid in self.summaries.items and self._stored.get(summary.uid) != status:
            self._stored[summary.uid] = status
            self._touch({summary.uid})

    def record_status(self, summary: RouteSummary, status: Mapping[str, Any]) -> None:
        """Store a status that this controller has written."""
        if summary.uid in self.summaries.items:
            before = self.stored(summary)
            self._stored[summary.uid] = {**before, **status}
            if before.get("rollout") != status.get("rollout"):
                # Nodes that the roll-out now includes may have reported already.
                self._touch({summary.uid})

    def _report(self, node: NodeInfo, name: str) -> Report | None:
        state = self.states.find(node.name)
        # The report of a deleted node of the same name says nothing about the new node.
        return state.reports.get(name) if state and state.owner in {"", node.uid} else None

    def _summary_changed(self, before: RouteSummary | None, after: RouteSummary | None) -> None:
        if before is not None and after is None:
            self._stored.pop(before.uid, None)
        if after is not None:
            self._touch({after.uid})

    def _node_changed(self, before: NodeInfo | None, after: NodeInfo | None) -> None:
        self.on_nodes.emit()
        sides = [each for each in (before, after) if each is not None]
        self._touch(
            {uid for uid, summary in self.summaries.items.items() if any(summary.selects(side) for side in sides)}
        )

    def _state_changed(self, before: NodeState | None, after: NodeState | None) -> None:
        old, new = (each.reports if each is not None else {} for each in (before, after))
        if before is not None and after is not None and before.owner != after.owner:
            old = {}
        differing = {name for name in old.keys() | new.keys() if old.get(name) != new.get(name)}
        self._touch({summary.uid for name in differing if (summary := self.summaries.find(name)) is not None})

    def _touch(self, uids: set[str]) -> None:
        if uids:
            self._changed |= uids
            self.on_change.emit()


def parse_node_info(body: Mapping[str, Any]) -> NodeInfo:
    """Return the kept part of a Node."""
    metadata = body["metadata"]
    conditions = body.get("status", {}).get("conditions") or ()
    wrong = [each for each in conditions if each["type"] == "Ready" and each["status"] != "True"]
    since = wrong[0].get("lastTransitionTime") or "" if wrong else ""
    node = Node(metadata["name"], dict(metadata.get("labels") or {}))
    return NodeInfo(node, metadata["uid"], not wrong, NodeAddresses.parse(body), since)


def parse_node_state(body: Mapping[str, Any]) -> NodeState:
    """Return the kept part of a NodeRouteState."""
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
            # An agent of another version wrote this row; the node counts as pending until it is updated.
            continue
        reports.append((sys.intern(row["name"]), report))
    return NodeState(metadata["name"], owner, _reports(tuple(reports)))


# Thousands of nodes report the same on hundreds of StaticRoutes: equal reports share one object.
_report = lru_cache(maxsize=10_000)(Report)


@lru_cache(maxsize=100)
def _reports(reports: tuple[tuple[str, Report], ...]) -> Mapping[str, Report]:
    """Return a node's reports by name of the StaticRoute."""
    return dict(reports)
