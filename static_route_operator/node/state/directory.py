"""The state directory of a node, written by a thread of its own, so that no disk holds up a route.

The snapshot is written some time after a change, once for many. The journal of unconfirmed changes is written before
they are applied, or at least at the same time, since this process may be killed in between. The journal is put on the
disk only if the changes stay unconfirmed for a while.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from static_route_operator.node.rollback.unconfirmed import UnconfirmedChange
from static_route_operator.node.state.files import StateFileError, read_whole, sync_file, write_whole
from static_route_operator.node.state.snapshot import (
    Snapshot,
    SnapshotError,
    pack_journal,
    pack_snapshot,
    unpack_journal,
    unpack_snapshot,
)
from static_route_operator.supervision import Timers

logger = logging.getLogger(__name__)

# Kinds of the files, with the versions of their formats. A file of another version is not read.
SNAPSHOT = "snapshot 3"
JOURNAL = "journal 1"

# Seconds from a change to its snapshot: many changes become one.
COALESCE = 1.0
# Seconds until a failed write is tried again.
RETRY = 60.0
# Seconds that a change waits for the journal.
JOURNAL_PATIENCE = 0.005
# Seconds that the end of this process waits for the last writes.
CLOSE_PATIENCE = 5.0
# Seconds after which a journal is put on the disk. Most changes are confirmed by then.
SYNC_DELAY = 1.0


class StateDirectory:
    """The files of one node, in the running event loop.

    Args:
        path: the directory, which is made if it is not there.
        node: name of the node. Several nodes may share a directory, and none uses the state of another.
    """

    def __init__(self, path: Path, node: str) -> None:
        self._path = path
        self._snapshot_file = path / f"{node}.snapshot"
        self._journal_file = path / f"{node}.journal"
        # One thread, so that writes keep their order.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="state")
        self._timers = Timers()
        self._snapshot: Callable[[], Snapshot] | None = None
        self._saving: asyncio.Task[bool] | None = None
        self._failing = False
        self._cleared = self._closed = False

    def load(self) -> tuple[Snapshot, list[UnconfirmedChange]]:
        """Return the last snapshot and the unconfirmed changes; empty, with a warning, where a file can't be used."""
        snapshot, changes = Snapshot(), list[UnconfirmedChange]()
        try:
            if (payload := read_whole(self._snapshot_file, SNAPSHOT)) is not None:
                snapshot = _unpacked(self._snapshot_file, unpack_snapshot, payload)
        except (OSError, StateFileError) as error:
            logger.warning("The last known good routes can't be used: %s", error)
        try:
            if (payload := read_whole(self._journal_file, JOURNAL)) is not None:
                changes = _unpacked(self._journal_file, unpack_journal, payload)
        except (OSError, StateFileError) as error:
            logger.warning("The journal of unconfirmed changes can't be used; none of them is rolled back: %s", error)
        return snapshot, changes

    def keep(self, snapshot: Callable[[], Snapshot]) -> None:
        """Write a snapshot soon; ``snapshot`` is called for it at that time."""
        if self._cleared:
            return
        self._snapshot = snapshot
        self._timers.after("save", COALESCE, self._save_soon)

    async def save(self) -> bool:
        """Write the snapshot now, if one is due; report whether it is on the disk."""
        if (make := self._snapshot) is None:
            return True
        self._snapshot = None
        snapshot = make()
        try:
            await self._do(lambda: self._write(self._snapshot_file, SNAPSHOT, pack_snapshot(snapshot), sync=True))
        except OSError as error:
            self._failed(error)
            self._snapshot = self._snapshot or make
            self._timers.after("save", RETRY, self._save_soon)
            return False
        if self._failing:
            logger.info("The state of this node can be written again to %s", self._path)
        self._failing = False
        return True

    async def journal(self, changes: Sequence[UnconfirmedChange]) -> None:
        """Replace the journal of unconfirmed changes, and wait for the disk no longer than a change may."""
        if self._cleared:
            return
        writing = self._do(lambda: self._write_journal(changes))
        writing.add_done_callback(self._journal_written)
        if changes:
            self._timers.after("sync", SYNC_DELAY, lambda: writing.get_loop().create_task(self._sync_journal()))
            await asyncio.wait({writing}, timeout=JOURNAL_PATIENCE)
        else:
            self._timers.cancel("sync")

    async def clear(self) -> None:
        """Remove all files, and write none from now on."""
        self._cleared = True
        self._snapshot = None
        self._timers.cancel_all()
        try:
            await self._do(self._clear)
        except OSError as error:
            logger.warning("The state of this node can't be removed: %s; remove %s by hand", error, self._path)

    async def close(self) -> None:
        """Finish all writes, and stop the thread; a second call does nothing."""
        if self._closed:
            return
        self._closed = True
        pending = self._snapshot is not None
        self._timers.cancel_all()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_PATIENCE):
                if pending:
                    await self.save()
                # The thread works in order: all earlier writes are done by then.
                await self._do(_nothing)
        self._timers.cancel_all()
        self._thread.shutdown(wait=False)

    def _do(self, work: Callable[[], None]) -> asyncio.Future[None]:
        """Have the thread do some work, after all earlier work."""
        return asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _save_soon(self) -> None:
        self._saving = asyncio.get_running_loop().create_task(self.save())

    def _write(self, file: Path, kind: str, payload: bytes, *, sync: bool) -> None:
        self._path.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_whole(file, kind, payload, sync=sync)

    def _write_journal(self, changes: Sequence[UnconfirmedChange]) -> None:
        if changes:
            self._write(self._journal_file, JOURNAL, pack_journal(changes), sync=False)
        else:
            self._journal_file.unlink(missing_ok=True)

    def _journal_written(self, writing: asyncio.Future[None]) -> None:
        if not writing.cancelled() and (error := writing.exception()) is not None:
            self._failed(error)

    async def _sync_journal(self) -> None:
        with contextlib.suppress(OSError):
            await self._do(lambda: sync_file(self._journal_file))

    def _clear(self) -> None:
        for file in (self._snapshot_file, self._journal_file):
            file.unlink(missing_ok=True)

    def _failed(self, error: BaseException) -> None:
        if not self._failing:
            logger.warning(
                "The state of this node can't be written: %s; the next start does not know which versions are good",
                error,
            )
        self._failing = True


def _nothing() -> None:
    """Do nothing: the work before is done by then."""


_T = TypeVar("_T")


def _unpacked(file: Path, unpack: Callable[[bytes], _T], payload: bytes) -> _T:
    try:
        return unpack(payload)
    except SnapshotError as error:
        raise StateFileError(f"{file} can't be read: {error}") from error
