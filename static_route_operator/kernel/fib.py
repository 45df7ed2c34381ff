"""The forwarding tables (FIB) of this network namespace, over one request socket: read, look up, apply."""

import asyncio
import errno
import struct
from collections.abc import Collection, Iterable, Mapping, Sequence

from static_route_operator.errors import KernelError
from static_route_operator.kernel.interfaces import (
    ALL_ADDRESSES,
    ALL_LINKS,
    RTM_GETADDR,
    RTM_GETLINK,
    parse_addresses,
    parse_links,
)
from static_route_operator.kernel.messages import (
    AF_INET,
    AF_INET6,
    PROTOCOL,
    PROTOCOL_AT,
    RTA_DST,
    RTA_GATEWAY,
    RTA_MULTIPATH,
    RTA_OIF,
    RTA_VIA,
    RTM_F_FIB_MATCH,
    RTM_GETROUTE,
    RTM_NEWROUTE,
    RTMSG,
    RTN_UNICAST,
    RouteDecoder,
    encode,
)
from static_route_operator.kernel.netlink import (
    ATTRIBUTE,
    HEADER,
    NLM_F_DUMP,
    NLM_F_DUMP_INTR,
    NLM_F_REQUEST,
    NLMSG_DONE,
    NLMSG_ERROR,
    Message,
    NetlinkSocket,
    attributes,
    lost_messages,
    messages,
    parse_refusal,
)
from static_route_operator.planning.facts import Facts, Lookup
from static_route_operator.planning.routes import Action, Failure, Operation, Path, prefix_of
from static_route_operator.prefixes import unpack_address

# The kernel acts on a buffer inside send(): this much takes it about 5 ms, then other tasks get a turn.
SEND_SIZE = 64 << 10

# How often a dump is taken again when the tables changed under it, before it is given up for now.
DUMP_TRIES = 5

RTN_LOCAL_KINDS = frozenset({2, 3, 4, 5})  # local, broadcast, anycast, multicast

_WORD = struct.Struct("=I")

# Names of rtm_protocol that a person knows from `ip route`; other numbers are shown as they are.
PROTOCOL_NAMES = {
    1: "redirect",
    2: "kernel",
    3: "boot",
    4: "static",
    9: "ra",
    12: "bird",
    16: "dhcp",
    17: "kube-router",
    80: "calico",
}


