"""The links, addresses and policy rules of this network namespace, followed by the kernel's notifications.

A node may have thousands of addresses, of which hundreds change every second. So they are read once, and from then on a
notification changes one entry. While the kernel's tables change, it interrupts reads again and again: such a read adds
what it found to what is known, and is repeated in the background until one was whole. Only the first read of all is
waited for.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, Generic, NamedTuple, TypeVar

from pyroute2.netlink.rtnl import RTM_DELRULE, RTM_GETRULE, RTM_NEWRULE

from static_route_operator.errors import KernelError
from static_route_operator.kernel.fib import Fib
from static_route_operator.kernel.interfaces import (
    ALL_ADDRESSES,
    ALL_LINKS,
    RTM_DELADDR,
    RTM_DELLINK,
    RTM_GETADDR,
    RTM_GETLINK,
    RTM_NEWADDR,
    RTM_NEWLINK,
    decode_address,
    decode_link,
)
from static_route_operator.kernel.netlink import Message
from static_route_operator.kernel.rules import ALL_RULES, RULE, decode
from static_route_operator.kernel.unreadable import read, readable
from static_route_operator.routing.facts import Address, Link, Network
from static_route_operator.routing.prefixes import host_prefix
from static_route_operator.routing.rules import Rule
from static_route_operator.supervision import AROUND, Backoff

logger = logging.getLogger(__name__)

# Seconds until an interrupted or failed read is repeated: the first pause, which doubles up to the last.
FIRST_PAUSE = 0.1
LAST_PAUSE = 10.0

K = TypeVar("K")
V = TypeVar("V")


class Change(NamedTuple):
    """A change of a link, an address, a rule or a nexthop object.

    Attributes:
        interface: index of the link, or of the address's link; 0 for a rule or a nexthop object.
        link: the link as it is now, or was when it went; None for anything else.
        prefixes: packed prefixes that changed: an address, and the subnets that came or went with it.
        rule: the rule that came or went; None for anything else.
        lossy: the kernel drops IPv4 routes with it, without a notification for each route: a link is down or gone, or
            has lost its last address.
    """

    interface: int = 0
    link: Link | None = None
    prefixes: tuple[bytes, ...] = ()
    rule: Rule | None = None
    lossy: bool = False


class NetworkState:
    """The last known links, addresses and rules.

    Args:
        on_difference: called after a read in the background that found a difference to what was known.
    """

    def __init__(self, on_difference: Callable[[], None] = lambda: None) -> None:
        self._on_difference = on_difference
        self._links = _Entries[int, Link]()
        self._addresses = _Entries[tuple[Any, ...], Address]()
        self._rules = _Entries[Rule, Rule]()
        # Numbers of addresses by link and subnet, and by link and size: most addresses that come and go change neither.
        self._subnets: Counter[tuple[int, bytes]] = Counter()
        self._families: Counter[tuple[int, int]] = Counter()
        self._network: Network | None = None
        self._addresses_changed = False
        self._leading: tuple[Rule, ...] | None = None
        self._known = False
        self._busy = asyncio.Lock()
        self._reading: asyncio.Task[None] | None = None

    @property
    def network(self) -> Network:
        """The links and addresses; the same object while nothing changes."""
        if self._network is None:
            self._network = Network(dict(self._links.known), tuple(self._addresses.known.values()))
        elif self._addresses_changed:
            self._network = self._network.with_addresses(tuple(self._addresses.known.values()))
        self._addresses_changed = False
        return self._network

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The rules that may lead packets of this node itself, by priority; the same object while nothing changes."""
        if self._leading is None:
            leading = (rule for rule in self._rules.known if rule.may_lead_own_packets)
            self._leading = tuple(sorted(leading, key=lambda rule: rule.priority))
        return self._leading

    async def ready(self) -> None:
        """Read everything if that was never done. After too many interruptions what was found has to do.

        Raises:
            OSError: the kernel can't be asked.
        """
        if not self._known and not await self._read():
            self.read_again()

    def read_again(self) -> None:
        """Read everything in the background, since notifications may have been lost."""
        if not self._known and not self._busy.locked():
            # The first read is still to come.
            return
        if self._reading is None or self._reading.done():
            self._reading = asyncio.get_running_loop().create_task(self._read_until_whole())

    def close(self) -> None:
        """Stop reading."""
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None

    def apply(self, message: Message) -> Change | None:
        """Take in a notification; return the change, or None without one and for a message that can't be read."""
        if message.kind in {RTM_NEWLINK, RTM_DELLINK}:
            return self._apply_link(read("link", decode_link, message.body), gone=message.kind == RTM_DELLINK)
        if message.kind in {RTM_NEWADDR, RTM_DELADDR}:
            return self._apply_address(read("address", decode_address, message.body), gone=message.kind == RTM_DELADDR)
        if message.kind in {RTM_NEWRULE, RTM_DELRULE}:
            return self._apply_rule(read(RULE, decode, message.body), gone=message.kind == RTM_DELRULE)
        return None

    def _apply_link(self, link: Link | None, *, gone: bool) -> Change | None:
        if link is None or not self._links.put(link.index, None if gone else link):
            return None
        self._network = None
        if gone:
            # Mostly none: the kernel reports the addresses of a link before the link itself.
            for address in [each for each in self._addresses.known.values() if each.interface == link.index]:
                self._apply_address(address, gone=True)
        return Change(link.index, link=link, lossy=gone or not link.up)

    def _apply_address(self, address: Address | None, *, gone: bool) -> Change | None:
        if address is None:
            return None
        key = _address_key(address)
        before = self._addresses.known.get(key)
        # The kernel reports the rest of the lifetime of an address again and again: nothing changes.
        if not self._addresses.put(key, None if gone else address):
            return None
        self._addresses_changed = True
        prefixes = [host_prefix(address.local)]
        for each, number in ((before, -1), (None if gone else address, 1)):
            if each is not None:
                self._families[each.interface, len(each.local)] += number
                for prefix in each.prefixes:
                    self._subnets[each.interface, prefix] += number
                    # The last address of a subnet, or the first one.
                    if self._subnets[each.interface, prefix] == max(number, 0):
                        prefixes.append(prefix)
        if prefixes[1:]:
            self._network = None
        last = gone and not self._families[address.interface, len(address.local)]
        return Change(address.interface, prefixes=tuple(prefixes), lossy=last)

    def _count(self) -> None:
        addresses = self._addresses.known.values()
        self._subnets = Counter((each.interface, prefix) for each in addresses for prefix in each.prefixes)
        self._families = Counter((each.interface, len(each.local)) for each in addresses)

    def _apply_rule(self, rule: Rule | None, *, gone: bool) -> Change | None:
        if rule is None:
            return None
        if self._rules.put(rule, None if gone else rule):
            self._leading = None
        return Change(rule=rule)

    async def _read_until_whole(self) -> None:
        pauses = Backoff(FIRST_PAUSE, LAST_PAUSE, AROUND)
        failed = False
        while True:
            try:
                if await self._read():
                    return
            except Exception as error:
                if not failed:
                    expected = isinstance(error, (KernelError, OSError))
                    text = "Links and addresses can't be read, and the last known ones stand: %s"
                    logger.warning(text, error, exc_info=None if expected else error)
                failed = True
            await asyncio.sleep(next(pauses))

    async def _read(self) -> bool:
        """Read everything once, on a socket of its own; return whether all of it was whole."""
        async with self._busy:
            fib = Fib()
            try:
                links = await self._links.read(fib, RTM_GETLINK, ALL_LINKS, _decode_links)
                addresses = await self._addresses.read(fib, RTM_GETADDR, ALL_ADDRESSES, _decode_addresses)
                rules = await self._rules.read(fib, RTM_GETRULE, ALL_RULES, _decode_rules)
            finally:
                fib.close()
        differs, known = links.differs or addresses.differs or rules.differs, self._known
        self._known = True
        if differs:
            self._network = self._leading = None
            self._count()
        if differs and known:
            self._on_difference()
        return links.whole and addresses.whole and rules.whole


