"""The path of packets to a destination on this host, compared with what the StaticRoutes ask for.

The agent reports which StaticRoutes ask for the destination and which of them has precedence. The kernel reports what
happens to a packet. Where the two differ, the answer names the obstacle and the remedy.
"""

import enum
import socket
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from static_route_operator.cli.host.process import NoProcessError, ask
from static_route_operator.kernel.tracer import Forwarding, RouteTracer
from static_route_operator.planning.candidates import CandidateStatus
from static_route_operator.routing.description import (
    describe_hop,
    describe_kernel_route,
    hop_words,
    route_words,
)
from static_route_operator.routing.kernelroute import LOCAL_KINDS, KernelRoute
from static_route_operator.routing.nexthops import PROTOCOL, protocol_name
from static_route_operator.routing.prefixes import unpack_address
from static_route_operator.routing.rules import Packet, RuleAction, table_name


class Verdict(enum.StrEnum):
    """The result of the comparison."""

    FOLLOWS = "Follows"  # the packet takes the route of the StaticRoute that has precedence
    SHADOWED = "Shadowed"  # that route is installed, and a rule or another route takes precedence
    MISSING = "Missing"  # that route is not installed
    NOT_HERE = "NotHere"  # StaticRoutes ask for the destination, and none can be programmed on this node
    NO_STATIC_ROUTE = "NoStaticRoute"  # no StaticRoute asks for the destination
    UNKNOWN = "Unknown"  # no agent answers


def explain(packet: Packet, http_address: str, http_port: int) -> dict[str, Any]:
    """Return the path of a packet as a JSON object.

    Args:
        packet: the packet.
        http_address: where the process on this host serves.
        http_port: port of the same.

    Raises:
        KernelError: the kernel does not answer.
    """
    tracer = RouteTracer()
    try:
        forwarding = tracer.forward(packet)
    finally:
        tracer.close()
    try:
        answer = ask(http_address, http_port, f"/claims/{unpack_address(packet.destination)}")
    except NoProcessError as error:
        answer = {"node": socket.gethostname(), "claims": None, "note": f"{error}; only the kernel was asked"}
    return compare(forwarding, answer)


def compare(forwarding: Forwarding, answer: Mapping[str, Any]) -> dict[str, Any]:
    """Return the path of a packet beside what the StaticRoutes ask for.

    Args:
        forwarding: the kernel's treatment of the packet.
        answer: the agent's answer; ``claims`` is None without an agent.
    """
    claims: Sequence[Mapping[str, Any]] | None = answer["claims"]
    verdict, owner, text, cause = _judge(forwarding, claims)
    packet = forwarding.packet
    route, rule = forwarding.route, forwarding.policy
    notes = [answer["note"]] if "note" in answer else []
    if not answer.get("complete", True):
        notes.append("the agent has no complete list of StaticRoutes yet")
    if forwarding.bound is not None:
        bound = f"a socket that is bound to {forwarding.source}, as TCP's are once connected"
        notes.append(f"{bound}, sends {hop_words(forwarding.bound, forwarding.interfaces)}")
    hop = describe_hop(forwarding.hop, forwarding.interfaces) if forwarding.hop else None
    return {
        "node": answer["node"],
        "destination": unpack_address(packet.destination),
        "packet": {
            "source": packet.source_text or None,
            "mark": packet.mark,
            "interface": packet.interface or None,
            "protocol": packet.protocol,
            "port": packet.port,
        },
        "verdict": verdict.value,
        "object": owner,
        "text": text,
        "cause": cause,
        "notes": notes,
        "kernel": {
            "error": forwarding.error or None,
            "gateway": hop["gateway"] if hop else None,
            "interface": hop["interface"] if hop else None,
            "source": forwarding.source or None,
            "route": describe_kernel_route(route, forwarding.interfaces) if route else None,
            "rule": str(rule) if rule else None,
        },
        "claims": claims,
        "candidates": [describe_kernel_route(each, forwarding.interfaces) for each in forwarding.candidates],
        "rules": [str(each) for each in forwarding.policies],
    }


class _Judgement(NamedTuple):
    """The result of the comparison, in words.

    Attributes:
        verdict: see `Verdict`.
        object: the StaticRoute whose route the packet takes, or that asks for the packet in vain.
        text: the path of the packet.
        cause: the obstacle and the remedy; empty if the packet follows the StaticRoute.
    """

    verdict: Verdict
    object: str | None
    text: str
    cause: str = ""


def _judge(forwarding: Forwarding, claims: Sequence[Mapping[str, Any]] | None) -> _Judgement:
    way = _way(forwarding)
    if claims is None:
        return _Judgement(Verdict.UNKNOWN, None, way)
    winners = [each for each in claims if each["standing"] == CandidateStatus.WINS]
    route = forwarding.route
    if route is not None and route.protocol == PROTOCOL:
        if owner := next((each for each in winners if _is_of(route, each)), None):
            return _follows(owner, forwarding, way)
        if held := next(
            (each for each in claims if each["standing"] == CandidateStatus.HELD and _is_of(route, each)), None
        ):
            name = held["object"]
            return _Judgement(Verdict.NOT_HERE, name, way, f"StaticRoute {name} retains this route: {held['message']}")
    if not claims:
        cause = "No StaticRoute on this node has this destination"
        if route is not None and route.protocol == PROTOCOL:
            cause += ", and the agent is about to remove this route of the operator"
        return _Judgement(Verdict.NO_STATIC_ROUTE, None, way, f"{cause}.")
    if not winners:
        first = claims[0]
        why = first["message"] or "the agent is about to do that"
        return _Judgement(
            Verdict.NOT_HERE, first["object"], way, f"StaticRoute {first['object']} is not programmed here: {why}"
        )
    for each in winners:
        if any(_is_of(one, each) and one.protocol == PROTOCOL for one in forwarding.candidates):
            return _Judgement(Verdict.SHADOWED, each["object"], way, _shadow(each, forwarding))
    first = winners[0]
    why = first["message"] or "the agent is about to add it, or another program has just removed it"
    cause = f"The route of StaticRoute {first['object']} to {first['destination']} is not in the kernel: {why}"
    return _Judgement(Verdict.MISSING, first["object"], way, cause)


