"""Notifications of the kernel: changes that other programs make, on a socket of its own.

Notifications about routes are not enough. When an interface goes down, IPv4 routes vanish without one, and a policy
rule may lead packets to another gateway. So links, addresses, rules and nexthop objects are watched too.
"""

import logging
from collections.abc import Callable

from static_route_operator.kernel.listener import Listener
from static_route_operator.kernel.messages import RTM_DELROUTE, RTM_NEWROUTE, DecodedRoute, RouteDecoder
from static_route_operator.kernel.netlink import lost_messages, messages
from static_route_operator.kernel.network import Change, NetworkState

logger = logging.getLogger(__name__)

# linux/rtnetlink.h: links, IPv4 addresses, IPv4 routes, IPv4 rules, IPv6 addresses, IPv6 routes, IPv6 rules, nexthop
# objects.
GROUPS = 0x1 | 0x10 | 0x40 | 0x80 | 0x100 | 0x400 | 1 << 18 | 1 << 31

RTM_NEWNEXTHOP = 104
RTM_DELNEXTHOP = 105

# Bytes of receive buffer: 100,000 changes at once fit.
BUFFER = 64 << 20


class Monitor:
    """Watch on this network namespace.

    Args:
        own_port: returns the port id of the socket whose changes are ignored.
        network: takes in the changes of links, addresses and rules.
        on_route: called for each route that another program added, changed or deleted: the route, whether it is gone,
            and the port id of the socket that asked for the change (see `processes`; 0 is the kernel itself).
        on_change: called for each change of a link, an address, a rule or a nexthop object.
        on_overflow: called when notifications were lost and a new watch has started: everything must be read again.
    """

    def __init__(
        self,
        own_port: Callable[[], int],
        network: NetworkState,
        on_route: Callable[[DecodedRoute, bool, int], None],
        on_change: Callable[[Change], None],
        on_overflow: Callable[[], None],
    ) -> None:
        self._own_port = own_port
        self._network = network
        self._on_route = on_route
        self._on_change = on_change
        self._on_overflow = on_overflow
        self._decoder = RouteDecoder()
        self._listener = Listener(GROUPS, BUFFER, self._take, self._lost, own_port)

    def start(self) -> None:
        """Start to watch, in the running event loop."""
        self._listener.start()

    def own_port_changed(self) -> None:
        """Ignore the changes from the new port of the request socket."""
        self._listener.ignore()

    def drain(self) -> None:
        """Take in the notifications that have come: a decision on what is known is then not older than they are."""
        self._listener.drain()

    def stop(self) -> None:
        """Stop watching."""
        self._listener.stop()

    def _lost(self, error: OSError) -> None:
        if not lost_messages(error):
            logger.error("The socket that watches the kernel failed: %s", error)
        self._on_overflow()

    def _take(self, datagram: bytes) -> None:
        for message in messages(datagram):
            if message.kind in {RTM_NEWROUTE, RTM_DELROUTE}:
                if message.port != self._own_port() and (route := self._decoder.decode(message.body)):
                    self._on_route(route, message.kind == RTM_DELROUTE, message.port)
            elif message.kind in {RTM_NEWNEXTHOP, RTM_DELNEXTHOP}:
                self._on_change(Change(lossy=message.kind == RTM_DELNEXTHOP))
            elif change := self._network.apply(message):
                self._on_change(change)
