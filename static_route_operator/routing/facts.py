"""Facts of a node: the input of the guards and of the choice of output interfaces."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from static_route_operator.routing.foreign import ForeignRib, Lookup
from static_route_operator.routing.keys import prefix_of
from static_route_operator.routing.keyset import KeySet
from static_route_operator.routing.nexthops import NextHops
from static_route_operator.routing.prefixes import host_prefix, supernet
from static_route_operator.routing.protection import Protection
from static_route_operator.routing.routes import Routes
from static_route_operator.routing.rules import Rule


@dataclass(frozen=True, slots=True)
class Link:
    """A network interface.

    Attributes:
        index: the kernel's number of the interface.
        name: the interface's name.
        alternative_names: further names under which `ip` finds the interface.
        up: administratively up.
        carrier: can carry packets.
        arp: resolves neighbours; False for most tunnels.
        point_to_point: has a single neighbour, the peer of its addresses.
        mtu: in bytes; 0 for unknown.
        master: index of the bridge, bond or VRF that the interface is a port of; 0 for none.
        kind: type of a virtual interface in the word of `ip`, such as bridge, vrf or vxlan; empty for hardware.
        hardware: link-layer address; for an IP tunnel, the packed outer address of this end. Empty for none.
        remote: packed outer address of a tunnel's other end, if this node's routes lead there; empty for none, or for
            several.
    """

    index: int
    name: str
    alternative_names: tuple[str, ...] = ()
    up: bool = True
    carrier: bool = True
    arp: bool = True
    point_to_point: bool = False
    mtu: int = 0
    master: int = 0
    kind: str = ""
    hardware: bytes = b""
    remote: bytes = b""


class Address(NamedTuple):
    """An address of an interface.

    Attributes:
        interface: index of the interface.
        local: the packed address.
        length: bits of the prefix.
        peer: packed address of the other end; the local address if there is none, empty after `peer 0.0.0.0`.
        scope: as in `ip address`: 0 is global, 253 is link, 254 is host.
        prefix_route: the kernel has made a route to the subnet; False with `noprefixroute`.
        tentative: IPv6 still checks whether another node has the address, so it is not in use yet.
        duplicate: IPv6 has found another node with the address, so it is not in use.
        deprecated: not chosen as the source of new connections.
    """

    interface: int
    local: bytes
    length: int
    peer: bytes
    scope: int = 0
    prefix_route: bool = True
    tentative: bool = False
    duplicate: bool = False
    deprecated: bool = False

    @property
    def prefixes(self) -> tuple[bytes, ...]:
        """The packed prefixes of the subnets that the address connects to; none for a single address without a peer.

        An IPv4 subnet is around the peer. An IPv6 subnet is around the local address, and the peer is beside it.
        """
        if len(self.local) == 4:
            around = self.peer
            others: tuple[bytes, ...] = ()
        else:
            around = self.local
            others = (host_prefix(self.peer),) if self.peer not in {self.local, b""} else ()
        if not around or (self.length == len(around) * 8 and around == self.local):
            return others
        return (supernet(around, self.length), *others)


class Subnet(NamedTuple):
    """A subnet that is directly connected to this node.

    Attributes:
        prefix: packed prefix.
        interface: name of the interface that has an address in the subnet.
    """

    prefix: bytes
    interface: str


@dataclass(frozen=True)
class Network:
    """The links and addresses of a node at one moment.

    Attributes:
        links: the links by index.
        addresses: the addresses of all links.
    """

    links: Mapping[int, Link] = field(default_factory=dict)
    addresses: Sequence[Address] = ()

    @cached_property
    def names(self) -> Mapping[int, str]:
        """Names of the interfaces by index."""
        return {index: link.name for index, link in self.links.items()}

    @cached_property
    def down(self) -> frozenset[str]:
        """Names of the interfaces that are administratively down."""
        return frozenset(link.name for link in self.links.values() if not link.up)

    @cached_property
    def owners(self) -> Mapping[bytes, str]:
        """The node's own packed addresses, with the interface's name."""
        names = self.names
        return {each.local: names.get(each.interface) or str(each.interface) for each in self.addresses}

    @cached_property
    def subnets(self) -> tuple[Subnet, ...]:
        """The subnets that the addresses make directly reachable, each once."""
        names = self.names
        return tuple(
            dict.fromkeys(
                Subnet(prefix, names.get(each.interface) or str(each.interface))
                for each in self.addresses
                for prefix in each.prefixes
            )
        )

    def with_addresses(self, addresses: Sequence[Address]) -> "Network":
        """Return the network with other addresses that connect to the same subnets.

        Whatever does not depend on the addresses themselves is not derived again: some nodes have thousands, and one
        of them changes every few milliseconds.
        """
        other = Network(self.links, addresses)
        own = {"addresses", "owners", "in_use", "unrouted"}
        other.__dict__.update((name, value) for name, value in self.__dict__.items() if name not in own)
        return other

    @cached_property
    def in_use(self) -> frozenset[bytes]:
        """The node's own packed addresses, without those that IPv6 still checks or has found to be another node's."""
        return frozenset(each.local for each in self.addresses if not (each.tentative or each.duplicate))

    @cached_property
    def unrouted(self) -> frozenset[Subnet]:
        """The subnets to which the kernel has made no route: each of their addresses has `noprefixroute`."""
        routed = {prefix for each in self.addresses if each.prefix_route for prefix in each.prefixes}
        return frozenset(each for each in self.subnets if each.prefix not in routed)

    @cached_property
    def remotes(self) -> frozenset[bytes]:
        """The packed outer addresses of the other ends of tunnels."""
        return frozenset(link.remote for link in self.links.values() if link.remote)

    def index(self, interface: str) -> int:
        """Return the index of an interface by one of its names; 0 without an interface of this name."""
        return self._indices.get(interface, 0)

    def holding(self, address: bytes) -> list[Subnet]:
        """Return the subnets that hold a packed address, the longest prefix first."""
        return [
            subnet
            for length in self._lengths.get(len(address), ())
            for subnet in self._by_prefix.get(supernet(address, length), ())
        ]

    def around(self, keys: KeySet) -> Iterator[Subnet]:
        """Yield the subnets that may hold a prefix of these keys. Few keys are looked up among many subnets."""
        if len(keys) * len(self._lengths) >= len(self.subnets):
            yield from self.subnets
            return
        found = {subnet: None for key in keys for subnet in self.holding(prefix_of(key)[:-1])}
        yield from found

    def owned_by(self, keys: KeySet) -> Iterator[tuple[bytes, str]]:
        """Yield the own addresses that may be a prefix of these keys, with the interface's name."""
        if len(keys) >= len(self.owners):
            yield from self.owners.items()
            return
        for key in keys:
            address = prefix_of(key)[:-1]
            if (interface := self.owners.get(address)) is not None:
                yield address, interface

    @cached_property
    def _indices(self) -> Mapping[str, int]:
        found = {name: link.index for link in self.links.values() for name in link.alternative_names}
        return found | {link.name: link.index for link in self.links.values()}

    @cached_property
    def _by_prefix(self) -> Mapping[bytes, list[Subnet]]:
        found: dict[bytes, list[Subnet]] = {}
        for each in self.subnets:
            found.setdefault(each.prefix, []).append(each)
        return found

    @cached_property
    def _lengths(self) -> Mapping[int, list[int]]:
        """Prefix lengths that occur, the longest first, by the size of the address."""
        found: dict[int, set[int]] = {}
        for prefix, _ in self.subnets:
            found.setdefault(len(prefix) - 1, set()).add(prefix[-1])
        return {size: sorted(lengths, reverse=True) for size, lengths in found.items()}


