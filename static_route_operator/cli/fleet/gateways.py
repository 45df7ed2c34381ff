"""The health of the gateways on every node."""

import math
from collections.abc import Collection, Mapping
from typing import Any

from static_route_operator.api import GROUP, VERSION
from static_route_operator.api.noderoutestate import PLURAL as STATES
from static_route_operator.api.noderoutestate import utc
from static_route_operator.cli.fleet.agents import Agents, Reply, check, json_object
from static_route_operator.cli.fleet.kubectl import ForbiddenError

# Fields that the agent reports and the NodeRouteState does not have.
_AGENT_ONLY: dict[str, Any] = dict.fromkeys(("rttSeconds", "sent", "lost"))
# Message of a gateway whose node does not answer now.
LAST_REPORT = "last report of the node, which does not answer now"


def fetch(agents: Agents) -> dict[str, Any]:
    """Return the gateways of all nodes as a JSON object.

    For a node whose agent does not answer, they are read from the NodeRouteState.

    Raises:
        ClusterError: NodeRouteStates cannot be read, or there is no agent.
    """
    states = agents.kubectl.items(f"/apis/{GROUP}/{VERSION}/{STATES}")
    try:
        replies = list(agents.ask("routes", "--summary", "-o", "json", parse=_report))
    except ForbiddenError as error:
        names = sorted(agents.nodes) or sorted(state["metadata"]["name"] for state in states)
        replies = [Reply(name, None, str(error)) for name in names]
    return assemble(states, replies)


def _report(text: str) -> dict[str, Any]:
    """Parse the summary of a node."""
    report = json_object(text)
    check(lambda answer: (str(local("", each)) for each in answer.get("gateways", ())), report)
    return report


def of_host(report: dict[str, Any]) -> dict[str, Any]:
    """Return the gateways of the report of one process, in the form of this answer."""
    gateways = [local(report["node"], each) for each in report["gateways"]]
    return {"gateways": sorted(gateways, key=_worst_first), "unanswered": []}


def assemble(states: Collection[dict[str, Any]], replies: Collection[Reply]) -> dict[str, Any]:
    """Combine NodeRouteStates and the replies of agents."""
    stored = {state["metadata"]["name"]: state.get("status", {}).get("gateways", ()) for state in states}
    gateways = []
    unanswered = []
    for reply in replies:
        if reply.answer is not None and "note" not in reply.answer:
            gateways += [local(reply.node, each) for each in reply.answer.get("gateways", ())]
            continue
        gateways += [_as_reported(reply.node, each) for each in stored.get(reply.node, ())]
        problem = reply.problem or (reply.answer or {}).get("note", "")
        unanswered.append({"node": reply.node, "problem": problem})
    return {"gateways": sorted(gateways, key=_worst_first), "unanswered": unanswered}


def _worst_first(gateway: Mapping[str, Any]) -> tuple[Any, ...]:
    return gateway["state"] != "Down", gateway["state"] != "Unknown", gateway["address"], gateway["node"]


def _as_reported(node: str, gateway: Mapping[str, Any]) -> dict[str, Any]:
    """Return a gateway of a NodeRouteState in the form of this answer."""
    optional = {"interface": "", "check": "", "since": "", "heldUntil": None}
    return {"node": node, **optional, **gateway, **_AGENT_ONLY, "message": LAST_REPORT}


def local(node: str, gateway: dict[str, Any]) -> dict[str, Any]:
    """Return a gateway that an agent reports in the form of this answer."""
    since, held_until = gateway["since"], gateway.get("heldUntil", 0)
    return {
        "node": node,
        **gateway,
        "since": utc(since) if since else "",
        "heldUntil": utc(math.ceil(held_until)) if held_until else None,
    }