class _Read(NamedTuple):
    """The outcome of a read.

    Attributes:
        whole: nothing can be missing from it.
        differs: it found something else than was known.
    """

    whole: bool
    differs: bool


class _Entries(Generic[K, V]):
    """The known objects of one kind.

    Attributes:
        known: the objects by key.
    """

    def __init__(self) -> None:
        self.known: dict[K, V] = {}
        self._notified: set[K] | None = None

    def put(self, key: K, value: V | None) -> bool:
        """Take in a notification, with None for an object that is gone; report whether anything changed."""
        if self._notified is not None:
            self._notified.add(key)
        if value is None:
            return self.known.pop(key, None) is not None
        changed = self.known.get(key) != value
        if changed:
            self.known[key] = value
        return changed

    async def read(
        self, fib: Fib, kind: int, request: bytes, decode: Callable[[Iterable[Message]], Iterable[tuple[K, V]]]
    ) -> _Read:
        """Read all objects from the kernel.

        A notification that comes in meanwhile may be newer than what the dump says of its object, so it wins. If it is
        older, one that is as new as the dump is still to come.
        """
        self._notified = set()
        try:
            found = dict(decode(await fib.dump(kind, request)))
        finally:
            notified, self._notified = self._notified, None
        before = dict(self.known)
        if not fib.incomplete:
            for key in self.known.keys() - found.keys() - notified:
                del self.known[key]
        self.known.update((key, value) for key, value in found.items() if key not in notified)
        return _Read(not fib.incomplete, self.known != before)


def _address_key(address: Address) -> tuple[Any, ...]:
    """Return the identity of an address: on one interface, IPv6 has each address once."""
    if len(address.local) == 16:
        return address.interface, address.local
    return address.interface, address.local, address.length, address.peer


def _decode_links(answers: Iterable[Message]) -> Iterable[tuple[int, Link]]:
    links = readable("link", decode_link, (message.body for message in answers))
    return ((link.index, link) for link in links)


def _decode_addresses(answers: Iterable[Message]) -> Iterable[tuple[tuple[Any, ...], Address]]:
    addresses = readable("address", decode_address, (message.body for message in answers))
    return ((_address_key(address), address) for address in addresses)


def _decode_rules(answers: Iterable[Message]) -> Iterable[tuple[Rule, Rule]]:
    rules = readable(RULE, decode, (message.body for message in answers))
    return ((rule, rule) for rule in rules)


async def read_network() -> Network:
    """Return the links and addresses as they are now.

    Raises:
        OSError: the kernel can't be asked.
    """
    state = NetworkState()
    try:
        await state.ready()
        return state.network
    finally:
        state.close()
