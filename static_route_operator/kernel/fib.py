"""The forwarding tables (FIB) of this network namespace, read and written over one request socket."""

import asyncio
import dataclasses
import errno
import functools
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, TypeVar

from static_route_operator.errors import KernelError
from static_route_operator.kernel.dumps import (
    TRIES,
    InterruptedDumpError,
    Piece,
    RefusedDumpError,
    dump,
    report_interruptions,
    report_refusal,
)
from static_route_operator.kernel.messages import (
    AF_INET,
    AF_INET6,
    ROUTE,
    RTA_DST,
    RTA_TABLE,
    RTM_F_FIB_MATCH,
    RTM_F_LOOKUP_TABLE,
    RTM_GETROUTE,
    RTM_NEWROUTE,
    RTMSG,
    WORD,
    DecodedRoutes,
    RouteDecoder,
    destination_of,
    encode,
    parse_route,
)
from static_route_operator.kernel.netlink import (
    HEADER,
    NLM_F_REQUEST,
    NLMSG_ERROR,
    Message,
    NetlinkSocket,
    blocks,
    lost_messages,
    messages,
    pack_attribute,
    parse_refusal,
)
from static_route_operator.kernel.unreadable import read, readable
from static_route_operator.routing.foreign import ForeignRib, Lookup
from static_route_operator.routing.kernelroute import (
    BLACKHOLE,
    LOCAL_KINDS,
    PROHIBIT,
    SCOPE_LINK,
    UNICAST,
    UNREACHABLE,
    KernelRoute,
)
from static_route_operator.routing.keys import (
    IPV4_KEY_SIZE,
    IPV6_KEY_SIZE,
    TABLE_LOCAL,
    TABLE_MAIN,
    TABLE_METRIC,
    prefix_of,
    unpack_table_metric,
)
from static_route_operator.routing.keyset import KeySet, by_family, unpack
from static_route_operator.routing.nexthops import PROTOCOL, NextHops
from static_route_operator.routing.prefixes import IPV6_PREFIX_SIZE, last_address
from static_route_operator.routing.routes import Action, Failure, Operation, Routes
from static_route_operator.routing.shadowing import Endangered, endangered, first_before, precedes

_T = TypeVar("_T")

# Messages of one send(). The kernel acts on routes inside send(), for about 4 µs each.
BATCH = 4096
# Messages that the event loop sends itself; a thread sends more, or other tasks would wait for the kernel.
FEW = 128

# Bytes that an answer may take of the receive buffer, with the kernel's own overhead. The kernel may refuse every
# message of a batch, so the answers of a whole batch must fit.
_ANSWER_SIZE = 2048

# Errors that say nothing about the route to an address.
_NO_ANSWER = frozenset({errno.ENOMEM, errno.ENOBUFS, errno.EBUSY, errno.EINTR, errno.EPERM, errno.EBADMSG})

# Addresses to which only a default route leads: a reserved one (RFC 1112), and one that is not assigned.
NOWHERE = (b"\xf0\0\0\1", b"\x20\0" + bytes(13) + b"\1")


