"""The lock by which one engine at a time keeps the routes of a network namespace.

Routes belong to a network namespace, and so do the names of abstract Unix sockets. So a pod with host networking and a
process of the host meet at the same name, although they see neither each other's files nor each other's processes. The
kernel frees the name when its holder ends, however it ends, and tells who the holder is.

Any user may take a name. A holder counts only if it is root or the user of this process: others can't change routes,
and this process takes the next name instead. A user who takes all names keeps nobody from starting; then two engines no
longer notice each other, and the log says so.
"""

import asyncio
import contextlib
import errno
import logging
import os
import re
import socket
import struct
from dataclasses import dataclass
from pathlib import Path

from static_route_operator.errors import StaticRouteError, shown

logger = logging.getLogger(__name__)

# Names, the first of which is free unless another user plays a trick.
NAMES = tuple(f"\0static-route-operator/engine/{number}" for number in range(8))

# Seconds between two looks at a name that another process holds.
PAUSE = 0.2
# Seconds after which a process that holds a name without answering is none of this program.
SILENCE = 1.0
# Seconds that a holder, which does nothing else then, has for its description.
ANSWER = 1.0
# Bytes of a description.
MOST_BYTES = 400

_POD = re.compile(r"pod([0-9a-f]{8}(?:[-_][0-9a-f]{4}){3}[-_][0-9a-f]{12})")


class HostHeldError(StaticRouteError):
    """A host whose routes another process keeps. The text names the process."""


@dataclass(frozen=True, slots=True)
class Holder:
    """The process that holds a name.

    Attributes:
        pid: 0 when the process is in a PID namespace that this one can't see.
        uid: its user.
        description: its own words.
    """

    pid: int
    uid: int
    description: str = ""

    @property
    def counts(self) -> bool:
        """Report whether the process may be an engine."""
        return self.uid in {0, os.geteuid()}

    def __str__(self) -> str:
        about = [self.description or self._command, self._pod]
        return (f"pid {self.pid}" if self.pid else "a process of another container") + "".join(
            f", {each}" for each in about if each
        )

    @property
    def _command(self) -> str:
        with contextlib.suppress(OSError):
            words = Path(f"/proc/{self.pid}/cmdline").read_bytes()[:MOST_BYTES].replace(b"\0", b" ")
            return shown(words.decode(errors="replace").strip(), MOST_BYTES)
        return ""

    @property
    def _pod(self) -> str:
        with contextlib.suppress(OSError):
            if match := _POD.search(Path(f"/proc/{self.pid}/cgroup").read_text(errors="replace")):
                return f"pod with uid {match[1].replace('_', '-')}"
        return ""


class HostLock:
    """The lock of this network namespace, in the running event loop.

    Args:
        description: of this process, for others that find the lock held.
    """

    def __init__(self, description: str) -> None:
        self._description = description.encode(errors="replace")[:MOST_BYTES]
        self._socket: socket.socket | None = None

    async def acquire(self, stop: asyncio.Event, patience: float | None = None) -> bool:
        """Take the lock; return False if an event is set before.

        Args:
            stop: the event.
            patience: seconds to wait for another holder to end; None waits for ever.

        Raises:
            HostHeldError: another process still holds the lock after that time.
        """
        deadline = None if patience is None else asyncio.get_running_loop().time() + patience
        told = ""
        while (holder := await self.take()) is not None:
            if deadline is not None and asyncio.get_running_loop().time() >= deadline:
                raise HostHeldError(
                    f"another engine keeps the routes of this host: {holder}; stop it first: one engine per host"
                )
            if told != (told := str(holder)):
                logger.warning("Another engine keeps the routes of this host: %s; waiting for its end", holder)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), PAUSE)
            if stop.is_set():
                return False
        if told:
            logger.info("The other engine has ended")
        return True

    async def take(self) -> Holder | None:
        """Take the lock if it is free; else return its holder."""
        for name in NAMES:
            holder = await _ask(name)
            if holder is not None and holder.counts:
                return holder
        for name in NAMES:
            try:
                self._hold(name)
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    logger.warning("Can't find out whether another engine keeps the routes of this host: %s", error)
                    return None
            else:
                return None
            # It may have taken the name just now, and not listen yet.
            holder = await _insist(name)
            if holder is not None and holder.counts:
                return holder
            logger.warning(
                "A process that is no engine has the name by which engines find each other: %s; using another name",
                f"pid {holder.pid} of user {holder.uid}" if holder else "it does not answer",
            )
        logger.warning("No name is left by which another engine on this host would be found; going on without")
        return None

    def release(self) -> None:
        """Release the lock, if it is held."""
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()
            self._socket = None

    def _hold(self, name: str) -> None:
        held = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            held.bind(name)
            held.listen(128)
        except OSError:
            held.close()
            raise
        self._socket = held
        asyncio.get_running_loop().add_reader(held, self._answer)

    def _answer(self) -> None:
        """Describe this process to one that asks."""
        if self._socket is None:
            return
        with contextlib.suppress(OSError):
            connection, _ = self._socket.accept()
            with connection:
                connection.setblocking(False)  # noqa: FBT003  the only form
                connection.send(self._description)


async def _ask(name: str) -> Holder | None:
    """Return the holder of a name; None if there is none, or if it does not listen."""
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as connection:
        try:
            connection.connect(name)
        except OSError:
            return None
        pid, uid, _ = struct.unpack("iII", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        holder = Holder(pid, uid)
        if not holder.counts:
            return holder
        try:
            async with asyncio.timeout(ANSWER):
                data = await loop.sock_recv(connection, MOST_BYTES)
        except (OSError, TimeoutError):
            return holder
        text = data.decode(errors="replace")
        return Holder(pid, uid, "".join(each for each in text if each.isprintable()))


async def _insist(name: str) -> Holder | None:
    """Return the holder of a name that is taken; None if it does not answer for a while."""
    for _ in range(int(SILENCE / PAUSE)):
        if (holder := await _ask(name)) is not None:
            return holder
        await asyncio.sleep(PAUSE)
    return None
