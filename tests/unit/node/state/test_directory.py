"""The state directory: what is kept there, and what follows from a disk that fails."""

import asyncio
import errno
import functools
import logging
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from static_route_operator.api.nodeselector import Node
from static_route_operator.node.rollback.unconfirmed import UnconfirmedChange
from static_route_operator.node.state import directory as module
from static_route_operator.node.state.directory import StateDirectory
from static_route_operator.node.state.files import write_whole
from static_route_operator.node.state.snapshot import Snapshot
from tests.unit.builders import resolved

SNAPSHOT = Snapshot(Node("node1"), ((resolved(), 7),))
CHANGES = [UnconfirmedChange(resolved(generation=2), resolved())]


def _with(
    path: Path, work: Callable[[StateDirectory], Coroutine[Any, Any, None]]
) -> tuple[Snapshot, list[UnconfirmedChange]]:
    """Return the state that the next process finds after this work."""

    async def run() -> None:
        state = StateDirectory(path, "node1")
        await work(state)
        await state.close()

    asyncio.run(run())

    async def load() -> tuple[Snapshot, list[UnconfirmedChange]]:
        return StateDirectory(path, "node1").load()

    return asyncio.run(load())


async def _keep(state: StateDirectory) -> None:
    state.keep(lambda: SNAPSHOT)


def test_kept(tmp_path: Path) -> None:
    """What is kept is there for the next process, though it ends before the snapshot was due."""
    assert _with(tmp_path / "made" / "first", _keep) == (SNAPSHOT, [])


def test_many_changes_are_written_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many changes in a short time cause one snapshot, of the last."""
    monkeypatch.setattr(module, "COALESCE", 0.05)
    asked: list[int] = []

    def snapshot(number: int) -> Snapshot:
        asked.append(number)
        return SNAPSHOT

    async def keep(state: StateDirectory) -> None:
        for number in range(100):
            state.keep(functools.partial(snapshot, number))
        await asyncio.sleep(0.5)

    assert _with(tmp_path, keep) == (SNAPSHOT, [])
    assert asked == [99]


def test_journal(tmp_path: Path) -> None:
    """Unconfirmed changes are there when the process is killed at once, and gone once none is unconfirmed."""

    async def journal(state: StateDirectory) -> None:
        await state.journal(CHANGES)
        assert state.load() == (Snapshot(), CHANGES)
        await state.journal([])

    assert _with(tmp_path, journal) == (Snapshot(), [])


def test_removed(tmp_path: Path) -> None:
    """After a removal nothing is there, and nothing comes to be there any more."""

    async def clear(state: StateDirectory) -> None:
        await _keep(state)
        await state.save()
        await state.journal(CHANGES)
        await state.clear()
        await _keep(state)
        await state.journal(CHANGES)

    assert _with(tmp_path, clear) == (Snapshot(), [])
    assert list(tmp_path.iterdir()) == []


def test_of_another_node(tmp_path: Path) -> None:
    """The state of another node, as in an image that was taken of its disk, is not used."""
    _with(tmp_path, _keep)

    async def load() -> tuple[Snapshot, list[UnconfirmedChange]]:
        return StateDirectory(tmp_path, "node2").load()

    assert asyncio.run(load()) == (Snapshot(), [])


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_disk_that_can_not_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: int
) -> None:
    """A full or read-only disk is reported once and holds up nothing; once it works again, everything is kept."""
    caplog.set_level(logging.INFO)
    write = write_whole

    def fail(*_: object, **__: object) -> None:
        raise OSError(error, "it fails")

    async def work(state: StateDirectory) -> None:
        monkeypatch.setattr(module, "write_whole", fail)
        await state.journal(CHANGES)
        await _keep(state)
        assert not await state.save()
        assert not await state.save()
        monkeypatch.setattr(module, "write_whole", write)

    assert _with(tmp_path, work) == (SNAPSHOT, [])
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    assert "can't be written: [Errno" in caplog.text


def test_damaged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Files that are damaged, or whole but of unknown form, are reported and not used."""
    _with(tmp_path, _keep)
    file = tmp_path / "node1.snapshot"
    file.write_bytes(file.read_bytes()[:-1])
    write_whole(tmp_path / "node1.journal", module.JOURNAL, b'{"changes": 1}\n', sync=False)

    async def nothing(_: StateDirectory) -> None:
        pass

    assert _with(tmp_path, nothing) == (Snapshot(), [])
    assert "node1.snapshot is damaged" in caplog.text
    assert "node1.journal can't be read" in caplog.text


def test_a_slow_disk_holds_up_no_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A change does not wait for a disk that does not answer."""
    release: list[bool] = []

    def stuck(*_: object, **__: object) -> None:
        while not release:
            pass

    async def journal(state: StateDirectory) -> None:
        monkeypatch.setattr(module, "write_whole", stuck)
        await state.journal(CHANGES)
        release.append(True)

    _with(tmp_path, journal)
