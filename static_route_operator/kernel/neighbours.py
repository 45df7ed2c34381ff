"""Neighbours: gateways that the kernel calls FAILED, and links that go down, before any probe notices."""

import logging
import socket
import struct
from collections.abc import Callable

from pyroute2.netlink.exceptions import NetlinkDecodeError
from pyroute2.netlink.rtnl import RTM_NEWNEIGH, RTMGRP_LINK, RTMGRP_NEIGH
from pyroute2.netlink.rtnl.ndmsg import NUD_FAILED, ndmsg

from static_route_operator.kernel.interfaces import RTM_DELLINK, RTM_NEWLINK, decode_link_state
from static_route_operator.kernel.listener import Listener
from static_route_operator.kernel.netlink import Message, messages
from static_route_operator.kernel.unreadable import pass_over

logger = logging.getLogger(__name__)

# Bytes of receive buffer.
BUFFER = 4 << 20


class _NeighbourBody(ndmsg):  # type: ignore[misc] # pyroute2 has no types
    """A message about a neighbour without the netlink header, which this package strips itself."""

    header = None


class Neighbours:
    """Watch on the links and neighbours of this network namespace.

    Args:
        on_link: called with an interface's index, and whether it can carry packets now; also when nothing changed.
        on_failed: called with the packed address of a neighbour that does not answer, and its interface's index.
    """

    def __init__(self, on_link: Callable[[int, bool], None], on_failed: Callable[[bytes, int], None]) -> None:
        self._on_link = on_link
        self._on_failed = on_failed
        self._listener = Listener(RTMGRP_LINK | RTMGRP_NEIGH, BUFFER, self._take_all, self._lost)

    @property
    def running(self) -> bool:
        """True while the watch is on."""
        return self._listener.running

    def start(self) -> None:
        """Start to watch, in the running event loop."""
        self._listener.start()

    def stop(self) -> None:
        """Stop watching."""
        self._listener.stop()

    def _lost(self, error: OSError) -> None:
        # The probes find out what the lost notifications would have said.
        logger.warning("Notifications about neighbours were lost: %s", error)

    def _take_all(self, datagram: bytes) -> None:
        for message in messages(datagram):
            self._take(message)

    def _take(self, message: Message) -> None:
        if message.kind in {RTM_NEWLINK, RTM_DELLINK}:
            state = decode_link_state(message.body)
            # A bridge reports its ports in a family of its own: a port that leaves is not a link that goes.
            if state.family == socket.AF_UNSPEC:
                self._on_link(state.interface, message.kind == RTM_NEWLINK and state.up and state.carrier)
        elif message.kind == RTM_NEWNEIGH and (failed := decode_failed_neighbour(message.body)):
            self._on_failed(*failed)


def decode_failed_neighbour(body: bytes) -> tuple[bytes, int] | None:
    """Return the packed address and interface index of a neighbour that does not answer; None for any other message."""
    message = _NeighbourBody(body, length=len(body))
    try:
        message.decode()
        if not message["state"] & NUD_FAILED or (text := message.get("NDA_DST")) is None:
            return None
        return socket.inet_pton(socket.AF_INET6 if ":" in text else socket.AF_INET, text), message["ifindex"]
    except (NetlinkDecodeError, OSError, TypeError, struct.error) as error:
        # pyroute2 hands over the bytes of an attribute that it can't read: they have the wrong type here.
        pass_over("neighbour", error)
        return None
