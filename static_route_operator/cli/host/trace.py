"""The path of packets to a destination on this host, compared with what the StaticRoutes ask for.

The agent reports which StaticRoutes ask for the destination and which of them has precedence. The kernel reports what
happens to a packet. Where the two differ, the answer names the obstacle and the remedy.
"""

import enum
import socket
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from static_route_operator.cli.host.process import NoProcessError, ask
from static_route_operator.errors import KernelError, UnansweredError
from static_route_operator.kernel.drops import setting_name
from static_route_operator.kernel.tracer import Forwarding, RouteTracer
from static_route_operator.planning.candidates import CandidateStatus
from static_route_operator.routing.description import (
    describe_hop,
    describe_kernel_route,
    hop_words,
    route_words,
)
from static_route_operator.routing.kernelroute import BLACKHOLE, LOCAL_KINDS, KernelRoute
from static_route_operator.routing.nexthops import PROTOCOL, protocol_name
from static_route_operator.routing.prefixes import unpack_address
from static_route_operator.routing.rules import Packet, Rule, RuleAction, table_name

# Protocols of the routes that people add by hand: unspecified, boot and static.
OPERATORS = frozenset({0, 3, 4})

# Result for the sender, by the type of the route that drops a packet.
_ERRORS = {
    BLACKHOLE: "without an error to the sender",
    "unreachable": "with the error 'host unreachable' to the sender",
    "prohibit": "with the error 'prohibited' to the sender",
}


