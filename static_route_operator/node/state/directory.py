"""The state directory of a node: what is kept there, by a thread of its own, so that no disk holds up a route.

The snapshot is written some time after a change, once for many. What is on trial is written before it is applied, or at
least at the same time, since this process may be killed in between; it reaches the disk only if the trial lasts.
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
    pack_snapshot,
    pack_trials,
    unpack_snapshot,
    unpack_trials,
)

logger = logging.getLogger(__name__)

# What the files hold, and in which version of the form: one that another version of this program wrote is not read.
SNAPSHOT = "snapshot 1"
TRIALS = "trials 1"

# From a change to its snapshot: many changes become one. Seconds.
COALESCE = 1.0
# What could not be written is tried again after this. Seconds.
RETRY = 60.0
# A change waits no longer than this until what it puts on trial is written. Seconds.
PATIENCE = 0.005
# At the end this is waited for what is still to be written. Seconds.
LAST_WORDS = 5.0
# A trial that lasts for so long is worth to be put on the disk. Seconds.
LASTING = 1.0


class StateDirectory:
    """The files of one node, in the running event loop.

    Args:
        path: of the directory, which is made if it is not there.
        node: name of the node: several may share a directory, and none takes the state of another for its own.
    """

    def __init__(self, path: Path, node: str) -> None:
        self._path = path
        self._snapshot_file = path / f"{node}.snapshot"
        self._trials_file = path / f"{node}.trials"
        # One thread: what is asked for is done in order.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="state")
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._snapshot: Callable[[], Snapshot] | None = None
        self._saving: asyncio.Task[bool] | None = None
        self._failing = False
        self._cleared = self._closed = False

    def load(self) -> tuple[Snapshot, list[UnconfirmedChange]]:
        """What was kept last, and what was on trial; nothing of what can't be used, which is told."""
        snapshot, trials = Snapshot(), list[UnconfirmedChange]()
        try:
            if (payload := read_whole(self._snapshot_file, SNAPSHOT)) is not None:
                snapshot = _unpacked(self._snapshot_file, unpack_snapshot, payload)
        except (OSError, StateFileError) as error:
            logger.warning("The last known good routes are not used; they wait for the API server: %s", error)
        try:
            if (payload := read_whole(self._trials_file, TRIALS)) is not None:
                trials = _unpacked(self._trials_file, unpack_trials, payload)
        except (OSError, StateFileError) as error:
            logger.warning("Whether any change was on trial is not known: %s", error)
        return snapshot, trials

    def keep(self, snapshot: Callable[[], Snapshot]) -> None:
        """Write a snapshot soon.

        Args:
            snapshot: asked for it when it is written.
        """
        if self._cleared:
            return
        self._snapshot = snapshot
        self._after("save", COALESCE, self._save_soon)

    async def save(self) -> bool:
        """Write the snapshot now, if one is to be written; whether all is on the disk."""
        if (ask := self._snapshot) is None:
            return True
        self._snapshot = None
        snapshot = ask()
        try:
            await self._do(lambda: self._write(self._snapshot_file, SNAPSHOT, pack_snapshot(snapshot), sync=True))
        except OSError as error:
            self._failed(error)
            self._snapshot = self._snapshot or ask
            self._after("save", RETRY, self._save_soon)
            return False
        if self._failing:
            logger.info("The state of this node can be kept again in %s", self._path)
        self._failing = False
        return True

    async def hold(self, trials: Sequence[UnconfirmedChange]) -> None:
        """Write down what is on trial, in place of what was; for so long as a change may wait for it."""
        if self._cleared:
            return
        writing = self._do(lambda: self._hold(trials))
        writing.add_done_callback(self._held)
        if trials:
            self._after("sync", LASTING, lambda: writing.get_loop().create_task(self._sync_trials()))
            await asyncio.wait({writing}, timeout=PATIENCE)
        elif timer := self._timers.pop("sync", None):
            timer.cancel()

    async def clear(self) -> None:
        """Remove all that is kept, for good: nothing is kept any more."""
        self._cleared = True
        self._snapshot = None
        self._stop_timers()
        try:
            await self._do(self._clear)
        except OSError as error:
            logger.warning("The state of this node can't be removed: %s: remove %s by hand", error, self._path)

    async def close(self) -> None:
        """Write what is still to be written, and end, unless that was done."""
        if self._closed:
            return
        self._closed = True
        pending = self._snapshot is not None
        self._stop_timers()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LAST_WORDS):
                if pending:
                    await self.save()
                # What was asked for before is done by then.
                await self._do(_nothing)
        self._stop_timers()
        self._thread.shutdown(wait=False)

    def _do(self, work: Callable[[], None]) -> asyncio.Future[None]:
        """Have the thread do something, after all that it was asked for before this call."""
        return asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _save_soon(self) -> None:
        self._saving = asyncio.get_running_loop().create_task(self.save())

    def _write(self, file: Path, kind: str, payload: bytes, *, sync: bool) -> None:
        self._path.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_whole(file, kind, payload, sync=sync)

    def _hold(self, trials: Sequence[UnconfirmedChange]) -> None:
        if trials:
            self._write(self._trials_file, TRIALS, pack_trials(trials), sync=False)
        else:
            self._trials_file.unlink(missing_ok=True)

    def _held(self, writing: asyncio.Future[None]) -> None:
        if not writing.cancelled() and (error := writing.exception()) is not None:
            self._failed(error)

    async def _sync_trials(self) -> None:
        with contextlib.suppress(OSError):
            await self._do(lambda: sync_file(self._trials_file))

    def _clear(self) -> None:
        for file in (self._snapshot_file, self._trials_file):
            file.unlink(missing_ok=True)

    def _failed(self, error: BaseException) -> None:
        if not self._failing:
            logger.warning(
                "The state of this node can't be kept: %s; after a reboot its routes wait for the API server", error
            )
        self._failing = True

    def _after(self, name: str, delay: float, action: Callable[[], object]) -> None:
        """Call an action later, unless it is due already."""
        loop = asyncio.get_running_loop()
        timer = self._timers.get(name)
        if timer is None or timer.cancelled() or timer.when() <= loop.time():
            self._timers[name] = loop.call_later(delay, action)

    def _stop_timers(self) -> None:
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()


def _nothing() -> None:
    """All that was asked for before is done."""


_T = TypeVar("_T")


def _unpacked(file: Path, unpack: Callable[[bytes], _T], payload: bytes) -> _T:
    try:
        return unpack(payload)
    except SnapshotError as error:
        raise StateFileError(f"{file} can't be read: {error}") from error
