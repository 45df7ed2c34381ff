"""Notifications of the kernel: what others do to links, addresses and routes, on a socket of its own.

A route notification alone is not enough: when an interface goes down, IPv4 routes vanish without one, and a policy
rule may lead elsewhere with a gateway. So links, addresses, rules and nexthop objects are watched too, and any of them
means: look again.
"""

import asyncio
import logging
from collections.abc import Callable

from static_route_operator.kernel.interfaces import RTM_DELADDR, RTM_DELLINK, RTM_NEWLINK, link_is_up
from static_route_operator.kernel.messages import RTM_DELROUTE, RTM_NEWROUTE, DecodedRoute, RouteDecoder
from static_route_operator.kernel.netlink import Message, NetlinkSocket, lost_messages, messages

logger = logging.getLogger(__name__)

# linux/rtnetlink.h: links, IPv4 addresses, IPv4 routes, IPv4 rules, IPv6 addresses, IPv6 routes, IPv6 rules, nexthop
# objects.
GROUPS = 0x1 | 0x10 | 0x40 | 0x80 | 0x100 | 0x400 | 1 << 18 | 1 << 31

RTM_DELNEXTHOP = 105

# A burst of 100,000 changes by somebody else fits.
BUFFER = 64 << 20

# Datagrams read before other tasks get a turn.
BATCH = 512


class Monitor:
    """Watches this network namespace.

    Args:
        own_port: asked for the port id of the socket whose changes are our own.
        on_route: called for each route that somebody else added, changed or deleted: the route, whether it is gone, and
            the port id of who did it (see `processes`; 0 is the kernel itself).
        on_node: called when a link, an address, a policy rule or a nexthop object came, changed or went; True when
            routes may have gone with it unsaid.
        on_overflow: called when notifications were lost and watching has started anew: everything must be read again.
    """

    def __init__(
        self,
        own_port: Callable[[], int],
        on_route: Callable[[DecodedRoute, bool, int], None],
        on_node: Callable[[bool], None],
        on_overflow: Callable[[], None],
    ) -> None:
        self._own_port = own_port
        self._on_route = on_route
        self._on_node = on_node
        self._on_overflow = on_overflow
        self._socket: NetlinkSocket | None = None
        self._decoder = RouteDecoder()

    def start(self) -> None:
        """Start to watch, in the running event loop."""
        self._socket = NetlinkSocket(groups=GROUPS, buffer=BUFFER)
        self._socket.ignore(self._own_port())
        asyncio.get_running_loop().add_reader(self._socket.fileno(), self._read)

    def own_port_changed(self) -> None:
        """Our own changes come from another port from now on."""
        if self._socket is not None:
            self._socket.ignore(self._own_port())

    def stop(self) -> None:
        """Stop watching."""
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket.fileno())
            self._socket.close()
            self._socket = None

    def _read(self) -> None:
        if self._socket is None:
            return
        try:
            for _ in range(BATCH):
                datagram = self._socket.receive()
                if datagram is None:
                    return
                self._take(datagram)
        except OSError as error:
            if not lost_messages(error):
                logger.exception("The socket that watches the kernel failed; opening a new one")
            # Watch again first, read everything after: so nothing falls between the two.
            self.stop()
            self.start()
            self._on_overflow()

    def _take(self, datagram: bytes) -> None:
        node_changed = lossy = False
        for message in messages(datagram):
            if message.kind not in {RTM_NEWROUTE, RTM_DELROUTE}:
                node_changed = True
                lossy = lossy or _takes_routes_along(message)
            elif message.port != self._own_port() and (route := self._decoder.decode(message.body)):
                self._on_route(route, message.kind == RTM_DELROUTE, message.port)
        if node_changed:
            self._on_node(lossy)


def _takes_routes_along(message: Message) -> bool:
    """Whether the kernel drops IPv4 routes, or the source of IPv6 ones, without telling of each, when it sends this."""
    if message.kind == RTM_NEWLINK:
        return not link_is_up(message.body)
    return message.kind in {RTM_DELLINK, RTM_DELADDR, RTM_DELNEXTHOP}
