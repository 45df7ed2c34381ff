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
    Link,
    decode_links,
    parse_addresses,
)
from static_route_operator.kernel.messages import RTM_GETROUTE, RTMSG, parse_route
from static_route_operator.kernel.tracer import RouteTracer
from static_route_operator.routing.description import route_words
from static_route_operator.routing.prefixes import unpack_address, unpack_prefix


def lines() -> Iterator[str]:
    """Yield the lines of the snapshot.

    Raises:
        KernelError: the kernel does not answer.
    """
    tracer = RouteTracer()
    try:
        yield "# links"
        links = decode_links(tracer.dump(RTM_GETLINK, ALL_LINKS))
        names = {link.state.interface: link.name for link in links}
        yield from map(_link_words, links)
        yield "# addresses and subnets"
        addresses, subnets = parse_addresses(tracer.dump(RTM_GETADDR, ALL_ADDRESSES), names)
        yield from (f"{unpack_address(address)} dev {name}" for address, name in addresses.items())
        yield from (f"{unpack_prefix(subnet.prefix)} dev {subnet.interface}" for subnet in subnets)
        for family, title in ((socket.AF_INET, "IPv4"), (socket.AF_INET6, "IPv6")):
            yield f"# {title} rules"
            yield from map(str, tracer.policies(family))
            yield f"# {title} routes of all tables"
            try:
                for message in tracer.stream(RTM_GETROUTE, RTMSG.pack(family, 0, 0, 0, 0, 0, 0, 0, 0)):
                    yield route_words(parse_route(message.body), names)
            except InterruptedDumpError as error:
                yield f"# {error}"
    finally:
        tracer.close()


def _link_words(link: Link) -> str:
    state = "up" if link.state.up else "down"
    carrier = "carrier" if link.state.carrier else "no carrier"
    return f"{link.state.interface}: {link.name}: {state}, {carrier}, mtu {link.mtu}"
