"""The routes of other programs, and the longest-prefix match over them: the way of packets without our routes."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from static_route_operator.routing.kernelroute import UNICAST
from static_route_operator.routing.keys import prefix_of, unpack_table_metric
from static_route_operator.routing.keyset import KeySet
from static_route_operator.routing.nexthops import NextHop, NextHops
from static_route_operator.routing.prefixes import contains, host_prefix, last_address, supernet
from static_route_operator.routing.subtraction import outermost_of, subtract


class Lookup(NamedTuple):
    """The kernel's answer to a look-up of an address.

    Attributes:
        prefix_length: bits of the prefix of the matching route; 0 where the kernel does not tell the route.
        interface: index of the output interface; 0 for none, or for several next hops.
        on_link: the route takes the address for a neighbour on the interface.
        local: the address is this node's own.
        ours: this program wrote the matching route.
        kind: type of the matching route in the word of `ip route`, such as unicast, local or unreachable.
        gateway: packed address of the route's gateway; empty without one.
        protocol: number of the program that made the route; 0 for unknown.
    """

    prefix_length: int
    interface: int
    on_link: bool
    local: bool
    ours: bool
    kind: str = UNICAST
    gateway: bytes = b""
    protocol: int = 0


class Match(NamedTuple):
    """The longest route that contains a whole prefix.

    Attributes:
        prefix: packed prefix of the route.
        alternatives: next hops of the route; several if several routes have its key.
    """

    prefix: bytes
    alternatives: tuple[NextHops, ...]

    def leads(self, hops: Iterable[NextHop]) -> bool:
        """Report whether the route leads to these next hops; weights do not matter."""
        desired = {(hop.gateway, hop.interface) for hop in hops}
        return all(
            each.forwards and desired == {(hop.gateway, hop.interface) for hop in each.hops}
            for each in self.alternatives
        )


class ForeignRib:
    """The routes of other programs in the main table, and those of the local table, which deliver to this node.

    Args:
        main: keys of the main table by next hops; a key may have several.
        local: keys of the local table, one set for each family.
    """

    def __init__(self, main: Mapping[NextHops, KeySet] | None = None, local: Iterable[KeySet] = ()) -> None:
        self._main = {next_hops: keys for next_hops, keys in (main or {}).items() if keys}
        self._local = tuple(filter(None, local))
        self._families: dict[int, KeySet] = {}
        self._lengths: dict[int, list[int]] = {}
        for size in {keys.size for keys in self._main.values()}:
            whole = KeySet(size)
            for keys in self._main.values():
                if keys.size == size:
                    whole |= keys
            prefix_size = len(prefix_of(whole[0]))
            self._families[prefix_size] = whole
            self._lengths[prefix_size] = sorted(set(whole.packed[prefix_size - 1 :: size]), reverse=True)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ForeignRib) and (self._main, self._local) == (other._main, other._local)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"ForeignRib({sum(map(len, self._families.values()))})"

    def match(self, prefix: bytes) -> Match | None:
        """Return the longest route in main that contains a whole prefix, with the lowest metric; None without one."""
        keys = self._families.get(len(prefix))
        for length in self._lengths.get(len(prefix), ()):
            if length <= prefix[-1] and keys is not None:
                candidate = supernet(prefix[:-1], length)
                if found := keys.between(candidate, candidate):
                    first = min(found, key=lambda key: unpack_table_metric(key)[1])
                    return Match(candidate, tuple(hops for hops, each in self._main.items() if first in each))
        return None

    def leading(self, prefix: bytes) -> tuple[NextHops, ...]:
        """Return the next hops of all routes in main to a prefix, whatever their metrics are."""
        return tuple(
            hops
            for hops, keys in self._main.items()
            if len(prefix_of(keys[0])) == len(prefix) and keys.between(prefix, prefix)
        )

    def look_up(self, address: bytes) -> Lookup | None:
        """Look up the route to an address; None without one."""
        match = self.match(host_prefix(address))
        if match is None:
            return None
        hop, *others = match.alternatives[0].hops
        interface = 0 if others else hop.interface
        return Lookup(
            prefix_length=match.prefix[-1],
            interface=interface,
            on_link=bool(interface) and not any(hop.gateway),
            local=False,
            ours=False,
            gateway=hop.gateway if any(hop.gateway) and interface else b"",
        )

    def exposed(self, prefix: bytes, inside: Iterable[bytes]) -> Iterator[bytes]:
        """Yield the prefixes of which a new route would capture an address: no longer route contains that address.

        Args:
            prefix: packed prefix of the new route.
            inside: packed prefixes that ``prefix`` contains.
        """
        shields = self._shields(prefix)
        for each in inside:
            place = bisect_right(shields, each)
            if place and contains(shields[place - 1], each):
                continue
            parts = shields[bisect_left(shields, each) : bisect_left(shields, host_prefix(last_address(each)) + b"\0")]
            if not parts or subtract(each, parts):
                yield each

    def _shields(self, prefix: bytes) -> list[bytes]:
        """Return the outermost prefixes inside this one whose routes win against its route, sorted."""
        first, last = prefix, host_prefix(last_address(prefix))
        found: set[bytes] = set()
        if (main := self._families.get(len(prefix))) is not None:
            found.update(map(prefix_of, main.between(first, last)))
            found.discard(prefix)
        for local in self._local:
            # The kernel looks in the local table first, so an equal length wins there too.
            if len(prefix_of(local[0])) == len(prefix):
                found.update(map(prefix_of, local.between(first, last)))
        return outermost_of(found)
