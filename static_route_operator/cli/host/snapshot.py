"""All that this host's kernel has for the forwarding of packets, in the words of `ip`, for a support archive.

The image has no `ip`. Lines come one by one: a node may have hundreds of thousands of routes, and little memory.
"""

import socket
import struct
from collections.abc import Iterator

from static_route_operator.cli.host.trace import route_words
from static_route_operator.kernel.dumps import InterruptedDumpError
from static_route_operator.kernel.interfaces import (
    ALL_ADDRESSES,
    ALL_LINKS,
    IFF_LOWER_UP,
    IFINFOMSG,
    IFLA_IFNAME,
    RTM_GETADDR,
    RTM_GETLINK,
    link_is_up,
    parse_addresses,
)
from static_route_operator.kernel.messages import RTM_GETROUTE, RTMSG
from static_route_operator.kernel.netlink import attributes
from static_route_operator.kernel.tracer import RouteTracer, parse_route
from static_route_operator.routing.prefixes import unpack_address, unpack_prefix

IFLA_MTU = 4

_WORD = struct.Struct("=I")


def lines() -> Iterator[str]:
    """The snapshot.

    Raises:
        KernelError: the kernel does not answer.
    """
    forwarder = RouteTracer()
    try:
        yield "# links"
        names = forwarder.interfaces()
        for message in forwarder.dump(RTM_GETLINK, ALL_LINKS):
            yield _link(message.body)
        yield "# addresses and subnets"
        addresses, subnets = parse_addresses(forwarder.dump(RTM_GETADDR, ALL_ADDRESSES), names)
        yield from (f"{unpack_address(address)} dev {name}" for address, name in addresses.items())
        yield from (f"{unpack_prefix(subnet.prefix)} dev {subnet.interface}" for subnet in subnets)
        for family, title in ((socket.AF_INET, "IPv4"), (socket.AF_INET6, "IPv6")):
            yield f"# {title} rules"
            yield from map(str, forwarder.policies(family))
            yield f"# {title} routes of all tables"
            try:
                for message in forwarder.stream(RTM_GETROUTE, RTMSG.pack(family, 0, 0, 0, 0, 0, 0, 0, 0)):
                    yield route_words(parse_route(message.body, names))
            except InterruptedDumpError as error:
                yield f"# {error}"
    finally:
        forwarder.close()


def _link(body: bytes) -> str:
    _, _, index, flags, _ = IFINFOMSG.unpack_from(body)
    found = dict(attributes(body, IFINFOMSG.size))
    name = found[IFLA_IFNAME].rstrip(b"\0").decode()
    state = "up" if link_is_up(body) else "down"
    carrier = "carrier" if flags & IFF_LOWER_UP else "no carrier"
    mtu = _WORD.unpack(found[IFLA_MTU])[0] if IFLA_MTU in found else 0
    return f"{index}: {name}: {state}, {carrier}, mtu {mtu}"
