"""Trace of a packet: what the kernel does with it, and the rule and the route that decide.

The kernel reports the route of a packet (RTM_GETROUTE), but neither the policy rule that led to the table nor the
reason for dropping the packet. So this module walks the rules, and the routes that contain the destination, as the
kernel does; where the two differ, the kernel is right.
"""

import contextlib
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from pyroute2.netlink.rtnl import RTM_GETRULE

from static_route_operator.errors import KernelError
from static_route_operator.kernel.dumps import TRIES, InterruptedDumpError, dump
from static_route_operator.kernel.interfaces import ALL_LINKS, RTM_GETLINK, decode_network
from static_route_operator.kernel.messages import (
    AF_INET,
    AF_INET6,
    RTA_DST,
    RTM_F_FIB_MATCH,
    RTM_F_LOOKUP_TABLE,
    RTM_GETROUTE,
    RTM_NEWROUTE,
    RTMSG,
    WORD,
    parse_route,
)
from static_route_operator.kernel.netlink import (
    HEADER,
    NLM_F_REQUEST,
    NLMSG_ERROR,
    Message,
    NetlinkSocket,
    messages,
    pack_attribute,
    parse_refusal,
)
from static_route_operator.kernel.rules import ALL_RULES, parse_rules
from static_route_operator.routing.kernelroute import THROW, UNICAST, KernelNextHop, KernelRoute
from static_route_operator.routing.prefixes import unpack_address
from static_route_operator.routing.rules import Packet, Rule, RuleAction

# From linux/rtnetlink.h.
RTA_SRC = 2
RTA_IIF = 3
RTA_MARK = 16
RTA_IP_PROTO = 27
RTA_SPORT = 28
RTA_DPORT = 29

_PORT = struct.Struct(">H")


@dataclass(frozen=True, slots=True)
class Step:
    """A policy rule that matches a packet, and its result.

    Attributes:
        rule: the rule.
        route: the route that the rule finds in its table; None without one, or if the rule leads to no table.
        decides: the kernel evaluates no rule after this one.
    """

    rule: Rule
    route: KernelRoute | None
    decides: bool


@dataclass(frozen=True, slots=True)
class Forwarding:
    """The kernel's treatment of a packet.

    Attributes:
        packet: the traced packet.
        error: the kernel's words if it drops the packet; else empty.
        hop: next hop of the packet; one of several is chosen by the packet's addresses. None with an error.
        source: text of the packet's source address, given or chosen by the kernel.
        route: the route of the packet; None if unknown.
        rule: the rule that led to the route; None if unknown.
        candidates: all routes of all tables that contain the destination, the most specific first.
        rules: all rules, in the kernel's order.
        interfaces: names of the interfaces by index.
        bound: next hop of a socket that is bound to this source, as TCP's are; None if it is the same.
    """

    packet: Packet
    error: str
    hop: KernelNextHop | None
    source: str
    route: KernelRoute | None
    rule: Rule | None
    candidates: tuple[KernelRoute, ...]
    rules: tuple[Rule, ...]
    interfaces: Mapping[int, str]
    bound: KernelNextHop | None = None