class Fib:
    """This namespace's forwarding tables. One task at a time may use it."""

    def __init__(self) -> None:
        self._socket = NetlinkSocket()
        self._sequence = 0

    @property
    def port(self) -> int:
        """The port id that notifications of this socket's own changes carry."""
        return self._socket.port

    def close(self) -> None:
        """Close the socket; the routes stay."""
        self._socket.close()

    def reopen(self) -> None:
        """Start over with a new socket: after any error, so that no late answer is taken for another request's."""
        self._socket.close()
        self._socket = NetlinkSocket()

    async def read(self) -> dict[bytes, Path]:
        """All routes of this program (protocol 245) in every table, IPv4 and IPv6, filtered by the kernel.

        Raises:
            KernelError: the kernel refused, or the tables change too fast to get one complete dump.
        """
        routes: dict[bytes, Path] = {}
        for family in (AF_INET, AF_INET6):
            decoder = RouteDecoder()
            request = RTMSG.pack(family, 0, 0, 0, 0, PROTOCOL, 0, 0, 0)
            for message in await self._dump(RTM_GETROUTE, request):
                route = decoder.decode(message.body)
                if route is not None and route.protocol == PROTOCOL:
                    routes[route.key] = route.path
        return routes

    async def look(self, gateways: Iterable[bytes], protected: Mapping[bytes, str]) -> Facts:
        """What this node knows of itself now.

        Args:
            gateways: packed addresses to look up.
            protected: packed addresses that must stay reachable, with what each is; they are looked up too.
        """
        names = parse_links(await self._dump(RTM_GETLINK, ALL_LINKS))
        addresses, subnets = parse_addresses(await self._dump(RTM_GETADDR, ALL_ADDRESSES), names)
        lookups = self._look_up({*gateways, *protected})
        return Facts(addresses, subnets, lookups, protected, names)

    async def apply(self, operations: Sequence[Operation]) -> dict[bytes, Failure]:
        """Carry out operations in order; what the kernel refused, by key. All others are done.

        The messages ask for no acknowledgement: the kernel has acted on a buffer when send() returns, and always
        answers a message that failed.

        Raises:
            KernelError: answers were lost, so what failed is not known; read the tables again.
        """
        failures: dict[bytes, Failure] = {}
        for action, path, keys in operations:
            first = self._next_sequences(len(keys))
            buffer, size = encode(action, path, keys, first)
            step = SEND_SIZE // size * size
            view = memoryview(buffer)
            for start in range(0, len(buffer), step):
                self._socket.send(view[start : start + step])
                for message in self._answers():
                    refusal = parse_refusal(message)
                    # Gone already is what a deletion is for.
                    if refusal.errno and not (action is Action.DELETE and refusal.errno == errno.ESRCH):
                        failures[keys[message.sequence - first]] = Failure(refusal.errno, refusal.text)
                await asyncio.sleep(0)
        return failures

    async def twins(self, keys: Collection[bytes]) -> set[bytes]:
        """Which of these IPv4 routes share their key with a route of another program.

        The kernel keeps several IPv4 routes with one key, in an order of their own (`ip route append`, `prepend`); of
        IPv6 ones it makes one. This reads all tables, so it costs more than `read` where others have many routes.
        """
        decoder = RouteDecoder()
        found = set()
        for message in await self._dump(RTM_GETROUTE, RTMSG.pack(AF_INET, 0, 0, 0, 0, 0, 0, 0, 0)):
            if message.body[PROTOCOL_AT] != PROTOCOL and (route := decoder.decode(message.body)) and route.key in keys:
                found.add(route.key)
        return found

    def foreign_first(self, keys: Collection[bytes]) -> set[bytes]:
        """Before which of these routes a route of another program stands in the kernel, with the same key."""
        by_address = {prefix_of(key)[:-1]: key for key in keys}
        answers = self._route_to(list(by_address))
        return {
            by_address[address]
            for address, answer in answers.items()
            if answer.body[1] == prefix_of(by_address[address])[-1] and answer.body[PROTOCOL_AT] != PROTOCOL
        }

    def holder(self, key: bytes) -> str:
        """Who holds the place of a route in the kernel, in the words of `ip route`; empty when it can't be told."""
        prefix = prefix_of(key)
        answer = self._route_to([prefix[:-1]]).get(prefix[:-1])
        if answer is None:
            return ""
        rtmsg = RTMSG.unpack_from(answer.body)
        if rtmsg[1] != prefix[-1]:
            return ""
        found = dict(attributes(answer.body, RTMSG.size))
        words = [f"proto {PROTOCOL_NAMES.get(rtmsg[5], rtmsg[5])}"]
        if RTA_GATEWAY in found:
            words.insert(0, f"via {unpack_address(found[RTA_GATEWAY])}")
        return " ".join(words)

    def _next_sequences(self, count: int) -> int:
        """The first of ``count`` sequence numbers that no late answer can carry."""
        if self._sequence + count >= 1 << 31:
            self._sequence = 0
        first = self._sequence + 1
        self._sequence += count
        return first

    def _answers(self) -> Iterable[Message]:
        try:
            while (datagram := self._socket.receive()) is not None:
                yield from messages(datagram)
        except OSError as error:
            if lost_messages(error):
                raise KernelError("the kernel dropped answers to route changes: the receive buffer was full") from error
            raise

    async def _dump(self, kind: int, request: bytes) -> list[Message]:
        for _ in range(DUMP_TRIES):
            answers = await self._dump_once(kind, request)
            if not any(message.flags & NLM_F_DUMP_INTR for message in answers):
                return answers[:-1]
            # The tables changed under the dump, so it may lack some.
            await asyncio.sleep(0.01)
        raise KernelError(f"the routing tables changed during each of {DUMP_TRIES} dumps")

    async def _dump_once(self, kind: int, request: bytes) -> list[Message]:
        """The answers to one request, up to and with the one that says it is done."""
        sequence = self._next_sequences(1)
        header = HEADER.pack(HEADER.size + len(request), kind, NLM_F_REQUEST | NLM_F_DUMP, sequence, 0)
        self._socket.send(header + request)
        answers: list[Message] = []
        while not answers or answers[-1].kind != NLMSG_DONE:
            datagram = self._socket.receive()
            if datagram is None:
                raise KernelError("the kernel's dump ended early")
            answers += [message for message in messages(datagram) if message.sequence == sequence]
            if answers and answers[-1].kind == NLMSG_ERROR:
                raise KernelError(f"the kernel refused a dump: {parse_refusal(answers[-1]).text}")
            await asyncio.sleep(0)
        return answers

    def _route_to(self, addresses: Sequence[bytes]) -> dict[bytes, Message]:
        """The route the kernel would use for each address; an address without one is absent."""
        first = self._next_sequences(len(addresses))
        requests = []
        for sequence, address in enumerate(addresses, first):
            family = AF_INET if len(address) == 4 else AF_INET6
            body = RTMSG.pack(family, len(address) * 8, 0, 0, 0, 0, 0, 0, RTM_F_FIB_MATCH)
            body += ATTRIBUTE.pack(ATTRIBUTE.size + len(address), RTA_DST) + address
            requests.append(HEADER.pack(HEADER.size + len(body), RTM_GETROUTE, NLM_F_REQUEST, sequence, 0) + body)
        if requests:
            self._socket.send(b"".join(requests))
        return {
            addresses[message.sequence - first]: message
            for message in self._answers()
            if message.kind == RTM_NEWROUTE and 0 <= message.sequence - first < len(addresses)
        }

    def _look_up(self, addresses: Iterable[bytes]) -> dict[bytes, Lookup]:
        return {address: _lookup(answer) for address, answer in self._route_to(list(addresses)).items()}


def _lookup(answer: Message) -> Lookup:
    _, length, _, _, _, protocol, _, kind, _ = RTMSG.unpack_from(answer.body)
    found = dict(attributes(answer.body, RTMSG.size))
    interface = _WORD.unpack(found[RTA_OIF])[0] if RTA_OIF in found else 0
    direct = not found.keys() & {RTA_GATEWAY, RTA_VIA, RTA_MULTIPATH}
    return Lookup(
        prefix_length=length,
        interface=interface,
        on_link=kind == RTN_UNICAST and direct and interface != 0,
        local=kind in RTN_LOCAL_KINDS,
        ours=protocol == PROTOCOL,
    )