class Verdict(enum.StrEnum):
    """The result of the comparison."""

    FOLLOWS = "Follows"  # the packet takes the route of the StaticRoute that has precedence
    DROPPED = "Dropped"  # the kernel drops the packet, for a reason other than a rule or a route
    REDIRECTED = "Redirected"  # the packet takes that route, and an ICMP redirect leads it to another gateway
    PROTECTED = "Protected"  # StaticRoutes leave the path to this destination as it is
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
        UnansweredError: the kernel does not answer.
    """
    tracer = RouteTracer()
    try:
        forwarding = tracer.forward(packet)
    except KernelError as error:
        raise UnansweredError(str(error)) from error
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
    verdict, owner, text, cause = _judge(forwarding, claims, answer.get("protected") or "")
    packet = forwarding.packet
    route, rule = forwarding.route, forwarding.rule
    learned = forwarding.learned
    sent = forwarding.hop if forwarding.hop and not forwarding.dropped else None
    hop = describe_hop(sent, forwarding.interfaces) if sent else None
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
        "notes": list(_notes(forwarding, answer, verdict, owner)),
        "kernel": {
            "error": forwarding.error or None,
            "drop": forwarding.drop.reason if forwarding.drop else None,
            "redirected": learned.redirected,
            "learnedMtu": learned.mtu or None,
            "gateway": hop["gateway"] if hop else None,
            "interface": hop["interface"] if hop else None,
            "source": forwarding.source or None,
            "route": describe_kernel_route(route, forwarding.interfaces) if route else None,
            "rule": str(rule) if rule else None,
        },
        "claims": claims,
        "candidates": [describe_kernel_route(each, forwarding.interfaces) for each in forwarding.candidates],
        "rules": [str(each) for each in forwarding.rules],
    }


def _notes(forwarding: Forwarding, answer: Mapping[str, Any], verdict: Verdict, owner: str | None) -> Iterator[str]:
    """Yield what else is to be known about the path of a packet."""
    if note := answer.get("note"):
        yield note
    if not answer.get("complete", True):
        yield "the agent has no complete list of StaticRoutes yet"
    if verdict is Verdict.FOLLOWS and forwarding.hop:
        messages = {each["object"]: each["message"] for each in answer["claims"]}
        if messages.get(owner):
            yield f"StaticRoute {owner} on this node: {messages[owner]}"
    if forwarding.drop and forwarding.drop.remedy and verdict is not Verdict.DROPPED:
        yield forwarding.drop.remedy
    if forwarding.port:
        yield f"{forwarding.port} is a port of {forwarding.packet.interface}, so the packet counts as arrived on that"
    learned = forwarding.learned
    if learned.redirected and verdict is not Verdict.REDIRECTED:
        yield f"an ICMP redirect set this next hop; {_redirect_remedy(forwarding)}"
    if learned.mtu:
        until = f", for {learned.expires} s more" if learned.expires else ""
        yield f"packets of more than {learned.mtu} bytes are split or refused: a router reported this path MTU{until}"
    if forwarding.bound is not None:
        bound = f"a socket that is bound to {forwarding.source}, as TCP's are once connected"
        yield f"{bound}, sends {hop_words(forwarding.bound, forwarding.interfaces)}"


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


def _judge(forwarding: Forwarding, claims: Sequence[Mapping[str, Any]] | None, protected: str) -> _Judgement:
    way = _way(forwarding)
    if claims is None:
        return _Judgement(Verdict.UNKNOWN, None, way)
    winners = [each for each in claims if each["standing"] == CandidateStatus.WINS]
    route = forwarding.route
    ours = route if route is not None and route.protocol == PROTOCOL else None
    mine = [each for each in claims if ours and _is_of(ours, each)]
    owner = next((each for each in mine if each["standing"] == CandidateStatus.WINS), None)
    held = next((each for each in mine if each["standing"] == CandidateStatus.HELD), None)
    if forwarding.drop and (concerned := owner or held or (winners[0] if winners and route is None else None)):
        return _Judgement(Verdict.DROPPED, concerned["object"], way, forwarding.drop.remedy)
    if owner:
        return _follows(owner, forwarding, way)
    if protected and (claims or ours):
        return _Judgement(Verdict.PROTECTED, None, way, _protected(forwarding, protected))
    if held:
        name = held["object"]
        return _Judgement(Verdict.NOT_HERE, name, way, f"StaticRoute {name} retains this route: {held['message']}")
    if not claims:
        cause = "No StaticRoute on this node has this destination"
        if ours:
            cause += ", and the agent is about to remove this route of the operator"
        return _Judgement(Verdict.NO_STATIC_ROUTE, None, way, f"{cause}.")
    return _in_vain(claims, winners, forwarding, way)


def _in_vain(
    claims: Sequence[Mapping[str, Any]], winners: Sequence[Mapping[str, Any]], forwarding: Forwarding, way: str
) -> _Judgement:
    """Explain why the packet takes the route of none of the StaticRoutes that ask for it."""
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


def _protected(forwarding: Forwarding, protected: str) -> str:
    """Explain why a StaticRoute does not lead the packets to a protected address."""
    address = unpack_address(forwarding.packet.destination)
    text = f"StaticRoutes leave the path to {address} as it is, since it is protected: {protected}. This is intended"
    route = forwarding.route
    if route is not None and route.protocol == PROTOCOL:
        text += ": this bypass route keeps it off the default route of a StaticRoute"
    return f"{text}."


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
        if forwarding.learned.redirected:
            cause = (
                f"StaticRoute {name} leads {to}, and its route is installed, but an ICMP redirect leads this address"
            )
            cause += f" to another gateway; the agent does not end that: {_redirect_remedy(forwarding)}."
            return _Judgement(Verdict.REDIRECTED, name, way, cause)
        why = claim["message"] or "the agent is about to correct this route (`diff` shows it)"
        cause = f"StaticRoute {name} leads {to}: {why}"
        return _Judgement(Verdict.MISSING, name, way, cause)
    if hop is None:
        return _Judgement(Verdict.FOLLOWS, name, f"{way}, as StaticRoute {name} asks for: {claim['message']}")
    return _Judgement(Verdict.FOLLOWS, name, f"StaticRoute {name}: {way}")


def _redirect_remedy(forwarding: Forwarding) -> str:
    """Return the commands that end an ICMP redirect and prevent the next."""
    packet, hop = forwarding.packet, forwarding.hop
    ipv6 = packet.family == socket.AF_INET6
    interface = forwarding.interfaces.get(hop.interface, "all") if hop else "all"
    settings = [
        setting_name(packet, each, "accept_redirects") for each in ([interface] if ipv6 else ["all", interface])
    ]
    flush = "ip -6 route flush cache" if ipv6 else "ip route flush cache"
    prevent = "prevents" if ipv6 else "prevent"
    return f"`{flush}` ends it, and {' and '.join(f'{each}=0' for each in settings)} {prevent} the next"


def _way(forwarding: Forwarding) -> str:
    """Describe the path of the packet."""
    route, rule = forwarding.route, forwarding.rule
    by = f" by {route_words(route, forwarding.interfaces)}" if route else ""
    if forwarding.drop:
        return f"dropped: {forwarding.drop.reason}"
    if forwarding.error:
        if route is None and rule is not None and rule.action is not RuleAction.LOOKUP:
            by = f" by the rule {rule}"
        if route is not None and route.kind in _ERRORS:
            return f"dropped, {_ERRORS[route.kind]},{by}"
        return f"dropped ({forwarding.error})" + (by or ": no route matches")
    if route is not None and route.kind in LOCAL_KINDS:
        if route.kind in {"broadcast", "multicast"}:
            return f"sent to all hosts of a link, or taken from there,{by}"
        return f"delivered to this node itself{by}"
    hop = hop_words(forwarding.hop, forwarding.interfaces) if forwarding.hop else "nowhere"
    if route is not None and len(route.hops) > 1:
        return f"{hop}, one of {len(route.hops)} next hops, chosen by the addresses of the flow,{by}"
    return f"{hop},{by}" if by else hop


def _shadow(claim: Mapping[str, Any], forwarding: Forwarding) -> str:
    """Name the rule or route that takes precedence over the route of a StaticRoute, and its owner.

    The remedy is one in the StaticRoute: what another program made is that program's.
    """
    ours = f"the route of StaticRoute {claim['object']} to {claim['destination']} in table {table_name(claim['table'])}"
    route, rule = forwarding.route, forwarding.rule
    if rule is not None and rule.action is not RuleAction.LOOKUP:
        return f"{_rule_owner(rule)} comes before {ours}: the StaticRoute does not reach these packets."
    if route is None:
        leads = _leading(claim["table"], forwarding)
        return f"{_capital(ours)} is not used: {leads}"
    if route.table != claim["table"]:
        leads = _leading(claim["table"], forwarding)
        if leads:
            return f"{_capital(ours)} is not used: {leads}"
        return _other_table(route, rule, ours)
    owner = f"a route of another program (proto {protocol_name(route.protocol)})"
    if route.protocol == PROTOCOL:
        owner = "another route of this operator"
    if route.prefix[-1] > int(claim["destination"].rpartition("/")[2]):
        text = f"{_capital(owner)} to {route.destination} is more specific than {ours}"
        return f"{text}, which does not reach these packets{_narrower(route, claim)}."
    if route.destination == claim["destination"] and route.metric < claim["metric"]:
        lower = f": set spec.metric below {route.metric}" if route.metric else ", and no metric is lower"
        return f"{_capital(owner)} has metric {route.metric}, lower than {claim['metric']} of {ours}{lower}."
    if route.destination == claim["destination"] and route.metric == claim["metric"]:
        return f"{_capital(owner)} precedes {ours}, with the same metric: the StaticRoute does not reach these packets."
    return f"{_capital(ours)} can't be used now: its interface is down, or has no carrier (`ip link`)."


def _other_table(route: KernelRoute, rule: Rule | None, ours: str) -> str:
    """Explain that a rule leads to another table first."""
    text = f"{_rule_owner(rule) if rule else 'a rule'} leads to table {table_name(route.table)} before {ours} is used"
    if rule is not None and rule.ours:
        return (
            f"{text}: a default route of a StaticRoute takes neither packets that have another route in main, nor "
            "answers from the address of main's own default interface. This is intended."
        )
    if route.kind in LOCAL_KINDS:
        return f"{_capital(text)}: this node takes these packets itself, and no StaticRoute changes that."
    if route.protocol in OPERATORS:
        return f"{_capital(text)}. If these packets are to follow the StaticRoute, set spec.table: {route.table} in it."
    owner = protocol_name(route.protocol)
    return f"{_capital(text)}: the StaticRoute does not reach these packets, whose route is of proto {owner}."


def _rule_owner(rule: Rule) -> str:
    """Name a rule, and the program that made it if known."""
    if rule.ours:
        return f"The rule '{rule}' of this operator"
    owner = f" (proto {protocol_name(rule.protocol)})" if rule.protocol else ""
    return f"The rule '{rule}' of another program{owner}"


def _narrower(route: KernelRoute, claim: Mapping[str, Any]) -> str:
    """Return the change of a StaticRoute with which it takes packets from a more specific route, if there is one."""
    if route.protocol not in OPERATORS or not any(hop.gateway for hop in route.hops):
        # The routes of a network of pods, a connected subnet, or an address of this node.
        return ""
    if route.metric > claim["metric"]:
        return f"; if it is to have them, name {route.destination} in spec.destinations"
    if route.prefix[-1] < (len(route.prefix) - 1) * 8:
        return f"; if it is to have them, name more specific destinations than {route.destination}"
    return ""


def _leading(table: int, forwarding: Forwarding) -> str:
    """Explain why no rule leads the packet to a table; return an empty text if one does."""
    packet = forwarding.packet
    leading = [each for each in forwarding.rules if each.action is RuleAction.LOOKUP and each.table == table]
    if any(each.matches(packet) for each in leading):
        return ""
    if not leading:
        name = table_name(table)
        return f"no rule leads to table {name}; add one, such as `ip rule add to ... lookup {name}`."
    rules = ", ".join(f"'{each}'" for each in leading[:3])
    return f"the rule {rules} does not match this packet; set --mark, --source or --iif to trace one that it matches."


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
