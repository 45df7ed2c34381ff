"""Where packets would go if this program had written nothing: the longest-prefix match over the routes of others."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from static_route_operator.routing.keys import prefix_of, unpack_table_metric
from static_route_operator.routing.keyset import KeySet
from static_route_operator.routing.nexthops import NextHop, NextHops
from static_route_operator.routing.prefixes import contains, host_prefix, last_address, supernet
from static_route_operator.routing.subtraction import outermost_of, subtract


class Lookup(NamedTuple):
    """How the kernel would send a packet to an address now.

    Attributes:
        prefix_length: length of the prefix of the route that matches, in bits.
        interface: index of the output interface; 0 when there is none.
        on_link: it is reached directly, without a gateway.
        local: it is an address of this node.
        ours: the route that matches is one that this program wrote.
    """

    prefix_length: int
    interface: int
    on_link: bool
    local: bool
    ours: bool


class Match(NamedTuple):
    """The route that a prefix has as a whole.

    Attributes:
        prefix: packed; of the route.
        paths: of the route; several when several routes have the same key.
    """

    prefix: bytes
    paths: tuple[NextHops, ...]

    def leads(self, hops: Iterable[NextHop]) -> bool:
        """Whether it leads to these next hops, whatever their weights are."""
        desired = {(hop.gateway, hop.interface) for hop in hops}
        return all(
            path.forwards and desired == {(hop.gateway, hop.interface) for hop in path.hops} for path in self.paths
        )


class ForeignRib:
    """The routes of others in the main table, and what the kernel delivers to this node itself (its local table).

    Args:
        main: keys of the main table by path; a key may have several.
        local: keys of the local table, one set for each family.
    """

    def __init__(self, main: Mapping[NextHops, KeySet] | None = None, local: Iterable[KeySet] = ()) -> None:
        self._main = {path: keys for path, keys in (main or {}).items() if keys}
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
        return f"ForeignRoutes({sum(map(len, self._families.values()))})"

    def match(self, prefix: bytes) -> Match | None:
        """The longest route in main that holds all of a prefix, with the lowest metric; None when none does."""
        keys = self._families.get(len(prefix))
        for length in self._lengths.get(len(prefix), ()):
            if length <= prefix[-1] and keys is not None:
                candidate = supernet(prefix[:-1], length)
                if found := keys.between(candidate, candidate):
                    first = min(found, key=lambda key: unpack_table_metric(key)[1])
                    return Match(candidate, tuple(path for path, each in self._main.items() if first in each))
        return None

    def look_up(self, address: bytes) -> Lookup | None:
        """How a packet to an address would be sent; None without a route."""
        match = self.match(host_prefix(address))
        if match is None:
            return None
        hop, *others = match.paths[0].hops
        interface = 0 if others else hop.interface
        return Lookup(
            prefix_length=match.prefix[-1],
            interface=interface,
            on_link=bool(interface) and not any(hop.gateway),
            local=False,
            ours=False,
        )

    def exposed(self, prefix: bytes, inside: Iterable[bytes]) -> Iterator[bytes]:
        """Of prefixes inside another one, those with an address that has no longer route than that one's.

        Args:
            prefix: packed; of a route that would be new.
            inside: packed prefixes that are a part of it or equal to it.
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
        """The outermost prefixes inside this one that win against it, sorted."""
        first, last = prefix, host_prefix(last_address(prefix))
        found: set[bytes] = set()
        if (main := self._families.get(len(prefix))) is not None:
            found.update(map(prefix_of, main.between(first, last)))
            found.discard(prefix)
        for local in self._local:
            # It is looked at before main: there an equal length wins too.
            if len(prefix_of(local[0])) == len(prefix):
                found.update(map(prefix_of, local.between(first, last)))
        return outermost_of(found)