def _is_of(route: KernelRoute, claim: Mapping[str, Any]) -> bool:
    """Report whether a route of the kernel has the key of a StaticRoute's route."""
    place: tuple[Any, ...] = (claim["destination"], claim["table"], claim["metric"])
    return (route.destination, route.table, route.metric) == place


def _follows(claim: Mapping[str, Any], forwarding: Forwarding, way: str) -> _Judgement:
    name = claim["object"]
    desired = {(each["gateway"], each["interface"]) for each in claim["gateways"]}
    hop = describe_hop(forwarding.hop, forwarding.interfaces) if forwarding.hop else None
    if hop is not None and (hop["gateway"], hop["interface"]) not in desired:
        to = " or ".join(f"via {gateway} dev {interface}" for gateway, interface in sorted(desired)) or "nowhere"
        cause = f"StaticRoute {name} leads {to}: the agent is about to correct this route (`diff` shows it)"
        return _Judgement(Verdict.MISSING, name, way, cause)
    if hop is None:
        return _Judgement(Verdict.FOLLOWS, name, f"{way}, as StaticRoute {name} asks for: {claim['message']}")
    return _Judgement(Verdict.FOLLOWS, name, f"StaticRoute {name}: {way}")


def _way(forwarding: Forwarding) -> str:
    """Describe the path of the packet."""
    route, rule = forwarding.route, forwarding.policy
    by = f" by {route_words(route, forwarding.interfaces)}" if route else ""
    if forwarding.error:
        if route is None and rule is not None and rule.action is not RuleAction.LOOKUP:
            by = f" by the rule {rule}"
        return f"dropped ({forwarding.error})" + (by or ": no route matches")
    if route is not None and route.kind in LOCAL_KINDS:
        return f"delivered to this node itself{by}"
    hop = hop_words(forwarding.hop, forwarding.interfaces) if forwarding.hop else "nowhere"
    if route is not None and len(route.hops) > 1:
        return f"{hop}, one of {len(route.hops)} next hops, chosen by the addresses of the flow,{by}"
    return f"{hop},{by}"


def _shadow(claim: Mapping[str, Any], forwarding: Forwarding) -> str:
    """Name the rule or route that takes precedence over the route of a StaticRoute, and the remedy."""
    ours = f"the route of StaticRoute {claim['object']} to {claim['destination']} in table {table_name(claim['table'])}"
    route, rule = forwarding.route, forwarding.policy
    if rule is not None and rule.action is not RuleAction.LOOKUP:
        return f"The rule '{rule}' comes before {ours}: remove the rule, or exclude this destination from it."
    if route is None:
        leads = _leading(claim["table"], forwarding)
        return f"{_capital(ours)} is not used: {leads}"
    if route.table != claim["table"]:
        leads = _leading(claim["table"], forwarding)
        if leads:
            return f"{_capital(ours)} is not used: {leads}"
        return (
            f"The rule '{rule}' leads to table {table_name(route.table)} before {ours} is used:"
            f" remove the rule, give it a higher priority number, or set spec.table: {route.table} in the StaticRoute."
        )
    others = f"a route of another program (proto {protocol_name(route.protocol)})"
    if route.prefix[-1] > int(claim["destination"].rpartition("/")[2]):
        return (
            f"{_capital(others)} to {route.destination} is more specific than {ours}: remove it, or name "
            f"{route.destination} in the StaticRoute's destinations."
        )
    if route.destination == claim["destination"] and route.metric < claim["metric"]:
        return (
            f"{_capital(others)} has metric {route.metric}, lower than {claim['metric']} of {ours}: lower spec.metric."
        )
    if route.destination == claim["destination"] and route.metric == claim["metric"]:
        return f"{_capital(others)} precedes {ours}, with the same metric: remove it."
    return f"{_capital(ours)} can't be used now: its interface is down, or has no carrier (`ip link`)."


def _leading(table: int, forwarding: Forwarding) -> str:
    """Explain why no rule leads the packet to a table; return an empty text if one does."""
    packet = forwarding.packet
    leading = [each for each in forwarding.policies if each.action is RuleAction.LOOKUP and each.table == table]
    if any(each.matches(packet) for each in leading):
        return ""
    if not leading:
        name = table_name(table)
        return f"no rule leads to table {name}; add one, such as `ip rule add to ... lookup {name}`."
    rules = ", ".join(f"'{each}'" for each in leading[:3])
    return f"the rule {rules} does not match this packet; set --mark, --source or --iif to trace one that it matches."


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
