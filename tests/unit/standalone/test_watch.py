"""The moments at which a directory of manifests may have changed."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import watchfiles

from static_route_operator.standalone import watch
from static_route_operator.standalone.watch import DirectoryWatch


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second is a moment."""
    monkeypatch.setattr(watch, "PERIOD", 0.05)
    monkeypatch.setattr(watch, "DEBOUNCE", 10)
    monkeypatch.setattr(watch, "SHARE", 1.0)


@contextlib.asynccontextmanager
async def _watching(directory: Path) -> AsyncIterator[AsyncGenerator[bool]]:
    async with contextlib.aclosing(DirectoryWatch(directory).ticks()) as ticks:
        assert await anext(ticks)
        yield ticks


async def _changes(ticks: AsyncGenerator[bool]) -> None:
    """Wait until a change is noticed."""
    async with asyncio.timeout(10):
        while not await anext(ticks):
            pass


async def _rests(ticks: AsyncGenerator[bool]) -> None:
    """Wait until nothing is noticed for some time."""
    async with asyncio.timeout(10):
        while any([await anext(ticks) for _ in range(4)]):
            pass


async def test_changes_of_the_directory_and_its_path_are_noticed(tmp_path: Path) -> None:
    """Files, the directory itself and the links of its path are followed, and nothing is noticed at rest."""
    for name in ("1", "2"):
        (tmp_path / name).mkdir()
    link = tmp_path / "current"
    link.symlink_to("1")
    async with _watching(link) as ticks:
        await _rests(ticks)
        (tmp_path / "1/a.yaml").write_text("a")
        await _changes(ticks)
        await _rests(ticks)
        (tmp_path / "1/a.yaml").chmod(0o600)
        await _changes(ticks)
        await _rests(ticks)
        (tmp_path / "new").symlink_to("2")
        (tmp_path / "new").rename(link)
        await _changes(ticks)
        await _rests(ticks)
        (tmp_path / "2/a.yaml").write_text("a")
        await _changes(ticks)
        await _rests(ticks)
        link.unlink()
        await _changes(ticks)
        await _rests(ticks)
        link.mkdir()
        await _changes(ticks)


async def test_targets_of_links_are_noticed(tmp_path: Path) -> None:
    """A change of the file that a link leads to, which lies elsewhere, is noticed."""
    directory, target = tmp_path / "directory", tmp_path / "target"
    directory.mkdir()
    target.write_text("a")
    (directory / "a.yaml").symlink_to(target)
    async with _watching(directory) as ticks:
        await _rests(ticks)
        target.write_text("other")
        await _changes(ticks)
        await _rests(ticks)
        target.unlink()
        await _changes(ticks)


async def test_kernel_without_notifications_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Where no notification comes, as without a free inotify watch, changes are found all the same."""

    async def awatch(*_: Any, **__: Any) -> AsyncGenerator[set[Any]]:
        yield set()
        raise OSError("no space left on device")

    monkeypatch.setattr(watchfiles, "awatch", awatch)
    async with _watching(tmp_path) as ticks:
        await _rests(ticks)
        (tmp_path / "a.yaml").write_text("a")
        await _changes(ticks)
        await _rests(ticks)

    (told,) = [record.getMessage() for record in caplog.records]
    assert told.startswith(f"The kernel does not notify of changes in {tmp_path}: no space left on device; they are")


async def test_directory_made_again_is_another_one(tmp_path: Path) -> None:
    """A directory that is removed and made again in a moment, perhaps with the same inode, is told and followed."""
    directory = tmp_path / "directory"
    directory.mkdir()
    lost = asyncio.Event()
    async with contextlib.aclosing(DirectoryWatch(directory, lost.set).ticks()) as ticks:
        await _rests(ticks)
        directory.rmdir()
        directory.mkdir()
        await _changes(ticks)
        assert lost.is_set()
        await _rests(ticks)
        (directory / "a.yaml").write_text("a")
        await _changes(ticks)
