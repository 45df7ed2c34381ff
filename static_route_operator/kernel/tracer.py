"""Trace of a packet: what the kernel does with it, and the rule and the route that decide.

The kernel reports the route of a packet (RTM_GETROUTE), but neither the policy rule that led to the table nor the
reason for dropping the packet. So this module walks the rules, and the routes that contain the destination, as the
kernel does; where the two differ, the kernel is right. Checks besides rules and routes are in `drops`.
"""

import contextlib
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from pyroute2.netlink.rtnl import RTM_GETNEIGH, RTM_GETRULE, RTM_NEWNEIGH
from pyroute2.netlink.rtnl.ndmsg import NUD_FAILED, NUD_INCOMPLETE

from static_route_operator.errors import KernelError
from static_route_operator.kernel.drops import Drop, Journey, NeighbourState, find_drop
from static_route_operator.kernel.dumps import TRIES, InterruptedDumpError, dump
from static_route_operator.kernel.interfaces import ALL_LINKS, RTM_GETLINK, decode_network
from static_route_operator.kernel.messages import (
    AF_INET,
    AF_INET6,
    ROUTE,
    RTA_CACHEINFO,
    RTA_DST,
    RTM_F_CLONED,
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
    attributes,
    messages,
    pack_attribute,
    parse_refusal,
)
from static_route_operator.kernel.rules import ALL_RULES, parse_rules
from static_route_operator.kernel.unreadable import read, readable
from static_route_operator.routing.facts import Link
from static_route_operator.routing.kernelroute import LOCAL_KINDS, THROW, UNICAST, KernelNextHop, KernelRoute
from static_route_operator.routing.prefixes import unpack_address
from static_route_operator.routing.rules import Packet, Rule, RuleAction

# From linux/rtnetlink.h.
RTA_SRC = 2
RTA_IIF = 3
RTA_MARK = 16
RTA_IP_PROTO = 27
RTA_SPORT = 28
RTA_DPORT = 29

# From linux/in_route.h: an ICMP redirect made this next hop.
RTCF_REDIRECTED = 0x40000
# RTAX_MTU of linux/rtnetlink.h.
_MTU = 2

# Bytes of a packed IPv4 prefix.
IPV4_PREFIX_SIZE = 5

_PORT = struct.Struct(">H")
# rta_cacheinfo up to its third field, the time until the entry expires, in hundredths of a second.
_CACHE = struct.Struct("=IIi")
# ndmsg: family, index of the interface, state, flags, type.
_NEIGHBOUR = struct.Struct("=BxxxiHBB")
_NDA_DST = 1

_SETTINGS = Path("/proc/sys/net")

# Kinds of interfaces that take the packets of their ports. A VRF does not.
_MASTERS = frozenset({"bridge", "bond", "team"})


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
class Learned:
    """State that the kernel learned about one destination from ICMP messages.

    Attributes:
        redirected: a router redirected the destination to another gateway, whatever the route has.
        mtu: largest packet that gets through, in bytes; 0 if the route's own holds.
        expires: seconds until the kernel forgets it; 0 if it lasts until the route changes.
    """

    redirected: bool = False
    mtu: int = 0
    expires: int = 0


