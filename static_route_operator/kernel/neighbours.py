"""Neighbours: gateways that the kernel calls FAILED, and links that go down, before any probe notices."""

import logging
import os
import socket
import struct
from collections.abc import Callable

from pyroute2.netlink.rtnl import RTM_GETNEIGH, RTM_NEWNEIGH, RTMGRP_LINK, RTMGRP_NEIGH
from pyroute2.netlink.rtnl.ndmsg import NUD_DELAY, NUD_FAILED, NUD_PROBE, NUD_REACHABLE, NUD_STALE

from static_route_operator.kernel.interfaces import RTM_DELLINK, RTM_NEWLINK, decode_link_state
from static_route_operator.kernel.listener import Listener
from static_route_operator.kernel.netlink import (
    HEADER,
    NLM_F_REQUEST,
    Message,
    NetlinkSocket,
    attributes,
    messages,
    pack_attribute,
)
from static_route_operator.kernel.unreadable import read
from static_route_operator.routing.prefixes import family_of

logger = logging.getLogger(__name__)

# Bytes of receive buffer.
BUFFER = 4 << 20


# family, interface, state, flags, type
_NDMSG = struct.Struct("=B3xiHBB")
_NDA_DST = 1
_NDA_CACHEINFO = 3
# ticks since the neighbour was confirmed, used and updated; references
_CACHEINFO = struct.Struct("=IIII")
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
# States of a neighbour that has answered.
_RESOLVED = NUD_REACHABLE | NUD_STALE | NUD_DELAY | NUD_PROBE


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
            state = read("link", decode_link_state, message.body)
            # A bridge reports its ports in a family of its own: a port that leaves is not a link that goes.
            if state is not None and state.family == socket.AF_UNSPEC:
                self._on_link(state.interface, message.kind == RTM_NEWLINK and state.up and state.carrier)
        elif message.kind == RTM_NEWNEIGH and (failed := read("neighbour", decode_failed_neighbour, message.body)):
            self._on_failed(*failed)


def decode_failed_neighbour(body: bytes) -> tuple[bytes, int] | None:
    """Return the packed address and interface index of a neighbour that does not answer; None for any other message.

    Nodes with many pods have many neighbours, and nearly all messages are about those that answer.

    Raises:
        ValueError, struct.error: the message can't be read.
    """
    family, interface, state, _, _ = _NDMSG.unpack_from(body)
    if not state & NUD_FAILED or family not in {socket.AF_INET, socket.AF_INET6}:
        return None
    address = dict(attributes(body, _NDMSG.size)).get(_NDA_DST, b"")
    if len(address) not in {4, 16}:
        raise ValueError(f"its address has {len(address)} bytes")
    return address, interface


def answered_ago(address: bytes, interface: int) -> float | None:
    """Return the seconds since a neighbour last answered ARP or neighbour discovery; None if that is not known.

    Args:
        address: packed.
        interface: index of the interface that the neighbour is on.
    """
    body = _NDMSG.pack(family_of(address), interface, 0, 0, 0) + pack_attribute(_NDA_DST, address)
    try:
        netlink = NetlinkSocket()
    except OSError:
        return None
    try:
        netlink.send(HEADER.pack(HEADER.size + len(body), RTM_GETNEIGH, NLM_F_REQUEST, 1, 0) + body)
        datagram = netlink.receive() or b""
    except OSError:
        return None
    finally:
        netlink.close()
    found = (read("neighbour", decode_answered, each.body) for each in messages(datagram) if each.kind == RTM_NEWNEIGH)
    return next(found, None)


def decode_answered(body: bytes) -> float | None:
    """Return the seconds since the neighbour in a message last answered; None if it has not.

    Raises:
        ValueError, struct.error: the message can't be read.
    """
    _, _, state, _, _ = _NDMSG.unpack_from(body)
    found = dict(attributes(body, _NDMSG.size))
    if not state & _RESOLVED or _NDA_CACHEINFO not in found:
        return None
    confirmed, _, _, _ = _CACHEINFO.unpack_from(found[_NDA_CACHEINFO])
    return float(confirmed) / _TICKS_PER_SECOND
