"""Next hops of routes, shared by all routes that use them."""

from typing import NamedTuple

from static_route_operator.routing.kernelroute import BLACKHOLE, THROW, UNICAST
from static_route_operator.routing.keys import IPV4_KEY_SIZE, IPV6_KEY_SIZE
from static_route_operator.routing.options import Metrics

# Protocol number of the routes of this program. It distinguishes them from the routes of other programs.
PROTOCOL = 245

# Names of protocols in `ip route`; other numbers are shown as they are.
_PROTOCOL_NAMES = {
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


def protocol_name(protocol: int) -> str:
    """Return the name of a protocol in the word of `ip route`."""
    return _PROTOCOL_NAMES.get(protocol, str(protocol))


class NextHop(NamedTuple):
    """One next hop of a route.

    Attributes:
        gateway: packed address, of the family of the route; all zeros if packets go to neighbours on the interface.
        interface: index of the output interface; 0 in next hops that are unknown or do not forward.
        weight: share of the traffic beside the other next hops; 1 for a single next hop.
        on_link: the gateway counts as a neighbour even if no subnet of the interface holds it.
    """

    gateway: bytes
    interface: int
    weight: int = 1
    on_link: bool = False


class NextHops(NamedTuple):
    """The next hops of a route, and the attributes that go with them.

    Attributes:
        hops: the next hops, sorted, at least one. If they are unknown or the route does not forward, a single next hop
            without an interface keeps the family.
        source: packed source address of packets that this node sends; empty lets the kernel choose.
        metrics: the metrics that the route sets (see `routing.options`).
        kind: type of the route: unicast; blackhole drops packets; throw sends them on to the next policy rule, as if
            the table had no route.
        shared: next hops of another program may be among these, because the kernel merges IPv6 routes. This program
            never writes such.
    """

    hops: tuple[NextHop, ...]
    source: bytes = b""
    metrics: Metrics = ()
    kind: str = UNICAST
    shared: bool = False

    @classmethod
    def via(
        cls,
        gateway: bytes,
        interface: int,
        source: bytes = b"",
        metrics: Metrics = (),
        on_link: bool = False,  # noqa: FBT002  as in `NextHop`
    ) -> "NextHops":
        """Return next hops with a single gateway."""
        return cls((NextHop(gateway, interface, on_link=on_link),), source, metrics)

    @property
    def address_size(self) -> int:
        """Bytes of an address of the routes."""
        return len(self.hops[0].gateway)

    @property
    def key_size(self) -> int:
        """Bytes of a key of the routes."""
        return IPV4_KEY_SIZE if self.address_size == 4 else IPV6_KEY_SIZE

    @property
    def has_gateway(self) -> bool:
        """True if packets go by a gateway, not to neighbours. IPv6 never merges routes of the two kinds."""
        return any(any(hop.gateway) for hop in self.hops)

    @property
    def forwards(self) -> bool:
        """True if the kernel forwards packets to next hops that this program knows."""
        return self.hops[0].interface != 0


# Next hops of a route of ours in the kernel that this program never writes, such as a route of another type or with a
# metric that is no option. They differ from all desired ones, so the route is replaced or deleted.
UNKNOWN_IPV4 = NextHops.via(bytes(4), 0)
UNKNOWN_IPV6 = NextHops.via(bytes(16), 0)

# The kernel drops the packets; the next shorter prefix does not get them.
BLACKHOLE_IPV4 = UNKNOWN_IPV4._replace(kind=BLACKHOLE)
BLACKHOLE_IPV6 = UNKNOWN_IPV6._replace(kind=BLACKHOLE)

# The kernel goes on with the next policy rule, and finds the route that it would find without our table.
THROW_IPV4 = UNKNOWN_IPV4._replace(kind=THROW)
THROW_IPV6 = UNKNOWN_IPV6._replace(kind=THROW)
