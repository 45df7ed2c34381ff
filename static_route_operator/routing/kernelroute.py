"""Routes as the kernel reports them, whichever program made them."""

from dataclasses import dataclass
from typing import NamedTuple

from static_route_operator.routing.keys import pack_table_metric
from static_route_operator.routing.options import Metrics
from static_route_operator.routing.prefixes import unpack_prefix

UNICAST = "unicast"
BLACKHOLE = "blackhole"
THROW = "throw"
UNREACHABLE = "unreachable"
PROHIBIT = "prohibit"

# Types of the routes whose packets the kernel delivers to this host.
LOCAL = "local"
BROADCAST = "broadcast"
ANYCAST = "anycast"
LOCAL_KINDS = frozenset({LOCAL, BROADCAST, ANYCAST, "multicast"})

# Protocol numbers of the routes to subnets that the kernel makes itself: from addresses, and from the prefixes that
# router advertisements declare to be on the link.
PROTOCOL_KERNEL = 2
PROTOCOL_RA = 9

# Scope (rtm_scope) of IPv4 routes to neighbours.
SCOPE_LINK = 253


class KernelNextHop(NamedTuple):
    """A next hop of a route in the kernel.

    Attributes:
        gateway: packed address, possibly of another family than the route's; empty when packets go to neighbours.
        interface: index of the output interface; 0 for none.
        weight: share of the traffic beside the other next hops.
        on_link: the gateway counts as a neighbour even if no subnet of the interface holds it.
        dead: the kernel does not use the next hop now: its interface is down or has no carrier.
        plain: the next hop has no attribute that this program does not write, and as one of several it has a gateway.
    """

    gateway: bytes
    interface: int
    weight: int = 1
    on_link: bool = False
    dead: bool = False
    plain: bool = True


@dataclass(frozen=True, slots=True)
class KernelRoute:
    """A route in the kernel.

    Attributes:
        prefix: packed destination.
        table: number of the routing table.
        metric: the lowest wins among routes to the same prefix.
        protocol: number of the program that made the route.
        kind: type in the word of `ip route`, such as unicast; its number if `ip` has no word for it.
        hops: the next hops, in the kernel's order.
        source: packed source address of packets that this host sends; empty for none.
        metrics: the metrics that the route sets, also those that are no option of a StaticRoute.
        next_hop_id: number of the nexthop object that the route uses; 0 for none.
        tos: type of service of the packets that an IPv4 route is for; 0 for all.
        preference: router preference of an IPv6 route (RFC 4191): 1 is high, 0 medium and -1 low.
        scope: how far away the destination is: 0 is anywhere, 253 is a neighbour; always 0 for IPv6.
        plain: apart from next hops and metrics, the route has no attribute that this program does not write.
    """

    prefix: bytes
    table: int
    metric: int
    protocol: int
    kind: str
    hops: tuple[KernelNextHop, ...]
    source: bytes = b""
    metrics: Metrics = ()
    next_hop_id: int = 0
    tos: int = 0
    preference: int = 0
    scope: int = 0
    plain: bool = True

    @property
    def key(self) -> bytes:
        """The packed key."""
        return self.prefix + pack_table_metric(self.table, self.metric)

    @property
    def usable(self) -> bool:
        """False for a unicast route without a next hop that the kernel uses now."""
        return self.kind != UNICAST or not self.hops or not all(hop.dead for hop in self.hops)

    @property
    def destination(self) -> str:
        """The destination as text."""
        return unpack_prefix(self.prefix)
