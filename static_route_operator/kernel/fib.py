"""The forwarding tables (FIB) of this network namespace, over one request socket: read, look up, apply."""

import asyncio
import dataclasses
import errno
import functools
import itertools
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Iterator, Sequence
from typing import TypeVar

from pyroute2.netlink.rtnl import RTM_GETRULE

from static_route_operator.errors import KernelError
from static_route_operator.kernel.dumps import TRIES, InterruptedDumpError, Piece, dump
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
    PROTOCOL_AT,
    RTA_DST,
    RTA_GATEWAY,
    RTA_MULTIPATH,
    RTA_OIF,
    RTA_TABLE,
    RTA_VIA,
    RTM_F_FIB_MATCH,
    RTM_GETROUTE,
    RTM_NEWROUTE,
    RTMSG,
    RTN_UNICAST,
    RouteDecoder,
    describe,
    encode,
)
from static_route_operator.kernel.netlink import (
    HEADER,
    NLM_F_REQUEST,
    Message,
    NetlinkSocket,
    attributes,
    blocks,
    lost_messages,
    messages,
    pack_attribute,
    parse_refusal,
)
from static_route_operator.kernel.rules import ALL_RULES, parse_rules
from static_route_operator.routing.facts import Facts
from static_route_operator.routing.foreign import ForeignRib, Lookup
from static_route_operator.routing.keys import (
    IPV4_KEY_SIZE,
    IPV6_KEY_SIZE,
    TABLE_LOCAL,
    TABLE_MAIN,
    prefix_of,
    unpack_table_metric,
)
from static_route_operator.routing.keyset import KeySet, by_family, unpack
from static_route_operator.routing.nexthops import PROTOCOL, NextHops
from static_route_operator.routing.routes import Action, Failure, Operation, Routes

# The kernel acts on routes inside send(), at about 4 µs each. So many are sent at once; unless they are few, not by the
# event loop, which has others to serve in the meantime.
BATCH = 4096
FEW = 128

# What an answer may take of the receive buffer, the kernel's own accounting included: each message may be refused.
_ANSWER_SIZE = 2048

# Addresses to which nothing but a default route leads: a reserved one (RFC 1112), and one that nobody was given.
NOWHERE = (b"\xf0\0\0\1", b"\x20\0" + bytes(13) + b"\1")

RTN_LOCAL_KINDS = frozenset({2, 3, 4, 5})  # local, broadcast, anycast, multicast