class RouteTracer:
    """Tracer of packets in this network namespace, over one socket."""

    def __init__(self) -> None:
        self._socket = NetlinkSocket()
        self._sequence = 0

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def interfaces(self) -> dict[int, str]:
        """Return the names of the interfaces by index."""
        return dict(decode_network(self.dump(RTM_GETLINK, ALL_LINKS), ()).names)

    def forward(self, packet: Packet) -> Forwarding:
        """Trace a packet.

        Raises:
            KernelError: the kernel does not answer a request.
        """
        names = self.interfaces()
        rules = self.rules(packet.family)
        candidates = self.candidates(packet.destination)
        steps = list(walk(packet, rules, candidates))
        last = steps[-1] if steps else None
        sent, error = self._ask(packet, names)
        if sent is None:
            decided = last if last and last.decides else None
            route, rule = (decided.route, decided.rule) if decided else (None, None)
            return Forwarding(packet, error, None, packet.source_text, route, rule, candidates, rules, names)
        # IPv4 reports main for every table unless asked for the real one. IPv6 always reports it, and refuses the flag.
        lookup_table = RTM_F_LOOKUP_TABLE if packet.family == AF_INET else 0
        matched, _ = self._ask(packet, names, RTM_F_FIB_MATCH | lookup_table)
        walked = (last.route,) if last and last.route else ()
        route = _known(matched, (*walked, *candidates)) if matched else None
        rule = next((each.rule for each in steps if each.route is not None and each.route == route), None)
        if rule is None and route is not None:
            rule = next((each for each in rules if each.matches(packet) and each.table == route.table), None)
        hop = sent.hops[0] if sent.hops else None
        source = unpack_address(sent.source) if sent.source else packet.source_text
        bound = None
        if source and not packet.source and not packet.interface:
            again, _ = self._ask(packet.from_source(source), names)
            if again is not None and again.hops and again.hops[0] != hop and not _is_choice(route, hop, again.hops[0]):
                bound = again.hops[0]
        return Forwarding(packet, "", hop, source, route, rule, candidates, rules, names, bound)

    def rules(self, family: int) -> tuple[Rule, ...]:
        """Return the policy rules of a family (AF_INET or AF_INET6), in the kernel's order."""
        request = bytes([family]) + ALL_RULES[1:]
        return parse_rules(self.dump(RTM_GETRULE, request))

    def candidates(self, destination: bytes) -> tuple[KernelRoute, ...]:
        """Return the routes of all tables that contain an address, the most specific first, then by metric."""
        family = AF_INET if len(destination) == 4 else AF_INET6
        found = [
            parse_route(message.body)
            for message in self.dump(
                RTM_GETROUTE,
                RTMSG.pack(family, 0, 0, 0, 0, 0, 0, 0, 0),
                keep=lambda message: _holds(message.body, destination),
            )
        ]
        # The sort is stable: of equal routes the kernel takes the one that it dumps first.
        return tuple(sorted(found, key=lambda route: (-route.prefix[-1], route.metric)))

    def _ask(self, packet: Packet, names: dict[int, str], flags: int = 0) -> tuple[KernelRoute | None, str]:
        """Return the kernel's answer about a packet, or None and the error in words."""
        size = len(packet.destination)
        source_length = size * 8 if packet.source else 0
        body = RTMSG.pack(packet.family, size * 8, source_length, 0, 0, 0, 0, 0, flags)
        index = next((index for index, name in names.items() if name == packet.interface), 0)
        if packet.interface and not index:
            raise KernelError(f"there is no interface {packet.interface} here: {', '.join(sorted(names.values()))}")
        for kind, value in (
            (RTA_DST, packet.destination),
            (RTA_SRC, packet.source),
            (RTA_IIF, WORD.pack(index) if index else b""),
            (RTA_MARK, WORD.pack(packet.mark) if packet.mark else b""),
            (RTA_IP_PROTO, bytes([packet.protocol]) if packet.protocol else b""),
            (RTA_SPORT, _PORT.pack(packet.source_port) if packet.source_port else b""),
            (RTA_DPORT, _PORT.pack(packet.port) if packet.port else b""),
        ):
            if value:
                body += pack_attribute(kind, value)
        self._sequence += 1
        header = HEADER.pack(HEADER.size + len(body), RTM_GETROUTE, NLM_F_REQUEST, self._sequence, 0)
        self._socket.send(header + body)
        while (datagram := self._socket.receive()) is not None:
            for message in messages(datagram):
                if message.sequence != self._sequence:
                    continue
                if message.kind == RTM_NEWROUTE:
                    return parse_route(message.body), ""
                if message.kind == NLMSG_ERROR:
                    return None, parse_refusal(message).text
        raise KernelError("the kernel did not answer a request for the route of a packet")

    def dump(self, kind: int, request: bytes, *, keep: Callable[[Message], bool] = lambda _: True) -> list[Message]:
        """Return all messages of a kind.

        Args:
            kind: type of the request, such as RTM_GETRULE.
            request: body of the request.
            keep: filter of the messages.

        Raises:
            KernelError: the kernel refused, or its tables change too fast.
        """
        for _ in range(TRIES):
            with contextlib.suppress(InterruptedDumpError):
                return [message for message in self.stream(kind, request) if keep(message)]
        raise KernelError(f"the kernel's tables changed during each of {TRIES} dumps: try again")

    def stream(self, kind: int, request: bytes) -> Iterator[Message]:
        """Yield the same messages one by one, so that a large table takes no memory.

        Raises:
            InterruptedDumpError: at the end, if the tables changed during the dump, so that messages may be missing.
            KernelError: the kernel refused.
        """
        self._sequence += 1
        for found in dump(self._socket, self._sequence, kind, request, messages):
            yield from found


def _is_choice(route: KernelRoute | None, *hops: KernelNextHop | None) -> bool:
    """Report whether all these next hops belong to one route."""
    known = {(each.gateway, each.interface) for each in route.hops} if route else set()
    return known.issuperset((each.gateway, each.interface) for each in hops if each)


def _known(matched: KernelRoute, candidates: Iterable[KernelRoute]) -> KernelRoute:
    """Return the candidate that the kernel named.

    The table counts last: without rules of other programs the kernel keeps local and main in one table, and reports
    main for both.
    """
    same = [each for each in candidates if _identity(each) == _identity(matched)]
    return next((each for each in same if each.table == matched.table), same[0] if same else matched)


def _identity(route: KernelRoute) -> tuple[object, ...]:
    return route.prefix, route.metric, route.protocol, route.kind, route.source


def _holds(body: bytes, destination: bytes) -> bool:
    """Report whether the destination of a route message contains an address. Most do not, so this must be fast."""
    length = body[1]
    if not length:
        return True
    size = len(destination)
    # The destination stands right after the table.
    address = body[RTMSG.size + 12 : RTMSG.size + 12 + size]
    shift = size * 8 - length
    return int.from_bytes(address) >> shift == int.from_bytes(destination) >> shift


def walk(packet: Packet, rules: Sequence[Rule], candidates: Sequence[KernelRoute]) -> Iterator[Step]:
    """Yield the rules that match a packet, in the kernel's order, up to the one that decides."""
    goto = 0
    for rule in rules:
        if rule.priority < goto or not rule.matches(packet):
            continue
        if rule.action is RuleAction.GOTO:
            goto = rule.goto
            continue
        if rule.action is RuleAction.NOP:
            continue
        if rule.action is not RuleAction.LOOKUP:
            yield Step(rule, None, decides=True)
            return
        route = best(candidates, rule)
        decides = route is not None and route.kind != THROW
        yield Step(rule, route, decides)
        if decides:
            return


def best(candidates: Iterable[KernelRoute], rule: Rule) -> KernelRoute | None:
    """Return the route that a rule finds in its table: the first usable one, unless the rule suppresses it."""
    for route in candidates:
        if route.table != rule.table or (route.kind == UNICAST and all(hop.dead for hop in route.hops)):
            continue
        suppressed = rule.suppress_prefix_length
        return None if suppressed is not None and route.prefix[-1] <= suppressed else route
    return None
