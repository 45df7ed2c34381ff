"""The lock by which one engine at a time keeps the routes of a host."""

import asyncio
import logging
import os
import secrets
import socket
from collections.abc import Iterator

import pytest

from static_route_operator.node import hostlock
from static_route_operator.node.hostlock import Holder, HostHeldError, HostLock


@pytest.fixture(autouse=True)
def names(monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    """Names that no engine of this machine has, and no patience."""
    unique = secrets.token_hex(8)
    names = tuple(f"\0static-route-operator/test/{unique}/{number}" for number in range(3))
    monkeypatch.setattr(hostlock, "NAMES", names)
    monkeypatch.setattr(hostlock, "PAUSE", 0.01)
    monkeypatch.setattr(hostlock, "SILENCE", 0.05)
    monkeypatch.setattr(hostlock, "ANSWER", 0.2)
    return names


@pytest.fixture
def taken(names: tuple[str, ...]) -> Iterator[list[socket.socket]]:
    """Sockets of somebody else; closed in the end."""
    sockets: list[socket.socket] = []
    yield sockets
    for each in sockets:
        each.close()


def _take(name: str, *, listens: bool) -> socket.socket:
    taken = socket.socket(socket.AF_UNIX)
    taken.bind(name)
    if listens:
        taken.listen(1)
    return taken


async def _hold(description: str = "first") -> HostLock:
    lock = HostLock(description)
    assert await lock.acquire(asyncio.Event())
    return lock


async def test_second_is_refused_with_the_name_of_the_first() -> None:
    """Who holds the lock is named by process id and in its own words, and a second holder is refused."""
    first = await _hold("`run --manifests /etc/routes`")

    with pytest.raises(HostHeldError) as caught:
        await HostLock("second").acquire(asyncio.Event(), 0.05)

    assert str(caught.value) == (
        f"another engine keeps the routes of this host: pid {os.getpid()}, `run --manifests /etc/routes`; stop it"
        " first: one engine per host"
    )
    first.release()


async def test_second_waits_for_the_end_of_the_first(caplog: pytest.LogCaptureFixture) -> None:
    """A lock that becomes free is taken; both are said once."""
    caplog.set_level(logging.INFO)
    first, second = await _hold(), HostLock("second")
    waiting = asyncio.create_task(second.acquire(asyncio.Event()))
    await asyncio.sleep(0.1)
    assert not waiting.done()
    first.release()

    assert await waiting
    second.release()
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]


async def test_wait_ends_on_request() -> None:
    """Who waits and is asked to stop does not get the lock."""
    first, stop = await _hold(), asyncio.Event()
    asyncio.get_running_loop().call_later(0.05, stop.set)

    assert not await HostLock("second").acquire(stop)
    first.release()


async def test_many_at_once_have_one_winner() -> None:
    """Of several that start in the same moment one gets the lock."""
    locks = [HostLock(str(number)) for number in range(5)]
    holders = await asyncio.gather(*(lock.take() for lock in locks))

    assert holders.count(None) == 1
    locks[holders.index(None)].release()


@pytest.mark.parametrize("listens", [False, True])
async def test_name_taken_by_somebody_else_stops_nothing(
    names: tuple[str, ...],
    taken: list[socket.socket],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    listens: bool,
) -> None:
    """A name that another user has taken is passed over, said, and others still find the lock at its next name."""
    taken.append(_take(names[0], listens=listens))
    monkeypatch.setattr(Holder, "counts", property(lambda holder: holder.description == "first" or not listens))
    if listens:
        monkeypatch.setattr(hostlock, "_ask", _asker(names[0]))
    first = await _hold()

    assert "A process that is no engine has the name" in caplog.text
    with pytest.raises(HostHeldError, match="first"):
        await HostLock("second").acquire(asyncio.Event(), 0.0)
    first.release()


def _asker(squatted: str) -> object:
    ask = hostlock._ask

    async def asked(name: str) -> Holder | None:
        return Holder(7, 65534) if name == squatted else Holder(1, 0, "first") if await ask(name) else None

    return asked


async def test_all_names_taken_stop_nothing(
    names: tuple[str, ...], taken: list[socket.socket], caplog: pytest.LogCaptureFixture
) -> None:
    """Another user can't keep an engine from starting: it goes on without the lock, and says so."""
    taken += [_take(name, listens=False) for name in names]

    assert await HostLock("first").acquire(asyncio.Event(), 1.0)
    assert "No name is left by which another engine on this host would be found" in caplog.text


@pytest.mark.parametrize(("uid", "counts"), [(0, True), (os.geteuid(), True), (65533, False)])
def test_only_root_and_this_user_count(uid: int, counts: bool) -> None:
    """A process of another user can't change routes, so its claim does not count."""
    assert Holder(1, uid).counts is counts


def test_holder_without_words_is_named_by_its_command() -> None:
    """A holder that does not describe itself, since it is busy, is named by its command line."""
    assert str(Holder(os.getpid(), 0)).startswith(f"pid {os.getpid()}, '")
    assert str(Holder(0, 0, "agent of node a")) == "a process of another container, agent of node a"
