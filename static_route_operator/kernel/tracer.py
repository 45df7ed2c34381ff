"""What the kernel does with a packet: its own answer, and which rule and route lead to it.

The kernel says by which route it would send a packet (RTM_GETROUTE), but neither which policy rule led to the table nor
why a packet is dropped. So its rules and the routes that hold the destination are walked here as it walks them; where
the two differ, the kernel is right.
"""

import contextlib
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from pyroute2.netlink.rtnl import RTM_GETRULE

from static_route_operator.errors import KernelError
from static_route_operator.kernel.dumps import TRIES, InterruptedDumpError, dump
from static_route_operator.kernel.interfaces import ALL_LINKS, RTM_GETLINK, parse_links
from static_route_operator.kernel.messages import (
    AF_INET,
    AF_INET6,
    RTA_DST,
    RTA_GATEWAY,
    RTA_MULTIPATH,
    RTA_OIF,
    RTA_PREFSRC,
    RTA_PRIORITY,
    RTA_TABLE,
    RTA_VIA,
    RTM_F_FIB_MATCH,
    RTM_F_LOOKUP_TABLE,
    RTM_GETROUTE,
    RTM_NEWROUTE,
    RTMSG,
    RTN_UNICAST,
    next_hops,
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
from static_route_operator.routing.keys import TABLE_MAIN
from static_route_operator.routing.prefixes import mask, unpack_address, unpack_prefix
from static_route_operator.routing.rules import Packet, Rule, RuleAction

# From linux/rtnetlink.h.
RTA_SRC = 2
RTA_IIF = 3
RTA_MARK = 16
RTA_IP_PROTO = 27
RTA_SPORT = 28
RTA_DPORT = 29
RTNH_F_DEAD = 0x1

_LOCAL_KINDS = {2: "local", 3: "broadcast", 4: "anycast", 5: "multicast"}
_ERROR_KINDS = {6: "blackhole", 7: "unreachable", 8: "prohibit", 9: "throw"}

_WORD = struct.Struct("=I")
_PORT = struct.Struct(">H")


class NextHop(NamedTuple):
    """Where packets of a route go.

    Attributes:
        gateway: address as text; empty when the destination is reached directly.
        interface: name of the output interface.
        weight: its share beside the others.
        dead: it is not used now: its interface is down or has no carrier.
    """

    gateway: str
    interface: str
    weight: int = 1
    dead: bool = False


@dataclass(frozen=True, slots=True)
class Route:
    """A route that holds a destination, whoever made it.

    Attributes:
        prefix: packed.
        table: it is in.
        metric: of it.
        protocol: number of whoever made it.
        kind: unicast, local, blackhole and so on.
        hops: where it leads.
        source: text of the address that this host's own packets get; empty for none in particular.
    """

    prefix: bytes
    table: int
    metric: int
    protocol: int
    kind: str
    hops: tuple[NextHop, ...]
    source: str = ""

    @property
    def destination(self) -> str:
        """The text of its prefix."""
        return unpack_prefix(self.prefix)


@dataclass(frozen=True, slots=True)
class Step:
    """A policy rule that a packet comes by, and what comes of it.

    Attributes:
        policy: the rule.
        route: what it finds in its table; None for none, or for a rule that leads to no table.
        decides: nothing after it is looked at.
    """

    policy: Rule
    route: Route | None
    decides: bool


@dataclass(frozen=True, slots=True)
class Forwarding:
    """What the kernel does with a packet.

    Attributes:
        packet: what was asked about.
        error: the kernel's words when it does not send it anywhere; empty when it does.
        hop: where this very packet goes; of several next hops the one that its addresses choose. None with an error.
        source: text of the source address it gets, or has.
        route: the route it takes; None when it is not known.
        policy: the rule that led there; None when it is not known.
        candidates: every route of every table that holds the destination, the most specific first.
        policies: all rules, in their order.
        bound: the next hop for a socket that is bound to this source, as TCP's are, when that is another one.
    """

    packet: Packet
    error: str
    hop: NextHop | None
    source: str
    route: Route | None
    policy: Rule | None
    candidates: tuple[Route, ...]
    policies: tuple[Rule, ...]
    bound: NextHop | None = None


class RouteTracer:
    """Asks the kernel of this network namespace."""

    def __init__(self) -> None:
        self._socket = NetlinkSocket()
        self._sequence = 0

    def close(self) -> None:
        """Close its socket."""
        self._socket.close()

    def interfaces(self) -> dict[int, str]:
        """The names of the interfaces by index."""
        return parse_links(self.dump(RTM_GETLINK, ALL_LINKS))[0]

    def forward(self, packet: Packet) -> Forwarding:
        """What the kernel does with a packet.

        Raises:
            KernelError: the kernel does not answer the questions that lead to it.
        """
        names = self.interfaces()
        policies = self.policies(packet.family)
        candidates = self.candidates(packet.destination, names)
        steps = list(walk(packet, policies, candidates))
        last = steps[-1] if steps else None
        sent, error = self._ask(packet, names)
        if sent is None:
            decided = last if last and last.decides else None
            route, policy = (decided.route, decided.policy) if decided else (None, None)
            return Forwarding(packet, error, None, packet.source_text, route, policy, candidates, policies)
        # Unless asked for the table, IPv4 calls each of them main. IPv6 always tells, and refuses to be asked.
        telling = RTM_F_LOOKUP_TABLE if packet.family == AF_INET else 0
        matched, _ = self._ask(packet, names, RTM_F_FIB_MATCH | telling)
        walked = (last.route,) if last and last.route else ()
        route = _known(matched, (*walked, *candidates)) if matched else None
        policy = next((each.policy for each in steps if each.route is not None and each.route == route), None)
        if policy is None and route is not None:
            policy = next((each for each in policies if each.matches(packet) and each.table == route.table), None)
        hop = sent.hops[0] if sent.hops else None
        source = sent.source or packet.source_text
        bound = None
        if source and not packet.source and not packet.interface:
            again, _ = self._ask(packet.from_source(source), names)
            if again is not None and again.hops and again.hops[0] != hop and not _is_choice(route, hop, again.hops[0]):
                bound = again.hops[0]
        return Forwarding(packet, "", hop, source, route, policy, candidates, policies, bound)

    def policies(self, family: int) -> tuple[Rule, ...]:
        """The policy rules of a family (AF_INET or AF_INET6), in their order."""
        request = bytes([family]) + ALL_RULES[1:]
        return parse_rules(self.dump(RTM_GETRULE, request))

    def candidates(self, destination: bytes, names: dict[int, str]) -> tuple[Route, ...]:
        """The routes of all tables that hold an address, the most specific first, then by metric."""
        family = AF_INET if len(destination) == 4 else AF_INET6
        found = [
            parse_route(message.body, names)
            for message in self.dump(
                RTM_GETROUTE,
                RTMSG.pack(family, 0, 0, 0, 0, 0, 0, 0, 0),
                keep=lambda message: _holds(message.body, destination),
            )
        ]
        # Those that are alike stay as the kernel has them: the first is the one it takes.
        return tuple(sorted(found, key=lambda route: (-route.prefix[-1], route.metric)))

    def _ask(self, packet: Packet, names: dict[int, str], flags: int = 0) -> tuple[Route | None, str]:
        """The kernel's answer about a packet, or its error in words."""
        size = len(packet.destination)
        source_length = size * 8 if packet.source else 0
        body = RTMSG.pack(packet.family, size * 8, source_length, 0, 0, 0, 0, 0, flags)
        index = next((index for index, name in names.items() if name == packet.interface), 0)
        if packet.interface and not index:
            raise KernelError(f"there is no interface {packet.interface} here: {', '.join(sorted(names.values()))}")
        for kind, value in (
            (RTA_DST, packet.destination),
            (RTA_SRC, packet.source),
            (RTA_IIF, _WORD.pack(index) if index else b""),
            (RTA_MARK, _WORD.pack(packet.mark) if packet.mark else b""),
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
                    return parse_route(message.body, names), ""
                if message.kind == NLMSG_ERROR:
                    return None, parse_refusal(message).text
        raise KernelError("the kernel did not answer a question about a packet")

    def dump(self, kind: int, request: bytes, *, keep: Callable[[Message], bool] = lambda _: True) -> list[Message]:
        """All that the kernel has of a kind.

        Args:
            kind: of the request, such as RTM_GETRULE.
            request: its body.
            keep: what is wanted of it.

        Raises:
            KernelError: it refused, or its tables change too fast.
        """
        for _ in range(TRIES):
            with contextlib.suppress(InterruptedDumpError):
                return [message for message in self.stream(kind, request) if keep(message)]
        raise KernelError(f"the kernel's tables changed during each of {TRIES} dumps: try again")

    def stream(self, kind: int, request: bytes) -> Iterator[Message]:
        """The same one by one, however many there are.

        Raises:
            InterruptedDumpError: in the end, when the tables changed meanwhile, so that some may be missing.
            KernelError: it refused.
        """
        self._sequence += 1
        for found in dump(self._socket, self._sequence, kind, request, messages):
            yield from found


def _is_choice(route: Route | None, *hops: NextHop | None) -> bool:
    """Whether next hops are but several of one route."""
    known = {(each.gateway, each.interface) for each in route.hops} if route else set()
    return known.issuperset((each.gateway, each.interface) for each in hops if each)


def _known(matched: Route, candidates: Iterable[Route]) -> Route:
    """The route of the tables that the kernel named.

    Its number of the table is not looked at first: without rules of others, the kernel has its tables local and main in
    one, and calls that main.
    """
    same = [each for each in candidates if replace(each, table=0, hops=()) == replace(matched, table=0, hops=())]
    return next((each for each in same if each.table == matched.table), same[0] if same else matched)


def _holds(body: bytes, destination: bytes) -> bool:
    """Whether a route message is about a prefix that holds an address. Most are not: it must be quick."""
    length = body[1]
    if not length:
        return True
    size = len(destination)
    # The destination stands right after the table.
    address = body[RTMSG.size + 12 : RTMSG.size + 12 + size]
    shift = size * 8 - length
    return int.from_bytes(address) >> shift == int.from_bytes(destination) >> shift


def parse_route(body: bytes, names: dict[int, str]) -> Route:
    """The route in the body of a RTM_NEWROUTE."""
    family, length, _, _, table, protocol, _, kind, flags = RTMSG.unpack_from(body)
    found = dict(attributes(body, RTMSG.size))
    size = 4 if family == AF_INET else 16
    address = found.get(RTA_DST, bytes(size))
    hops: tuple[NextHop, ...] = ()
    if RTA_MULTIPATH in found:
        hops = tuple(
            NextHop(
                _gateway(each.attributes),
                names.get(each.interface, str(each.interface)),
                each.weight,
                _dead(each.flags),
            )
            for each in next_hops(found[RTA_MULTIPATH])
        )
    elif RTA_OIF in found:
        (index,) = _WORD.unpack(found[RTA_OIF])
        hops = (NextHop(_gateway(found), names.get(index, str(index)), 1, _dead(flags)),)
    return Route(
        prefix=mask(address, length) + bytes([length]),
        table=_WORD.unpack(found[RTA_TABLE])[0] if RTA_TABLE in found else table or TABLE_MAIN,
        metric=_WORD.unpack(found[RTA_PRIORITY])[0] if RTA_PRIORITY in found else 0,
        protocol=protocol,
        kind=_LOCAL_KINDS.get(kind) or _ERROR_KINDS.get(kind) or ("unicast" if kind == RTN_UNICAST else str(kind)),
        hops=hops,
        source=unpack_address(found[RTA_PREFSRC]) if RTA_PREFSRC in found else "",
    )


def _gateway(found: dict[int, bytes]) -> str:
    if RTA_GATEWAY in found:
        return unpack_address(found[RTA_GATEWAY])
    # The gateway of another family: its number, then the address.
    return unpack_address(found[RTA_VIA][2:]) if RTA_VIA in found else ""


def _dead(flags: int) -> bool:
    # Without a carrier a single next hop is used all the same, unless the system is set otherwise.
    return bool(flags & RTNH_F_DEAD)


def walk(packet: Packet, policies: Sequence[Rule], candidates: Sequence[Route]) -> Iterator[Step]:
    """The rules that a packet comes by, in the kernel's way, up to the one that decides."""
    goto = 0
    for policy in policies:
        if policy.priority < goto or not policy.matches(packet):
            continue
        if policy.action is RuleAction.GOTO:
            goto = policy.goto
            continue
        if policy.action is RuleAction.NOP:
            continue
        if policy.action is not RuleAction.LOOKUP:
            yield Step(policy, None, decides=True)
            return
        route = best(candidates, policy)
        decides = route is not None and route.kind != "throw"
        yield Step(policy, route, decides)
        if decides:
            return


def best(candidates: Iterable[Route], policy: Rule) -> Route | None:
    """What a rule finds in its table: the first that can be used."""
    for route in candidates:
        if route.table != policy.table or (route.kind == "unicast" and all(hop.dead for hop in route.hops)):
            continue
        suppressed = policy.suppress_prefix_length
        return None if suppressed is not None and route.prefix[-1] <= suppressed else route
    return None
