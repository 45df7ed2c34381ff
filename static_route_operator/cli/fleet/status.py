"""The state of all StaticRoutes on all nodes, combined from NodeRouteStates and pods."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from static_route_operator.api import GROUP, VERSION
from static_route_operator.api.conditions import ConditionStatus, ConditionType, find_condition
from static_route_operator.api.noderoutestate import GOOD_REASONS, GOOD_STATES, SEVERITY, Reason, RowState
from static_route_operator.api.noderoutestate import PLURAL as STATES
from static_route_operator.api.staticroute import PLURAL as ROUTES
from static_route_operator.cli.fleet.agents import AGENT, CONTROLLER, Pod, list_pods
from static_route_operator.cli.fleet.kubectl import ForbiddenError, Kubectl

# Rows of NodeRouteStates, by node and StaticRoute.
_Rows = Mapping[str, Mapping[str, Mapping[str, Any]]]

TROUBLESHOOTING = "https://github.com/staticrouteoperator/k8s-staticroute-operator/blob/main/docs/troubleshooting.md"


def fetch(kubectl: Kubectl, namespace: str) -> dict[str, Any]:
    """Return the state of the cluster as a JSON object.

    Raises:
        ClusterError: StaticRoutes or NodeRouteStates cannot be read.
    """
    routes = kubectl.get(f"/apis/{GROUP}/{VERSION}/{ROUTES}")["items"]
    states = kubectl.get(f"/apis/{GROUP}/{VERSION}/{STATES}")["items"]
    try:
        agents: list[Pod] | None = list_pods(kubectl, namespace, AGENT)
        controllers = list_pods(kubectl, namespace, CONTROLLER)
        note = ""
    except ForbiddenError as error:
        agents, controllers, note = None, [], f"the pods of the operator are not checked: {error}"
    return assemble(routes, states, agents, controllers, namespace) | {"note": note}


def assemble(
    routes: Sequence[Mapping[str, Any]],
    states: Sequence[Mapping[str, Any]],
    agents: Sequence[Pod] | None,
    controllers: Sequence[Pod],
    namespace: str,
) -> dict[str, Any]:
    """Combine objects and pods.

    Args:
        routes: StaticRoutes.
        states: NodeRouteStates.
        agents: pods of the agents; None if they cannot be listed.
        controllers: pods of the controller.
        namespace: of the operator.
    """
    rows = {
        state["metadata"]["name"]: {row["name"]: row for row in state.get("status", {}).get("rows", ())}
        for state in states
    }
    nodes = sorted(rows.keys() | {pod.node for pod in agents or () if pod.node})
    objects = [_object(route, nodes, rows) for route in routes]
    objects.sort(
        key=lambda each: (-max([SEVERITY[RowState(at["state"])] for at in each["nodes"]] or [0]), each["name"])
    )
    problems = [*_object_problems(objects)]
    if agents is not None:
        problems += [*_pod_problems(nodes, rows, agents, namespace), *_controller_problems(controllers, namespace)]
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
                "message": f"the node still has generation {row['observedGeneration']}" if stale else row["message"],
                "programmed": row["programmed"],
                "destinations": row["destinations"],
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


def _problem(severity: RowState, what: str, nodes: list[str], reason: str, message: str) -> dict[str, Any]:
    return {
        "subject": what,
        "nodes": nodes,
        "state": severity.value,
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
    ordered = sorted(found.items(), key=lambda item: (-SEVERITY[RowState(item[0][1])], item[0]))
    for (name, state, reason, message), nodes in ordered:
        yield _problem(RowState(state), f"StaticRoute {name}", nodes, reason, message)
    for each in objects:
        if not each["nodes"]:
            message = "no node reports on it: does its nodeSelector match a node, and do agents run?"
            yield _problem(RowState.PENDING, f"StaticRoute {each['name']}", [], "NoNodesSelected", message)


def _pod_problems(nodes: Sequence[str], rows: _Rows, agents: Sequence[Pod], namespace: str) -> Iterator[dict[str, Any]]:
    pods = {pod.node: pod for pod in agents}
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
