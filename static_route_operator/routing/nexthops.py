"""Next hops of routes, shared by all routes that use them."""

from typing import NamedTuple

from static_route_operator.routing.keys import IPV4_KEY_SIZE, IPV6_KEY_SIZE
from static_route_operator.routing.options import Metrics

# Routes of this program carry this number as their protocol: it is how they are told from everybody else's.
PROTOCOL = 245

# Names of protocols that a person knows from `ip route`; other numbers are shown as they are.
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
    """Whose routes carry a protocol, in the word of `ip route`."""
    return _PROTOCOL_NAMES.get(protocol, str(protocol))


class NextHop(NamedTuple):
    """One of the next hops of a path.

    Attributes:
        gateway: packed address, of the family of the route; all zeros when packets are for neighbours on the interface.
        interface: index of the output interface; 0 in a path that leads nowhere.
        weight: its share of the traffic, beside those of the others; 1 where there is no other.
        on_link: the gateway is taken for reachable on the interface, whatever its subnets are.
    """

    gateway: bytes
    interface: int
    weight: int = 1
    on_link: bool = False


class NextHops(NamedTuple):
    """Where packets of a route go, and how.

    Attributes:
        hops: the next hops, sorted, at least one; one without an interface tells the family of a path that leads
            nowhere.
        source: packed address that this node's own packets get; empty when the kernel chooses.
        metrics: the metrics that the route sets (see `routing.options`).
        blackhole: packets are dropped.
        shared: next hops of another program may be among these, since the kernel merges them for IPv6; never in a path
            that this program writes.
    """

    hops: tuple[NextHop, ...]
    source: bytes = b""
    metrics: Metrics = ()
    blackhole: bool = False
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
        """The path by one gateway."""
        return cls((NextHop(gateway, interface, on_link=on_link),), source, metrics)

    @property
    def address_size(self) -> int:
        """The size of the addresses of routes that can take it."""
        return len(self.hops[0].gateway)

    @property
    def key_size(self) -> int:
        """The size of the keys of routes that can take it."""
        return IPV4_KEY_SIZE if self.address_size == 4 else IPV6_KEY_SIZE

    @property
    def forwards(self) -> bool:
        """Whether packets go anywhere by it, as far as this program understands it."""
        return self.hops[0].interface != 0


# A route of ours in the kernel whose path is none that this program writes (another type, a metric of another kind). It
# differs from every wanted path, so it is replaced or deleted.
UNKNOWN_IPV4 = NextHops.via(bytes(4), 0)


UNKNOWN_IPV6 = NextHops.via(bytes(16), 0)


# Packets are dropped, and no shorter prefix gets them.
BLACKHOLE_IPV4 = UNKNOWN_IPV4._replace(blackhole=True)


BLACKHOLE_IPV6 = UNKNOWN_IPV6._replace(blackhole=True)