@dataclass(frozen=True, slots=True)
class Forwarding:
    """The kernel's treatment of a packet.

    Attributes:
        packet: the traced packet.
        error: the kernel's words if the look-up of the route fails; else empty.
        drop: reason why the kernel drops the packet other than a rule or a route; None if it does not.
        learned: what the kernel has learned about the destination.
        port: name of the port of a bridge or bond that the packet came in by; empty for none.
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
    drop: Drop | None = None
    learned: Learned = Learned()
    port: str = ""

    @property
    def dropped(self) -> bool:
        """True if the packet goes nowhere."""
        return bool(self.error or self.drop)


class _Answer(NamedTuple):
    """The kernel's answer about a packet.

    Attributes:
        route: None if the look-up fails.
        error: the kernel's words if the look-up fails; else empty.
        flags: RTM_F_ and RTCF_ bits.
        expires: seconds until a learned entry expires; 0 for none.
    """

    route: KernelRoute | None
    error: str = ""
    flags: int = 0
    expires: int = 0


class RouteTracer:
    """Tracer of packets in this network namespace, over one socket."""

    def __init__(self) -> None:
        self._socket = NetlinkSocket()
        self._sequence = 0

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def links(self) -> list[Link]:
        """Return the interfaces."""
        return list(decode_network(self.dump(RTM_GETLINK, ALL_LINKS), ()).links.values())

    def forward(self, packet: Packet) -> Forwarding:
        """Trace a packet.

        Raises:
            KernelError: the kernel does not answer a request.
        """
        links = self.links()
        names = {link.index: link.name for link in links}
        rules = self.rules(packet.family)
        candidates = self.candidates(packet.destination)
        packet, port = _arriving(packet, links)
        if packet.interface and packet.interface not in names.values():
            missing = Drop(
                f"this node has no interface {packet.interface}", f"It has {', '.join(sorted(names.values()))}."
            )
            return Forwarding(packet, "", None, "", None, None, candidates, rules, names, drop=missing)
        steps = list(walk(packet, rules, candidates))
        last = steps[-1] if steps and steps[-1].decides else None
        sent = self._ask(packet, names)
        hop, source, learned = None, packet.source_text, Learned()
        route, rule = (last.route, last.rule) if last else (None, None)
        if sent.route is not None:
            matched = self._match(packet, names)
            walked = (route,) if route else ()
            route = _known(matched, (*walked, *candidates)) if matched else None
            rule = next((each.rule for each in steps if each.route is not None and each.route == route), None)
            if rule is None and route is not None:
                rule = next((each for each in rules if each.matches(packet) and each.table == route.table), None)
            hop = sent.route.hops[0] if sent.route.hops else None
            source = unpack_address(sent.route.source) if sent.route.source else source
            learned = _learned(sent, route)
        forwarding = Forwarding(
            packet,
            sent.error,
            hop,
            source,
            route,
            rule,
            candidates,
            rules,
            names,
            self._bound(packet, names, route, hop, source),
            learned=learned,
        )
        return replace(forwarding, drop=find_drop(self._journey(forwarding, links)), port=port)

    def _match(self, packet: Packet, names: Mapping[int, str]) -> KernelRoute | None:
        """Return the route of a table that the packet takes."""
        # IPv4 reports main for every table unless asked for the real one. IPv6 always reports it, and refuses the flag.
        lookup_table = RTM_F_LOOKUP_TABLE if packet.family == AF_INET else 0
        return self._ask(packet, names, RTM_F_FIB_MATCH | lookup_table).route

    def _bound(
        self,
        packet: Packet,
        names: Mapping[int, str],
        route: KernelRoute | None,
        hop: KernelNextHop | None,
        source: str,
    ) -> KernelNextHop | None:
        """Return the next hop of a socket that is bound to the chosen source; None if it is the same."""
        if hop is None or not source or packet.source or packet.interface:
            return None
        again = self._ask(packet.from_source(source), names).route
        if again is None or not again.hops or again.hops[0] == hop or _is_choice(route, hop, again.hops[0]):
            return None
        return again.hops[0]

    def _journey(self, forwarding: Forwarding, links: Sequence[Link]) -> Journey:
        """Collect what decides whether the kernel drops a packet apart from rules and routes."""
        packet, route, names = forwarding.packet, forwarding.route, forwarding.interfaces
        by_table = (route is None or route.kind not in {UNICAST, *LOCAL_KINDS}) if forwarding.error else False
        hop = forwarding.hop or (route.hops[0] if route is not None and route.hops else None)
        index = hop.interface if hop else 0
        next_hop = hop.gateway or packet.destination if hop else b""
        neighbour = NeighbourState.USABLE
        if forwarding.hop and route is not None and route.kind == UNICAST:
            neighbour = self._neighbour(next_hop, index)
        return Journey(
            packet=packet,
            refused=bool(forwarding.error),
            by_table=by_table,
            route=route,
            output=names.get(index, str(index)) if index else "",
            next_hop=next_hop,
            source=forwarding.source,
            links={link.name: link for link in links},
            route_back=self._route_back(forwarding, names.get(index, "lo")),
            neighbour=neighbour,
            settings=read_setting,
        )

    def _route_back(self, forwarding: Forwarding, output: str) -> tuple[KernelRoute, str] | None:
        """Return the route to the source of a packet, and the name of its interface; None without one.

        The kernel looks as if an answer came in by the packet's output interface.
        """
        packet = forwarding.packet
        if not packet.source:
            return None
        marked = any(read_setting("ipv4", each, "src_valid_mark") for each in ("all", packet.interface or "all"))
        back = Packet(packet.source, packet.destination, packet.mark if marked else 0, output)
        steps = list(walk(back, forwarding.rules, self.candidates(packet.source)))
        route = steps[-1].route if steps and steps[-1].decides else None
        if route is None:
            return None
        index = route.hops[0].interface if route.hops else 0
        return route, forwarding.interfaces.get(index, "no interface")

    def _neighbour(self, address: bytes, interface: int) -> NeighbourState:
        """Return the state of a neighbour; a kernel before 5.0 does not report a single one, so it counts as usable."""
        family = AF_INET if len(address) == 4 else AF_INET6
        body = _NEIGHBOUR.pack(family, interface, 0, 0, 0) + pack_attribute(_NDA_DST, address)
        answer = self._request(RTM_GETNEIGH, body, RTM_NEWNEIGH)
        if answer.kind == RTM_NEWNEIGH and (found := read("neighbour", _NEIGHBOUR.unpack_from, answer.body)):
            _, _, state, _, _ = found
            if state & (NUD_FAILED | NUD_INCOMPLETE):
                return NeighbourState.UNRESOLVED
        return NeighbourState.USABLE

    def rules(self, family: int) -> tuple[Rule, ...]:
        """Return the policy rules of a family (AF_INET or AF_INET6), in the kernel's order."""
        request = bytes([family]) + ALL_RULES[1:]
        return parse_rules(self.dump(RTM_GETRULE, request))

    def candidates(self, destination: bytes) -> tuple[KernelRoute, ...]:
        """Return the routes of all tables that contain an address, the most specific first, then by metric."""
        family = AF_INET if len(destination) == 4 else AF_INET6
        found = self.dump(
            RTM_GETROUTE,
            RTMSG.pack(family, 0, 0, 0, 0, 0, 0, 0, 0),
            keep=lambda message: _holds(message.body, destination),
        )
        routes = readable(ROUTE, parse_route, (message.body for message in found))
        # The sort is stable: of equal routes the kernel takes the one that it dumps first.
        return tuple(sorted(routes, key=lambda route: (-route.prefix[-1], route.metric)))

    def _ask(self, packet: Packet, names: Mapping[int, str], flags: int = 0) -> _Answer:
        """Return the kernel's answer about a packet."""
        size = len(packet.destination)
        source_length = size * 8 if packet.source else 0
        body = RTMSG.pack(packet.family, size * 8, source_length, 0, 0, 0, 0, 0, flags)
        index = next((index for index, name in names.items() if name == packet.interface), 0)
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
        answer = self._request(RTM_GETROUTE, body, RTM_NEWROUTE)
        if answer.kind == NLMSG_ERROR:
            return _Answer(None, parse_refusal(answer).text)
        if (route := read(ROUTE, parse_route, answer.body)) is None:
            return _Answer(None, "the kernel's answer can't be read")
        *_, found = RTMSG.unpack_from(answer.body)
        cache = dict(attributes(answer.body, RTMSG.size)).get(RTA_CACHEINFO, b"")
        expires = _CACHE.unpack_from(cache)[2] if len(cache) >= _CACHE.size else 0
        return _Answer(route, "", found, max(0, expires) // 100)

    def _request(self, kind: int, body: bytes, answers: int) -> Message:
        """Return the kernel's answer to a request about one thing, or its error.

        Raises:
            KernelError: there is neither.
        """
        self._sequence += 1
        header = HEADER.pack(HEADER.size + len(body), kind, NLM_F_REQUEST, self._sequence, 0)
        self._socket.send(header + body)
        while (datagram := self._socket.receive()) is not None:
            for message in messages(datagram):
                if message.sequence == self._sequence and message.kind in {answers, NLMSG_ERROR}:
                    return message
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


def _arriving(packet: Packet, links: Sequence[Link]) -> tuple[Packet, str]:
    """Return a packet with the interface that it counts as arrived on, and the name of the port that it came in by.

    A packet on a port of a bridge or a bond is one of the bridge or bond. An interface may have alternative names.
    """
    asked = packet.interface
    link = next((each for each in links if asked and asked in {each.name, *each.alternative_names}), None)
    if link is None:
        return packet, ""
    master = next((each for each in links if each.index == link.master and each.kind in _MASTERS), None)
    return replace(packet, interface=(master or link).name), link.name if master else ""


def read_setting(directory: str, interface: str, name: str) -> int | None:
    """Return a network setting of an interface in this namespace; None if this kernel does not have it."""
    with contextlib.suppress(OSError, ValueError):
        return int((_SETTINGS / directory / "conf" / interface / name).read_text())
    return None


def _learned(sent: _Answer, route: KernelRoute | None) -> Learned:
    """Return what the kernel has learned about the destination of a packet.

    IPv4 marks a redirect. IPv6 does not: its entry has a gateway that the route does not have.
    """
    if sent.route is None or route is None or route.kind != UNICAST:
        return Learned()
    entry = bool(sent.flags & RTM_F_CLONED)
    redirected = bool(sent.flags & RTCF_REDIRECTED)
    if len(route.prefix) > IPV4_PREFIX_SIZE:
        redirected = entry and bool(route.hops) and not _is_choice(route, *sent.route.hops)
    mtu = dict(sent.route.metrics).get(_MTU, 0)
    learned = entry and mtu != dict(route.metrics).get(_MTU, 0)
    return Learned(redirected, mtu if learned else 0, sent.expires)


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
    length = body[1] if len(body) > 1 else 0
    if not length:
        return True
    size = len(destination)
    # The destination stands right after the table.
    address = body[RTMSG.size + 12 : RTMSG.size + 12 + size]
    shift = max(size * 8 - length, 0)
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