_WORD = struct.Struct("=I")


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

    async def read(self, expected: Routes | None = None) -> Routes:
        """All routes of this program (protocol 245) in every table, IPv4 and IPv6, filtered by the kernel.

        Args:
            expected: what is probably there: as long as it is, nothing is built anew.

        Raises:
            KernelError: the kernel refused, or the tables change too fast to get one complete dump.
        """
        return await _whole(lambda: self._read(expected or Routes()))

    async def read_foreign(self) -> ForeignRib:
        """The routes of others in the main and the local table, IPv4 and IPv6.

        Raises:
            KernelError: see `read`.
        """
        return await _whole(self._read_foreign)

    async def look(self, asked: Iterable[bytes], *, rules: bool = False) -> Facts:
        """What this node knows of itself now.

        Args:
            asked: packed addresses to look up: gateways and sources.
            rules: whether the policy rules matter; some nodes have one for each pod.
        """
        names, down = parse_links(await _whole(lambda: self._messages(RTM_GETLINK, ALL_LINKS)))
        addresses, subnets = parse_addresses(await _whole(lambda: self._messages(RTM_GETADDR, ALL_ADDRESSES)), names)
        found = parse_rules(await _whole(lambda: self._messages(RTM_GETRULE, ALL_RULES))) if rules else ()
        leading = tuple(rule for rule in found if rule.may_lead_own_packets)
        return Facts(addresses, subnets, self._look_up(asked), interfaces=names, down=down, rules=leading)

    async def apply(self, operations: Sequence[Operation]) -> dict[bytes, Failure]:
        """Carry out operations in order; what the kernel refused, by key. All others are done.

        The messages ask for no acknowledgement: the kernel has acted on a buffer when send() returns, and always
        answers a message that failed.

        Raises:
            KernelError: answers were lost, so what failed is not known; read the tables again.
        """
        failures: dict[bytes, Failure] = {}
        batches = self._batches(operations)
        many = sum(len(keys) for _, _, keys in operations) > FEW
        under_way: _Batch | None = None
        try:
            # While the kernel acts on one batch, the next one is encoded: by a thread, or sending would wait for it.
            while batch := await asyncio.to_thread(next, batches, None) if many else next(batches, None):
                if under_way:
                    failures |= await self._outcome(under_way)
                batch.sending = self._send(batch.buffer, len(batch.keys))
                under_way = batch
            return failures | await self._outcome(under_way) if under_way else failures
        finally:
            if under_way and under_way.sending:
                # The socket must not be closed under it.
                await asyncio.wait({under_way.sending})

    def _batches(self, operations: Sequence[Operation]) -> Iterator["_Batch"]:
        most = min(BATCH, self._socket.receive_buffer // _ANSWER_SIZE)
        for action, path, keys in operations:
            for part in keys.interleaved(most):
                first = self._next_sequences(len(part))
                yield _Batch(action, part, first, encode(action, path, part, first))

    async def _outcome(self, batch: "_Batch") -> dict[bytes, Failure]:
        """What the kernel refused of a batch, when it has acted on all of it."""
        if batch.sending:
            await asyncio.shield(batch.sending)
        failures = {}
        for message in self._answers():
            refusal = parse_refusal(message)
            # Gone already is what a deletion is for.
            if refusal.errno and not (batch.action is Action.DELETE and refusal.errno == errno.ESRCH):
                failures[batch.keys[message.sequence - batch.first]] = Failure(refusal.errno, refusal.text)
        await asyncio.sleep(0)
        return failures

    async def dump(self, kind: int, request: bytes) -> list[Message]:
        """All that the kernel has of one kind, such as policy rules.

        Raises:
            KernelError: see `read`.
        """
        return await _whole(lambda: self._messages(kind, request))

    def ask(self, kind: int, flags: int, bodies: Sequence[bytes]) -> dict[int, Failure]:
        """Have the kernel act on a few messages that are not routes, in order; what it refused, by number.

        Raises:
            KernelError: answers were lost.
        """
        first = self._next_sequences(len(bodies))
        self._socket.send(
            b"".join(
                HEADER.pack(HEADER.size + len(body), kind, flags, first + number, 0) + body
                for number, body in enumerate(bodies)
            )
        )
        refusals = {message.sequence - first: parse_refusal(message) for message in self._answers()}
        return {number: Failure(each.errno, each.text) for number, each in refusals.items() if each.errno}

    async def shadowed(self, routes: Routes) -> KeySet:
        """Which of these IPv4 routes share their key with a route of another program.

        The kernel keeps several IPv4 routes with one key, in an order of their own (`ip route append`, `prepend`); of
        IPv6 ones it makes one. This reads all tables, so it costs more than `read` where others have many routes.
        """
        found = await self.occupied([keys for _, keys in routes if keys.size == IPV4_KEY_SIZE])
        return found[0] if found else KeySet(IPV4_KEY_SIZE)

    async def occupied(self, sets: Sequence[KeySet]) -> tuple[KeySet, ...]:
        """Which of these places routes of other programs hold, by family. This reads all tables of their families."""
        return by_family(await _whole(lambda: self._occupied(sets)))

    async def foreign_first(self, keys: Collection[bytes]) -> set[bytes]:
        """Before which of these routes a route of another program stands in the kernel, with the same key."""
        standing = await self._standing(keys)
        return {key for key, message in standing.items() if message.body[PROTOCOL_AT] != PROTOCOL}

    async def holders(self, keys: Collection[bytes]) -> dict[bytes, str]:
        """Who holds the place of each of these routes in the kernel, in the words of `ip route`."""
        return {key: describe(message.body) for key, message in (await self._standing(keys)).items()}

    async def _standing(self, keys: Collection[bytes]) -> dict[bytes, Message]:
        """The route that stands first at each of these places in the kernel, whoever made it."""
        decoder = RouteDecoder()
        answers = self._route_to(list({prefix_of(key)[:-1] for key in keys}))
        found = {route.key: answer for answer in answers.values() if (route := decoder.decode(answer.body))}
        # A look-up finds only what is used now: not what has a higher metric, drops packets, or is in another table.
        missing = set(keys) - found.keys()
        for family, table in {
            (AF_INET if len(key) == IPV4_KEY_SIZE else AF_INET6, unpack_table_metric(key)[0]) for key in missing
        }:
            found |= await _whole(functools.partial(self._first_in, family, table, missing))
        return {key: found[key] for key in keys if key in found}

    async def _first_in(self, family: int, table: int, keys: Collection[bytes]) -> dict[bytes, Message]:
        """The first route of each key in a table; the kernel tells them in the order in which it looks at them."""
        decoder = RouteDecoder()
        found: dict[bytes, Message] = {}
        request = RTMSG.pack(family, 0, 0, 0, 0, 0, 0, 0, 0)
        request += pack_attribute(RTA_TABLE, _WORD.pack(table))
        async for message in self._dump(RTM_GETROUTE, request, messages):
            if (route := decoder.decode(message.body)) and route.key in keys:
                found.setdefault(route.key, message)
        return found

    def _send(self, buffer: bytearray, number: int) -> asyncio.Future[None] | None:
        """Hand a buffer to the kernel; the end of that, unless it has acted on it already."""
        if number <= FEW:
            self._socket.send(buffer)
            return None
        return asyncio.get_running_loop().run_in_executor(None, self._socket.send, buffer)

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

    async def _read(self, expected: Routes) -> Routes:
        found: dict[NextHops, _Gathered] = {}
        for family in (AF_INET, AF_INET6):
            decoder = RouteDecoder()
            async for block in self._dump(RTM_GETROUTE, RTMSG.pack(family, 0, 0, 0, 0, PROTOCOL, 0, 0, 0), blocks):
                for protocol, path, keys in decoder.decode_block(block.packed, block.size):
                    if protocol == PROTOCOL:
                        if path not in found:
                            found[path] = _Gathered(expected.through(path))
                        found[path].take(keys)
        return Routes({path: gathered.keys() for path, gathered in found.items()})

    async def _read_foreign(self) -> ForeignRib:
        main: dict[NextHops, list[bytes]] = {}
        local: dict[int, list[bytes]] = {}
        for family in (AF_INET, AF_INET6):
            decoder = RouteDecoder()
            async for block in self._dump(RTM_GETROUTE, RTMSG.pack(family, 0, 0, 0, 0, 0, 0, 0, 0), blocks):
                for protocol, path, packed in decoder.decode_block(block.packed, block.size):
                    if protocol == PROTOCOL:
                        continue
                    table, _ = unpack_table_metric(packed[: path.key_size])
                    if table == TABLE_MAIN:
                        main.setdefault(path, []).append(packed)
                    elif table == TABLE_LOCAL:
                        local.setdefault(path.key_size, []).append(packed)
        return ForeignRib(
            {path: KeySet.of(path.key_size, unpack(b"".join(pieces), path.key_size)) for path, pieces in main.items()},
            [KeySet.of(size, unpack(b"".join(pieces), size)) for size, pieces in local.items()],
        )

    async def _occupied(self, sets: Sequence[KeySet]) -> set[bytes]:
        found: set[bytes] = set()
        for family, size in ((AF_INET, IPV4_KEY_SIZE), (AF_INET6, IPV6_KEY_SIZE)):
            asked = [keys for keys in sets if keys and keys.size == size]
            if not asked:
                continue
            decoder = RouteDecoder()
            async for block in self._dump(RTM_GETROUTE, RTMSG.pack(family, 0, 0, 0, 0, 0, 0, 0, 0), blocks):
                for protocol, _, packed in decoder.decode_block(block.packed, block.size):
                    if protocol != PROTOCOL:
                        foreign = KeySet.of(size, unpack(packed, size))
                        for keys in asked:
                            found.update(keys.between(prefix_of(foreign[0]), prefix_of(foreign[-1])) & foreign)
        return found

    async def _messages(self, kind: int, request: bytes) -> list[Message]:
        return [message async for message in self._dump(kind, request, messages)]

    async def _dump(
        self, kind: int, request: bytes, pieces: Callable[[bytes], Iterable[Piece]]
    ) -> AsyncIterator[Piece]:
        """See `dump`; others have a turn after each datagram."""
        for found in dump(self._socket, self._next_sequences(1), kind, request, pieces):
            for piece in found:
                yield piece
            await asyncio.sleep(0)

    def _route_to(self, addresses: Sequence[bytes]) -> dict[bytes, Message]:
        """The route the kernel would use for each address; an address without one is absent."""
        first = self._next_sequences(len(addresses))
        requests = []
        for sequence, address in enumerate(addresses, first):
            family = AF_INET if len(address) == 4 else AF_INET6
            body = RTMSG.pack(family, len(address) * 8, 0, 0, 0, 0, 0, 0, RTM_F_FIB_MATCH)
            body += pack_attribute(RTA_DST, address)
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


def default_gateways() -> list[bytes]:
    """The packed addresses of the next hops of this node's default routes, of each family the best one's.

    Raises:
        OSError: the kernel can't be asked.
    """
    fib = Fib()
    try:
        answers = fib._route_to(NOWHERE)  # noqa: SLF001  of this module
    finally:
        fib.close()
    bodies = [answer.body for answer in answers.values()]
    found = [dict(attributes(body, RTMSG.size)) for body in bodies if RTMSG.unpack_from(body)[1] == 0]
    return [each[RTA_GATEWAY] for each in found if RTA_GATEWAY in each]


_T = TypeVar("_T")


@dataclasses.dataclass
class _Batch:
    """Messages that are sent at once.

    Attributes:
        action: what they ask for.
        keys: of which routes.
        first: the sequence number of the first message; the others follow.
        buffer: the messages.
        sending: ends when the kernel has acted on them; None if it has done so already.
    """

    action: Action
    keys: KeySet
    first: int
    buffer: bytearray
    sending: asyncio.Future[None] | None = None


async def _whole(dump: Callable[[], Awaitable[_T]]) -> _T:
    """What a dump gives, taken again as often as it is interrupted."""
    for _ in range(TRIES):
        try:
            return await dump()
        except InterruptedDumpError:
            await asyncio.sleep(0.01)
    raise KernelError(f"the kernel's tables changed during each of {TRIES} dumps")


class _Gathered:
    """The keys of one path out of a dump, beside those that are expected.

    As long as they come as expected, nothing is held of them.

    Args:
        expected: what is probably there.
    """

    def __init__(self, expected: KeySet) -> None:
        self._expected = expected
        self._position = 0
        self._pieces: list[bytes] = []

    def take(self, packed: bytes) -> None:
        """Take in the next ones, in the kernel's order."""
        if not self._pieces:
            if self._expected.packed.startswith(packed, self._position):
                self._position += len(packed)
                return
            self._pieces.append(self._expected.packed[: self._position])
        # The kernel sorts by address like us, but has the longest prefix of an address first.
        self._pieces.append(b"".join(sorted(unpack(packed, self._expected.size))))

    def keys(self) -> KeySet:
        """All that were taken in."""
        expected, size = self._expected, self._expected.size
        if not self._pieces:
            return expected if self._position == len(expected.packed) else expected[: self._position // size]
        pieces = list(filter(None, self._pieces))
        packed = b"".join(pieces)
        if any(before[-size:] >= after[:size] for before, after in itertools.pairwise(pieces)):
            return KeySet.of(size, unpack(packed, size))
        return KeySet(size, packed)


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
