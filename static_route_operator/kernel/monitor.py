"""Notifications of the kernel: changes that other programs make, on a socket of its own.

Notifications about routes are not enough. When an interface goes down, IPv4 routes vanish without one, and a policy
rule may lead packets to another gateway. So links, addresses, rules and nexthop objects are watched too, and each such
notification asks for a new look at the node.
"""

import logging
from collections.abc import Callable

from static_route_operator.kernel.interfaces import RTM_DELADDR, RTM_DELLINK, RTM_NEWLINK, decode_link_state
from static_route_operator.kernel.listener import Listener
from static_route_operator.kernel.messages import RTM_DELROUTE, RTM_NEWROUTE, DecodedRoute, RouteDecoder
from static_route_operator.kernel.netlink import Message, lost_messages, messages

logger = logging.getLogger(__name__)

# linux/rtnetlink.h: links, IPv4 addresses, IPv4 routes, IPv4 rules, IPv6 addresses, IPv6 routes, IPv6 rules, nexthop
# objects.
GROUPS = 0x1 | 0x10 | 0x40 | 0x80 | 0x100 | 0x400 | 1 << 18 | 1 << 31

RTM_DELNEXTHOP = 105

# Bytes of receive buffer: 100,000 changes at once fit.
BUFFER = 64 << 20


class Monitor:
    """Watch on this network namespace.

    Args:
        own_port: returns the port id of the socket whose changes are ignored.
        on_route: called for each route that another program added, changed or deleted: the route, whether it is gone,
            and the port id of the socket that asked for the change (see `processes`; 0 is the kernel itself).
        on_node: called when a link, an address, a policy rule or a nexthop object came, changed or went; True when the
            kernel may have dropped routes with it without a notification.
        on_overflow: called when notifications were lost and a new watch has started: everything must be read again.
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
        self._decoder = RouteDecoder()
        self._listener = Listener(GROUPS, BUFFER, self._take, self._lost, own_port)

    def start(self) -> None:
        """Start to watch, in the running event loop."""
        self._listener.start()

    def own_port_changed(self) -> None:
        """Ignore the changes from the new port of the request socket."""
        self._listener.ignore()

    def stop(self) -> None:
        """Stop watching."""
        self._listener.stop()

    def _lost(self, error: OSError) -> None:
        if not lost_messages(error):
            logger.error("The socket that watches the kernel failed, and a new one is open: %s", error)
        self._on_overflow()

    def _take(self, datagram: bytes) -> None:
        node_changed = lossy = False
        for message in messages(datagram):
            if message.kind not in {RTM_NEWROUTE, RTM_DELROUTE}:
                node_changed = True
                lossy = lossy or _drops_routes(message)
            elif message.port != self._own_port() and (route := self._decoder.decode(message.body)):
                self._on_route(route, message.kind == RTM_DELROUTE, message.port)
        if node_changed:
            self._on_node(lossy)


def _drops_routes(message: Message) -> bool:
    """Report whether the kernel drops IPv4 routes, or IPv6 source addresses, without a notification for each route."""
    if message.kind == RTM_NEWLINK:
        return not decode_link_state(message.body).up
    return message.kind in {RTM_DELLINK, RTM_DELADDR, RTM_DELNEXTHOP}