class Fib:
    """The forwarding tables of this namespace, for one task at a time.

    Attributes:
        incomplete: whether entries may be missing from what was read last: changes kept interrupting the dump, or the
            kernel refused it.
    """

    def __init__(self) -> None:
        self._open: NetlinkSocket | None = NetlinkSocket()
        self._sequence = 0
        # RTM_GET type of the dump that was interrupted last; 0 for none.
        self._interrupted = 0
        self.incomplete = False

    @property
    def port(self) -> int:
        """The port id that notifications of this socket's own changes carry; -1 without a socket."""
        return self._open.port if self._open else -1

    @property
    def closed(self) -> bool:
        """True without a socket."""
        return self._open is None

    @property
    def _socket(self) -> NetlinkSocket:
        if self._open is None:
            raise KernelError("the socket to the kernel is closed")
        return self._open

    def close(self) -> None:
        """Close the socket; the routes stay. After an error, a late answer could pass for that of another request."""
        if self._open:
            self._open.close()
            self._open = None

    def reopen(self) -> None:
        """Open a new socket.

        Raises:
            OSError: there is none to be had, such as for a lack of descriptors.
        """
        self.close()
        self._open = NetlinkSocket()

    def require_complete(self) -> None:
        """Check that nothing can be missing from what was read last.

        Raises:
            KernelError: changes interrupted the dump again and again, or the kernel refused it.
        """
        if self.incomplete:
            raise KernelError("the kernel's tables keep changing while they are read, or can't be read: try again")

    async def read(self, expected: Routes | None = None) -> Routes:
        """Read all routes of this program (protocol 245) in every table, IPv4 and IPv6, filtered by the kernel.

        Args:
            expected: the routes that are probably installed. Those that are share the memory of ``expected``.
        """
        return await self._whole(lambda: self._read(expected or Routes()))

    async def read_foreign(self) -> ForeignRib:
        """Read the routes of other programs in the main and the local table, IPv4 and IPv6."""
        return await self._whole(self._read_foreign)

    def look_up(self, asked: Iterable[bytes], known: Mapping[bytes, Lookup] | None = None) -> dict[bytes, Lookup]:
        """Look up the routes to packed addresses; an address without a route is absent.

        Args:
            asked: gateways, sources and the outer ends of tunnels.
            known: the last look-ups. They are taken where the kernel has no answer, such as for a lack of memory.
        """
        addresses = list(asked)
        answers = self._route_to(addresses)
        routes = answers.routes.items()
        found = {address: route for address, body in routes if (route := read(ROUTE, parse_route, body))}
        unknown = answers.missing | (answers.routes.keys() - found.keys())
        lasting = {address: lookup for address, lookup in (known or {}).items() if address in unknown}
        refusing = {address: kind for address, error in answers.errors.items() if (kind := _KINDS.get(error))}
        lookups = {address: _lookup(route) for address, route in found.items()}
        return lasting | lookups | {address: _refusing(kind) for address, kind in refusing.items()}

    async def apply(self, operations: Sequence[Operation]) -> dict[bytes, Failure]:
        """Carry out operations in order, and return the failures by key; all other changes are made.

        The messages ask for no acknowledgement: the kernel has acted on a buffer when send() returns, and always
        answers a message that failed.

        Raises:
            KernelError: answers were lost, so the failures are not known; read the tables again.
        """
        failures: dict[bytes, Failure] = {}
        batches = self._batches(operations)
        many = sum(len(keys) for _, _, keys in operations) > FEW
        under_way: _Batch | None = None
        try:
            # Encode the next batch while the kernel acts on the current one; on the event loop, sending would wait.
            while batch := await asyncio.to_thread(next, batches, None) if many else next(batches, None):
                if under_way:
                    failures |= await self._outcome(under_way)
                batch.sending = self._send(batch.buffer, len(batch.keys))
                under_way = batch
            return failures | await self._outcome(under_way) if under_way else failures
        finally:
            if under_way and under_way.sending:
                # Closing the socket during send() would let a new socket take its descriptor.
                await asyncio.wait({under_way.sending})

    def _batches(self, operations: Sequence[Operation]) -> Iterator["_Batch"]:
        most = min(BATCH, self._socket.receive_buffer // _ANSWER_SIZE)
        for action, next_hops, keys in operations:
            for part in keys.interleaved(most):
                first = self._next_sequences(len(part))
                yield _Batch(action, part, first, encode(action, next_hops, part, first))

    async def _outcome(self, batch: "_Batch") -> dict[bytes, Failure]:
        """Return the failures of a batch, when the kernel has acted on all of it."""
        if batch.sending:
            await asyncio.shield(batch.sending)
        failures = {}
        for message in self._answers():
            place = message.sequence - batch.first
            if message.kind != NLMSG_ERROR or not 0 <= place < len(batch.keys):
                continue
            refusal = parse_refusal(message)
            # A route that is already gone needs no deletion.
            if refusal.errno and not (batch.action is Action.DELETE and refusal.errno == errno.ESRCH):
                failures[batch.keys[place]] = Failure(refusal.errno, refusal.text)
        await asyncio.sleep(0)
        return failures

    async def dump(self, kind: int, request: bytes) -> list[Message]:
        """Return all messages of one kind, such as those of policy rules."""
        return await self._whole(lambda: self._messages(kind, request))

    def ask(self, kind: int, flags: int, bodies: Sequence[bytes]) -> dict[int, Failure]:
        """Have the kernel act on a few messages that are not routes, in order, and return the failures by number.

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
        refusals = {
            message.sequence - first: parse_refusal(message)
            for message in self._answers()
            if message.kind == NLMSG_ERROR and 0 <= message.sequence - first < len(bodies)
        }
        return {number: Failure(each.errno, each.text) for number, each in refusals.items() if each.errno}

    async def endangered(self, routes: Routes) -> Endangered:
        """Return the keys of our routes before which routes of other programs may come.

        This reads all tables, so it costs more than `read` where others have many routes.
        """
        return await self._whole(lambda: self._endangered(routes))

    async def occupied(self, sets: Sequence[KeySet]) -> tuple[KeySet, ...]:
        """Return the keys that routes of other programs hold, by family. This reads all tables of these families."""
        return by_family(await self._whole(lambda: self._occupied(sets)))

    async def used(self, keys: Collection[bytes]) -> dict[bytes, KernelRoute | None]:
        """Ask the kernel which routes of main it uses for packets of this node.

        Args:
            keys: of our routes.

        Returns:
            By key, the route of another program that the kernel uses in place of ours; None where it uses ours. A key
            is absent if look-ups can't tell: the kernel drops the packets, a more specific route contains the addresses
            that were asked for, or the key is not in main.
        """
        found: dict[bytes, KernelRoute | None] = {}
        prefixes = {key: prefix_of(key) for key in keys if unpack_table_metric(key)[0] == TABLE_MAIN}
        for take in (lambda prefix: prefix[:-1], last_address):
            left = {key: take(prefix) for key, prefix in prefixes.items() if key not in found}
            routes = await self._look_up_all(set(left.values()))
            for key, address in left.items():
                route = routes.get(address)
                if route is not None and route.prefix[-1] <= prefixes[key][-1]:
                    found[key] = route if precedes(route, key) else None
        return found

    async def preceding(self, routes: Routes) -> dict[bytes, KernelRoute]:
        """Return the routes of other programs that packets take in place of ours, by key of our routes."""
        found = await self.endangered(routes)
        used = await self.used(found.keys - found.special)
        used |= await self.first(found.keys - used.keys())
        return {key: route for key, route in used.items() if route is not None}

    async def first(self, keys: Collection[bytes]) -> dict[bytes, KernelRoute | None]:
        """Return the routes of other programs that come before ours by metric, preference and order (see `beside`)."""
        return {key: first_before(key, routes) for key, routes in (await self.beside(keys)).items()}

    async def beside(self, keys: Collection[bytes]) -> dict[bytes, list[KernelRoute]]:
        """Return all routes with the prefix and the table of each key, in the kernel's order, ours included.

        This reads the tables of these keys.
        """
        found: dict[bytes, list[KernelRoute]] = {}
        tables: dict[tuple[int, int], list[bytes]] = {}
        for key in keys:
            family = AF_INET if len(key) == IPV4_KEY_SIZE else AF_INET6
            tables.setdefault((family, unpack_table_metric(key)[0]), []).append(key)
        for (family, table), some in tables.items():
            routes = await self._whole(functools.partial(self._routes_to, family, table, set(map(prefix_of, some))))
            found |= {key: routes[prefix_of(key)] for key in some}
        return found

    async def holders(self, keys: Collection[bytes]) -> dict[bytes, KernelRoute]:
        """Return the route of another program that holds each key in the kernel; a free key is absent."""
        answers = await self._look_up_all({prefix_of(key)[:-1] for key in keys})
        found = {route.key: route for route in answers.values() if route.protocol != PROTOCOL}
        # A look-up finds only the route in use: none with a higher metric, none that drops packets, no other table.
        for key, routes in (await self.beside([key for key in keys if key not in found])).items():
            holding = [route for route in routes if route.key == key and not route.tos]
            # The kernel reports a merged IPv6 route with the protocol of its first next hop.
            if holder := next((each for each in holding if each.protocol != PROTOCOL), next(iter(holding), None)):
                found[key] = holder
        return {key: found[key] for key in keys if key in found}

    async def _routes_to(self, family: int, table: int, prefixes: Collection[bytes]) -> dict[bytes, list[KernelRoute]]:
        """Return the routes of a table to some prefixes; the kernel dumps them in the order of a look-up."""
        found: dict[bytes, list[KernelRoute]] = {prefix: [] for prefix in prefixes}
        request = RTMSG.pack(family, 0, 0, 0, 0, 0, 0, 0, 0)
        request += pack_attribute(RTA_TABLE, WORD.pack(table))
        async for message in self._dump(RTM_GETROUTE, request, messages):
            prefix = read(ROUTE, destination_of, message.body)
            if prefix in found and (route := read(ROUTE, parse_route, message.body)):
                found[prefix].append(route)
        return found

    async def _look_up_all(self, addresses: Collection[bytes]) -> dict[bytes, KernelRoute]:
        """Look up the route to each address; one without a route, or whose packets are dropped, is absent."""
        found: dict[bytes, KernelRoute] = {}
        ordered = list(addresses)
        for start in range(0, len(ordered), FEW):
            answers = self._route_to(ordered[start : start + FEW]).routes
            found |= {address: route for address, body in answers.items() if (route := read(ROUTE, parse_route, body))}
            await asyncio.sleep(0)
        return found

    def _send(self, buffer: bytearray, number: int) -> asyncio.Future[None] | None:
        """Send a buffer; return a future if a thread does it, None if it is done."""
        if number <= FEW:
            self._socket.send(buffer)
            return None
        return asyncio.get_running_loop().run_in_executor(None, self._socket.send, buffer)

    def _next_sequences(self, count: int) -> int:
        """Reserve ``count`` sequence numbers, which no late answer carries, and return the first."""
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
            async for protocol, next_hops, keys, _ in self._routes(family, PROTOCOL):
                if protocol == PROTOCOL:
                    if next_hops not in found:
                        found[next_hops] = _Gathered(expected.through(next_hops))
                    found[next_hops].take(keys)
        return Routes({next_hops: gathered.keys() for next_hops, gathered in found.items()})

    async def _read_foreign(self) -> ForeignRib:
        main: dict[NextHops, list[bytes]] = {}
        local: dict[int, list[bytes]] = {}
        for family in (AF_INET, AF_INET6):
            async for protocol, next_hops, packed, tos in self._routes(family):
                # A route for one type of service is not the way of other packets.
                if protocol == PROTOCOL or tos:
                    continue
                table, _ = unpack_table_metric(packed[: next_hops.key_size])
                if table == TABLE_MAIN:
                    main.setdefault(next_hops, []).append(packed)
                elif table == TABLE_LOCAL:
                    local.setdefault(next_hops.key_size, []).append(packed)
        return ForeignRib(
            {each: KeySet.of(each.key_size, unpack(b"".join(pieces), each.key_size)) for each, pieces in main.items()},
            [KeySet.of(size, unpack(b"".join(pieces), size)) for size, pieces in local.items()],
        )

    async def _endangered(self, routes: Routes) -> Endangered:
        found = Endangered(set(), set(), set())
        for family, size in ((AF_INET, IPV4_KEY_SIZE), (AF_INET6, IPV6_KEY_SIZE)):
            if not any(keys.size == size for _, keys in routes):
                continue
            async for protocol, _, packed, tos in self._routes(family):
                if protocol != PROTOCOL:
                    prefixes = frozenset(map(prefix_of, unpack(packed, size)))
                    table_metric = packed[size - TABLE_METRIC.size : size]
                    keys = set(endangered(routes, prefixes, *TABLE_METRIC.unpack(table_metric), tos=tos))
                    found.keys.update(keys)
                    if tos:
                        found.special.update(keys)
                    else:
                        found.held.update(key for key in keys if key.endswith(table_metric))
        return found

    async def _occupied(self, sets: Sequence[KeySet]) -> set[bytes]:
        found: set[bytes] = set()
        for family, size in ((AF_INET, IPV4_KEY_SIZE), (AF_INET6, IPV6_KEY_SIZE)):
            asked = [keys for keys in sets if keys and keys.size == size]
            if not asked:
                continue
            async for protocol, _, packed, _ in self._routes(family):
                if protocol != PROTOCOL:
                    foreign = KeySet.of(size, unpack(packed, size))
                    for keys in asked:
                        found.update(keys.between(prefix_of(foreign[0]), prefix_of(foreign[-1])) & foreign)
        return found

    async def _routes(self, family: int, protocol: int = 0) -> AsyncIterator[DecodedRoutes]:
        """Yield the routes of a family, of one program or of all."""
        decoder = RouteDecoder()
        async for block in self._dump(RTM_GETROUTE, RTMSG.pack(family, 0, 0, 0, 0, protocol, 0, 0, 0), blocks):
            # A kernel that was started without IPv6 answers with the routes of the other families.
            if block.packed[HEADER.size : HEADER.size + 1] == bytes([family]):
                for routes in decoder.decode_block(block.packed, block.size):
                    yield routes

    async def _messages(self, kind: int, request: bytes) -> list[Message]:
        return [message async for message in self._dump(kind, request, messages)]

    async def _dump(
        self, kind: int, request: bytes, pieces: Callable[[bytes], Iterable[Piece]]
    ) -> AsyncIterator[Piece]:
        """Yield the pieces of a dump (see `dumps.dump`); other tasks run after each datagram."""
        try:
            for found in dump(self._socket, self._next_sequences(1), kind, request, pieces):
                for piece in found:
                    yield piece
                await asyncio.sleep(0)
        except InterruptedDumpError:
            self._interrupted = kind
            self.incomplete = True
        except RefusedDumpError as error:
            self.incomplete = self.incomplete or not error.missing
            if error.passing:
                self._interrupted = kind
            else:
                report_refusal(kind, request, str(error))

    async def _whole(self, dump: Callable[[], Awaitable[_T]]) -> _T:
        """Return the result of a dump, repeated while changes interrupt it; `incomplete` is about the last one."""
        for _ in range(TRIES):
            self._interrupted, self.incomplete = 0, False
            found = await dump()
            if not self._interrupted:
                return found
            await asyncio.sleep(0.01)
        report_interruptions(self._interrupted)
        return found

    def _route_to(self, addresses: Sequence[bytes]) -> "_Answers":
        """Look up the route to each address."""
        answers = _Answers({}, {}, set(addresses))
        most = self._socket.receive_buffer // _ANSWER_SIZE
        for start in range(0, len(addresses), most):
            part = addresses[start : start + most]
            first = self._next_sequences(len(part))
            self._socket.send(b"".join(map(_lookup_request, part, itertools.count(first))))
            for message in self._answers():
                place = message.sequence - first
                if not 0 <= place < len(part):
                    continue
                if message.kind == RTM_NEWROUTE:
                    answers.routes[part[place]] = message.body
                elif message.kind == NLMSG_ERROR and (error := parse_refusal(message).errno) not in _NO_ANSWER:
                    answers.errors[part[place]] = error
                else:
                    continue
                answers.missing.discard(part[place])
        return answers


def default_gateways() -> list[bytes]:
    """Return the packed gateway of the best default route of each family, if that has a single one.

    Raises:
        OSError: the kernel does not answer.
    """
    fib = Fib()
    try:
        answers = fib._route_to(NOWHERE)  # noqa: SLF001  of this module
    finally:
        fib.close()
    routes = readable(ROUTE, parse_route, answers.routes.values())
    hops = [route.hops[0] for route in routes if route.prefix[-1] == 0 and len(route.hops) == 1]
    return [hop.gateway for hop in hops if hop.gateway]


@dataclasses.dataclass
class _Batch:
    """The messages of one send().

    Attributes:
        keys: the routes, in the order of the messages.
        first: sequence number of the first message; the following messages count up.
        buffer: the messages.
        sending: done when the kernel has acted on the messages; None if it already has.
    """

    action: Action
    keys: KeySet
    first: int
    buffer: bytearray
    sending: asyncio.Future[None] | None = None


class _Gathered:
    """The keys of one group of a dump, compared with the expected keys as they come.

    While the dump agrees with the expected keys, it takes no memory.

    Args:
        expected: the keys that the dump probably has.
    """

    def __init__(self, expected: KeySet) -> None:
        self._expected = expected
        self._position = 0
        self._pieces: list[bytes] = []

    def take(self, packed: bytes) -> None:
        """Add the next keys, in the kernel's order."""
        if not self._pieces:
            if self._expected.packed.startswith(packed, self._position):
                self._position += len(packed)
                return
            self._pieces.append(self._expected.packed[: self._position])
        # The kernel sorts by address as a KeySet does, but puts the longest prefix of an address first.
        self._pieces.append(b"".join(sorted(unpack(packed, self._expected.size))))

    def keys(self) -> KeySet:
        """Return all keys that were added."""
        expected, size = self._expected, self._expected.size
        if not self._pieces:
            return expected if self._position == len(expected.packed) else expected[: self._position // size]
        pieces = list(filter(None, self._pieces))
        packed = b"".join(pieces)
        if any(before[-size:] >= after[:size] for before, after in itertools.pairwise(pieces)):
            return KeySet.of(size, unpack(packed, size))
        return KeySet(size, packed)


class _Answers(NamedTuple):
    """The kernel's answers to look-ups.

    Attributes:
        routes: bodies of the routes, by address.
        errors: error numbers, by address without a route or with one that refuses packets.
        missing: the addresses about which the kernel said nothing.
    """

    routes: dict[bytes, bytes]
    errors: dict[bytes, int]
    missing: set[bytes]


# Kinds of the routes that refuse packets, by the error number of a look-up. Other errors mean that there is no route.
_KINDS = {errno.EHOSTUNREACH: UNREACHABLE, errno.EINVAL: BLACKHOLE, errno.EACCES: PROHIBIT}


def _refusing(kind: str) -> Lookup:
    return Lookup(0, 0, on_link=False, local=False, ours=False, kind=kind)


def _lookup_request(address: bytes, sequence: int) -> bytes:
    family = AF_INET if len(address) == 4 else AF_INET6
    # IPv4 reports main for every table unless asked for the real one; IPv6 refuses the flag.
    flags = RTM_F_FIB_MATCH | (RTM_F_LOOKUP_TABLE if family == AF_INET else 0)
    body = RTMSG.pack(family, len(address) * 8, 0, 0, 0, 0, 0, 0, flags) + pack_attribute(RTA_DST, address)
    return HEADER.pack(HEADER.size + len(body), RTM_GETROUTE, NLM_F_REQUEST, sequence, 0) + body


def _lookup(route: KernelRoute) -> Lookup:
    hop = route.hops[0] if len(route.hops) == 1 else None
    # IPv4 refuses a next hop that a route of a wider scope leads to, also if that route has no gateway.
    direct = len(route.prefix) == IPV6_PREFIX_SIZE or route.scope >= SCOPE_LINK
    return Lookup(
        prefix_length=route.prefix[-1],
        interface=hop.interface if hop else 0,
        on_link=hop is not None and route.kind == UNICAST and not hop.gateway and direct,
        local=route.kind in LOCAL_KINDS,
        ours=route.protocol == PROTOCOL,
        kind=route.kind,
        gateway=hop.gateway if hop else b"",
        protocol=route.protocol,
    )
