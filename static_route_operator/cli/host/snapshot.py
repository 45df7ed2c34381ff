"""Everything that this host's kernel uses to forward packets, in the words of `ip`, for a support archive.

The image has no `ip`. Lines come one by one: a node may have hundreds of thousands of routes, and little memory.
"""

import socket
from collections.abc import Iterator

from static_route_operator.kernel.dumps import InterruptedDumpError
from static_route_operator.kernel.interfaces import (
    ALL_ADDRESSES,
    ALL_LINKS,
    RTM_GETADDR,
    RTM_GETLINK,
    decode_network,
)
from static_route_operator.kernel.messages import ROUTE, RTM_GETROUTE, RTMSG, parse_route
from static_route_operator.kernel.tracer import RouteTracer
from static_route_operator.kernel.unreadable import readable
from static_route_operator.routing.description import route_words
from static_route_operator.routing.facts import Link
from static_route_operator.routing.prefixes import unpack_address, unpack_prefix


def lines() -> Iterator[str]:
    """Yield the lines of the snapshot.

    Raises:
        KernelError: the kernel does not answer.
    """
    tracer = RouteTracer()
    try:
        network = decode_network(tracer.dump(RTM_GETLINK, ALL_LINKS), tracer.dump(RTM_GETADDR, ALL_ADDRESSES))
        yield "# links"
        yield from map(_link_words, network.links.values())
        yield "# addresses and subnets"
        yield from (f"{unpack_address(address)} dev {name}" for address, name in network.owners.items())
        yield from (f"{unpack_prefix(subnet.prefix)} dev {subnet.interface}" for subnet in network.subnets)
        for family, title in ((socket.AF_INET, "IPv4"), (socket.AF_INET6, "IPv6")):
            yield f"# {title} rules"
            yield from map(str, tracer.rules(family))
            yield f"# {title} routes of all tables"
            try:
                answers = tracer.stream(RTM_GETROUTE, RTMSG.pack(family, 0, 0, 0, 0, 0, 0, 0, 0))
                for route in readable(ROUTE, parse_route, (message.body for message in answers)):
                    yield route_words(route, network.names)
            except InterruptedDumpError as error:
                yield f"# {error}"
    finally:
        tracer.close()


def _link_words(link: Link) -> str:
    state = "up" if link.up else "down"
    carrier = "carrier" if link.carrier else "no carrier"
    return f"{link.index}: {link.name}: {state}, {carrier}, mtu {link.mtu}"
