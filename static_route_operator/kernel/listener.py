"""Socket for notifications of the kernel, replaced by a new one when some were lost."""

import asyncio
from collections.abc import Callable

from static_route_operator.kernel.netlink import NetlinkSocket
from static_route_operator.supervision import AROUND, Backoff

# Datagrams to read before other tasks get a turn.
BATCH = 512
# Seconds until a socket that can't be opened, such as for a lack of descriptors, is tried again: the first pause, which
# doubles up to the last.
FIRST_RETRY = 0.5
LAST_RETRY = 30.0


class Listener:
    """A netlink socket in multicast groups.

    Args:
        groups: bits of the groups.
        buffer: bytes of receive buffer.
        on_datagram: called with each datagram.
        on_loss: called when notifications were lost or the socket failed. The new socket listens already, so whatever
            is read from then on is not older than its first notification. Called too, again and again, while there is
            no new socket to be had: nothing is notified then.
        ignored: returns the port id of the socket whose changes are not notified; None for no such socket.
    """

    def __init__(
        self,
        groups: int,
        buffer: int,
        on_datagram: Callable[[bytes], None],
        on_loss: Callable[[OSError], None],
        ignored: Callable[[], int] | None = None,
    ) -> None:
        self._groups = groups
        self._buffer = buffer
        self._on_datagram = on_datagram
        self._on_loss = on_loss
        self._ignored = ignored
        self._socket: NetlinkSocket | None = None
        self._retry: asyncio.TimerHandle | None = None
        self._pauses = Backoff(FIRST_RETRY, LAST_RETRY, AROUND)

    @property
    def running(self) -> bool:
        """True between start and stop."""
        return self._socket is not None or self._retry is not None

    def start(self) -> None:
        """Listen, in the running event loop. If there is no socket to be had now, it is tried again and again."""
        try:
            self._open()
        except OSError as error:
            self._wait(error)

    def ignore(self) -> None:
        """Ignore the changes of the port that is to be ignored now."""
        if self._socket is not None and self._ignored is not None:
            self._socket.ignore(self._ignored())

    def drain(self) -> None:
        """Read the datagrams that have come."""
        if self._socket is not None:
            self._read()

    def stop(self) -> None:
        """Close the socket."""
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        self._close()

    def _open(self) -> None:
        self._socket = NetlinkSocket(groups=self._groups, buffer=self._buffer)
        self.ignore()
        self._pauses.reset()
        asyncio.get_running_loop().add_reader(self._socket.fileno(), self._read)

    def _close(self) -> None:
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket.fileno())
            self._socket.close()
            self._socket = None

    def _read(self) -> None:
        try:
            for _ in range(BATCH):
                # A callback may have stopped this listener.
                datagram = self._socket.receive() if self._socket is not None else None
                if datagram is None:
                    return
                self._on_datagram(datagram)
        except OSError as error:
            self._close()
            self._reopen(error)

    def _reopen(self, error: OSError) -> None:
        """Open a new socket after an error, now or later, and tell of the loss."""
        self._retry = None
        try:
            self._open()
        except OSError as failure:
            error = failure
            self._wait(failure)
        self._on_loss(error)

    def _wait(self, error: OSError) -> None:
        self._close()
        self._retry = asyncio.get_running_loop().call_later(next(self._pauses), self._reopen, error)
