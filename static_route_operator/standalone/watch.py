"""The moments at which a directory of manifests may have changed.

The kernel notifies of changes in a directory, at once. It does not notify of a change of the path that leads to the
directory (a link that a deploy tool switches, a directory renamed over it, a mount), of the files that links in the
directory lead to, or of changes on most network file systems. So the state of the directory and its files is also
compared every second, and all contents are read at a slow interval.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Callable
from pathlib import Path

from static_route_operator.standalone.manifests import Fingerprint, look
from static_route_operator.supervision import in_daemon_thread

logger = logging.getLogger(__name__)

# Milliseconds in which changes of files are collected: files written together are read together.
DEBOUNCE = 100
# Seconds between comparisons of the state of the directory.
PERIOD = 1.0
# Share of the time that comparisons may take: with thousands of files they are rarer.
SHARE = 0.02


class DirectoryWatch:
    """Watch of a directory of manifests, in the running event loop.

    Args:
        directory: the directory, or a link to it.
        on_lost: called when the directory was removed: another one in its place may have its inode number.
    """

    def __init__(self, directory: Path, on_lost: Callable[[], None] = lambda: None) -> None:
        self._directory = directory
        self._on_lost = on_lost
        self._lost = False
        self._notified = True
        self._due = 0.0

    async def ticks(self) -> AsyncGenerator[bool]:
        """Yield every second, and at each notification; True when something may have changed, and the first time."""
        while True:
            self._lost = False
            known = await self._look()
            yield True
            async with contextlib.aclosing(self._notifications(known)) as notifications:
                async for notified in notifications:
                    if not notified and asyncio.get_running_loop().time() < self._due:
                        yield False
                        continue
                    known, before = await self._look(), known
                    yield notified or known != before
                    if self._lost or known.directory != before.directory:
                        break

    async def _look(self) -> Fingerprint:
        loop = asyncio.get_running_loop()
        started = loop.time()
        state = await in_daemon_thread(lambda: look(self._directory))
        self._due = loop.time() + (loop.time() - started) / SHARE
        return state

    async def _notifications(self, state: Fingerprint) -> AsyncGenerator[bool]:
        """Yield True at each notification, and False every second without one."""
        if state.directory:
            # Needed here alone.
            from watchfiles import Change, awatch  # noqa: PLC0415

            try:
                async for found in awatch(
                    self._directory,
                    debounce=DEBOUNCE,
                    step=DEBOUNCE // 2,
                    rust_timeout=int(PERIOD * 1000),
                    yield_on_timeout=True,
                    recursive=False,
                    watch_filter=None,
                ):
                    self._notified = True
                    if (Change.deleted, str(self._directory)) in found:
                        self._lost = True
                        self._on_lost()
                    yield bool(found)
            except Exception as error:  # noqa: BLE001  its Rust part has errors of its own, as for too few watches
                if self._notified:
                    logger.warning(
                        "The kernel does not notify of changes in %s: %s; they are found every second instead",
                        self._directory,
                        error,
                    )
                self._notified = False
        while True:
            await asyncio.sleep(PERIOD)
            yield False