@dataclass(frozen=True, slots=True)
class Facts:
    """The facts of a node at one moment.

    Attributes:
        network: the node's links and addresses.
        lookups: look-ups of gateways, sources and the outer ends of tunnels by packed address; an address without a
            route is absent.
        protected: the destinations whose routes must not change.
        foreign: the routes of other programs; not read, and empty, while no destination meets a protected one.
        rules: the policy rules that may lead packets of this node itself; not read, and empty, while no StaticRoute
            names a table.
    """

    network: Network = field(default_factory=Network)
    lookups: Mapping[bytes, Lookup] = field(default_factory=dict)
    protected: Protection = field(default_factory=Protection)
    foreign: ForeignRib = field(default_factory=ForeignRib)
    rules: tuple[Rule, ...] = ()

    @property
    def links(self) -> Mapping[int, Link]:
        """The links by index."""
        return self.network.links

    @property
    def addresses(self) -> Mapping[bytes, str]:
        """Packed addresses of the node's own interfaces, with the interface's name."""
        return self.network.owners

    @property
    def subnets(self) -> tuple[Subnet, ...]:
        """The subnets that these addresses make directly reachable."""
        return self.network.subnets

    def is_own(self, address: bytes) -> bool:
        """Report whether packets to a packed address end at this node: on any interface, also in a VRF."""
        lookup = self.lookups.get(address)
        return address in self.network.in_use or (lookup is not None and lookup.local)

    def dead_ends(self, routes: Routes) -> frozenset[NextHops]:
        """Return the next hops of routes that lead to this node itself, all or in part: the kernel drops packets there.

        A route through a gateway stays in the kernel when the gateway's address moves to this node.
        """
        return frozenset(
            next_hops for next_hops, _ in routes if any(self.is_own(hop.gateway) for hop in next_hops.hops)
        )

    @property
    def interfaces(self) -> Mapping[int, str]:
        """Names of the interfaces by index."""
        return self.network.names

    @property
    def down(self) -> frozenset[str]:
        """Names of the interfaces that are administratively down."""
        return self.network.down

    def index(self, interface: str) -> int:
        """Return the index of an interface by one of its names; 0 without an interface of this name."""
        return self.network.index(interface)
