"""The state of all StaticRoutes on all nodes, combined from NodeRouteStates and pods."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from static_route_operator.api import GROUP, VERSION
from static_route_operator.api.conditions import ConditionStatus, ConditionType, find_condition
from static_route_operator.api.noderoutestate import (
    GOOD_REASONS,
    GOOD_STATES,
    GatewayState,
    Reason,
    RowState,
    severity,
)
from static_route_operator.api.noderoutestate import PLURAL as STATES
from static_route_operator.api.staticroute import PLURAL as ROUTES
from static_route_operator.cli.fleet.agents import AGENT, CONTROLLER, Pod, by_node, list_nodes, list_pods
from static_route_operator.cli.fleet.kubectl import ClusterError, Kubectl

# Rows of NodeRouteStates, by node and StaticRoute.
_Rows = Mapping[str, Mapping[str, Mapping[str, Any]]]

TROUBLESHOOTING = "https://github.com/staticrouteoperator/k8s-staticroute-operator/blob/main/docs/troubleshooting.md"


def fetch(kubectl: Kubectl, namespace: str) -> dict[str, Any]:
    """Return the state of the cluster as a JSON object.

    Raises:
        ClusterError: StaticRoutes or NodeRouteStates cannot be read.
    """
    routes = kubectl.items(f"/apis/{GROUP}/{VERSION}/{ROUTES}")
    states = kubectl.items(f"/apis/{GROUP}/{VERSION}/{STATES}")
    notes = []
    nodes: dict[str, str] | None = None
    agents: list[Pod] | None = None
    controllers: list[Pod] = []
    try:
        nodes = list_nodes(kubectl)
    except ClusterError as error:
        notes.append(f"nodes that have never reported are not known: {error}")
    try:
        agents, controllers = (list_pods(kubectl, namespace, name) for name in (AGENT, CONTROLLER))
    except ClusterError as error:
        notes.append(f"the pods of the operator are not checked: {error}")
    return assemble(Cluster(routes, states, nodes, agents, controllers), namespace) | {"note": "; ".join(notes)}


@dataclass(frozen=True, slots=True)
class Cluster:
    """The objects that the state of a cluster is combined from.

    Attributes:
        routes: StaticRoutes.
        states: NodeRouteStates.
        nodes: names of the nodes, each with the reason why it is not Ready; None if they cannot be listed.
        agents: pods of the agents; None if they cannot be listed.
        controllers: pods of the controller.
    """

    routes: Sequence[Mapping[str, Any]]
    states: Sequence[Mapping[str, Any]]
    nodes: Mapping[str, str] | None
    agents: Sequence[Pod] | None
    controllers: Sequence[Pod]


def assemble(cluster: Cluster, namespace: str) -> dict[str, Any]:
    """Combine objects, nodes and pods; the namespace is that of the operator."""
    states, agents, known = cluster.states, cluster.agents, cluster.nodes
    rows = {
        state["metadata"]["name"]: {row["name"]: row for row in state.get("status", {}).get("rows", ())}
        for state in states
    }
    # Reports and pods may outlive their node.
    nodes = sorted(rows.keys() | by_node(agents or ()).keys() if known is None else known)
    objects = [_object(route, nodes, rows) for route in cluster.routes]
    objects.sort(key=lambda each: (-max([severity(at["state"]) for at in each["nodes"]] or [0]), each["name"]))
    problems = [*_object_problems(objects), *_gateway_problems(states, nodes)]
    problems += _not_ready(known or {})
    if agents is not None:
        problems += _pod_problems([each for each in nodes if not (known or {}).get(each)], rows, agents, namespace)
        problems += _controller_problems(cluster.controllers, namespace)
    return {"nodes": nodes, "staticRoutes": objects, "problems": problems}


def _object(route: Mapping[str, Any], nodes: Sequence[str], rows: _Rows) -> dict[str, Any]:
    metadata, spec = route["metadata"], route.get("spec", {})
    name, generation = metadata["name"], metadata.get("generation", 0)
    at = []
    for node in nodes:
        row = rows.get(node, {}).get(name)
        if row is None:
            continue
        stale = row["observedGeneration"] < generation
        at.append(
            {
                "node": node,
                "state": RowState.PENDING.value if stale else row["state"],
                "reason": Reason.PENDING.value if stale else row["reason"],
                "message": f"the node still has generation {row['observedGeneration']}"
                if stale
                else row.get("message", ""),
                "programmed": row.get("programmed", 0),
                "destinations": row.get("destinations", 0),
            }
        )
    accepted = find_condition(route.get("status") or {}, ConditionType.ACCEPTED)
    gateways = [each.get("address", "?") for each in spec.get("gateways") or ()] or [spec.get("gateway", "?")]
    return {
        "name": name,
        "generation": generation,
        "gateways": gateways,
        "destinations": len(spec.get("destinations") or ()),
        "accepted": accepted.get("status") != ConditionStatus.FALSE,
        "acceptedMessage": accepted.get("message", ""),
        "since": find_condition(route.get("status") or {}, ConditionType.READY).get("lastTransitionTime", ""),
        "ready": sum(each["state"] in GOOD_STATES for each in at),
        "nodes": at,
    }


def _problem(state: str, what: str, nodes: list[str], reason: str, message: str) -> dict[str, Any]:
    return {
        "subject": what,
        "nodes": nodes,
        "state": str(state),
        "reason": reason,
        "message": message,
        # The page has a heading for each reason of a row. The messages with other reasons name the remedy.
        "help": f"{TROUBLESHOOTING}#{reason.lower()}" if reason in set(Reason) else None,
    }


def _object_problems(objects: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    found: dict[tuple[str, str, str, str], list[str]] = {}
    for each in objects:
        for at in each["nodes"]:
            good_dry_run = at["state"] == RowState.DRY_RUN and at["reason"] in GOOD_REASONS
            if at["state"] not in GOOD_STATES and not good_dry_run:
                found.setdefault((each["name"], at["state"], at["reason"], at["message"]), []).append(at["node"])
    ordered = sorted(found.items(), key=lambda item: (-severity(item[0][1]), item[0]))
    for (name, state, reason, message), nodes in ordered:
        yield _problem(state, f"StaticRoute {name}", nodes, reason, message)
    for each in objects:
        if not each["nodes"]:
            message = "no node reports on it: does its nodeSelector match a node, and do agents run?"
            yield _problem(RowState.PENDING, f"StaticRoute {each['name']}", [], "NoNodesSelected", message)


def _gateway_problems(states: Sequence[Mapping[str, Any]], nodes: Collection[str]) -> Iterator[dict[str, Any]]:
    """Yield each gateway that is down, once for all nodes that find it so, as traffic may have no other."""
    found: dict[tuple[str, str], list[tuple[str, Mapping[str, Any]]]] = {}
    for state in states:
        node = state["metadata"]["name"]
        for each in state.get("status", {}).get("gateways", ()) if node in nodes else ():
            if each["state"] == GatewayState.DOWN.value:
                found.setdefault((each["address"], each.get("check", "")), []).append((node, each))
    for (address, check), reports in sorted(found.items()):
        since = min(each.get("since", "") for _, each in reports)
        held = max(each.get("heldUntil", "") for _, each in reports)
        message = f"it does not answer ({check}), since {since}"
        message += f"; held down until {held}, since it failed again and again" if held else ""
        yield _problem("Down", f"gateway {address}", [node for node, _ in reports], "GatewayDown", message)


def _not_ready(known: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    for node, trouble in sorted(known.items()):
        if trouble:
            message = f"{trouble}; what is shown of it is its last report"
            yield _problem(RowState.PENDING, f"node {node}", [node], "NodeNotReady", message)


def _pod_problems(nodes: Sequence[str], rows: _Rows, agents: Sequence[Pod], namespace: str) -> Iterator[dict[str, Any]]:
    pods = by_node(agents)
    for pod in agents:
        if not pod.node:
            yield _problem(RowState.FAILED, f"pod {pod.name}", [], "NoNode", f"it is not scheduled: {pod.trouble}")
    for node in nodes:
        if (its := pods.get(node)) is None:
            message = "no agent runs on this node, whose routes stay as they are: does the DaemonSet select the node?"
            yield _problem(RowState.FAILED, f"node {node}", [node], "NoAgent", message)
        elif not its.ready:
            message = f"the agent is not ready ({its.trouble}): `kubectl logs -n {namespace} {its.name}`"
            yield _problem(RowState.FAILED, f"node {node}", [node], "AgentNotReady", message)
        elif node not in rows:
            message = f"the agent has not reported yet: `kubectl logs -n {namespace} {its.name}`"
            yield _problem(RowState.PENDING, f"node {node}", [node], "NoState", message)


def _controller_problems(controllers: Sequence[Pod], namespace: str) -> Iterator[dict[str, Any]]:
    if not any(pod.ready for pod in controllers):
        why = controllers[0].trouble if controllers else "it has no pod"
        message = (
            f"the controller is not ready ({why}): routes are kept, but statuses and Events are not updated: "
            f"`kubectl get pods -n {namespace} -l name={CONTROLLER}`"
        )
        yield _problem(RowState.PENDING, "controller", [], "ControllerNotReady", message)
