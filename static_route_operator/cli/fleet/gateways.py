"""The health of the gateways on every node."""

import datetime as dt
from collections.abc import Collection, Mapping
from typing import Any

from static_route_operator.api import GROUP, VERSION
from static_route_operator.api.noderoutestate import PLURAL as STATES
from static_route_operator.cli.fleet.agents import Agents, Reply

# Fields that the agent reports and the NodeRouteState does not have.
_AGENT_ONLY = ("rttSeconds", "sent", "lost", "message")


def fetch(agents: Agents) -> dict[str, Any]:
    """Return the gateways of all nodes as a JSON object.

    For a node whose agent does not answer, they are read from the NodeRouteState.

    Raises:
        ClusterError: NodeRouteStates cannot be read, or no agent can be asked.
    """
    states = agents.kubectl.get(f"/apis/{GROUP}/{VERSION}/{STATES}")["items"]
    replies = list(agents.ask("routes", "--summary", "-o", "json"))
    return assemble(states, replies)


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
        gateways += [{"node": reply.node, **each, **dict.fromkeys(_AGENT_ONLY)} for each in stored.get(reply.node, ())]
        problem = reply.problem or (reply.answer or {}).get("note", "")
        unanswered.append({"node": reply.node, "problem": problem})
    return {"gateways": sorted(gateways, key=_worst_first), "unanswered": unanswered}


def _worst_first(gateway: Mapping[str, Any]) -> tuple[Any, ...]:
    return gateway["state"] != "Down", gateway["state"] != "Unknown", gateway["address"], gateway["node"]


def local(node: str, gateway: dict[str, Any]) -> dict[str, Any]:
    """Return a gateway that an agent reports in the form of this answer."""
    since = dt.datetime.fromtimestamp(int(gateway["since"]), dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"node": node, **gateway, "since": since if gateway["since"] else ""}
