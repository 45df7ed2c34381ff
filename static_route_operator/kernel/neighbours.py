"""What the kernel knows of gateways before any probe tells: links that go down, neighbours that it calls FAILED."""

import asyncio
import logging
import struct
from collections.abc import Callable

from static_route_operator.kernel.interfaces import IFF_LOWER_UP, IFF_UP, IFINFOMSG, RTM_DELLINK, RTM_NEWLINK
from static_route_operator.kernel.netlink import Message, NetlinkSocket, attributes, messages

logger = logging.getLogger(__name__)

# linux/rtnetlink.h, neighbour.h and if.h: links, neighbours.
GROUPS = 0x1 | 0x4
RTM_NEWNEIGH = 28
NUD_FAILED = 0x20
NDA_DST = 1
AF_UNSPEC = 0

_NDMSG = struct.Struct("=BxxxiHBB")  # family, index, state, flags, type

BUFFER = 4 << 20
# Datagrams read before other tasks get a turn.
BATCH = 512


class Neighbours:
    """Watches links and neighbours of this network namespace.

    Args:
        on_link: called with an interface's index, and whether it can carry packets now; also when nothing changed.
        on_failed: called with the packed address of a neighbour that does not answer, and its interface's index.
    """

    def __init__(self, on_link: Callable[[int, bool], None], on_failed: Callable[[bytes, int], None]) -> None:
        self._on_link = on_link
        self._on_failed = on_failed
        self._socket: NetlinkSocket | None = None

    @property
    def running(self) -> bool:
        """Whether it watches."""
        return self._socket is not None

    def start(self) -> None:
        """Start to watch, in the running event loop."""
        self._socket = NetlinkSocket(groups=GROUPS, buffer=BUFFER)
        asyncio.get_running_loop().add_reader(self._socket.fileno(), self._read)

    def stop(self) -> None:
        """Stop watching."""
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket.fileno())
            self._socket.close()
            self._socket = None

    def _read(self) -> None:
        try:
            for _ in range(BATCH):
                datagram = self._socket.receive() if self._socket is not None else None
                if datagram is None:
                    return
                for message in messages(datagram):
                    self._take(message)
        except OSError as error:
            # What was lost the probes will find out.
            logger.warning("Notifications about neighbours were lost: %s", error)
            self.stop()
            self.start()

    def _take(self, message: Message) -> None:
        if message.kind in {RTM_NEWLINK, RTM_DELLINK}:
            family, _, index, flags, _ = IFINFOMSG.unpack_from(message.body)
            # Bridges tell of their ports in a family of their own: a port that leaves is not a link that goes.
            if family == AF_UNSPEC:
                up = IFF_UP | IFF_LOWER_UP
                self._on_link(index, message.kind == RTM_NEWLINK and flags & up == up)
        elif message.kind == RTM_NEWNEIGH:
            _, index, state, _, _ = _NDMSG.unpack_from(message.body)
            if state & NUD_FAILED and (address := dict(attributes(message.body, _NDMSG.size)).get(NDA_DST)):
                self._on_failed(address, index)
