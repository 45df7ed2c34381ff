"""Finding and killing processes by where they are, not by a noted process id.

The kernel's own lists are never stale: they survive a crash of the lab, and no process can leave a lab's namespace or
cgroup unnoticed.
"""

import contextlib
import os
import signal
from collections.abc import Callable, Collection, Iterable
from pathlib import Path

from tests.lab.commands import wait_until


def in_namespaces(namespaces: Iterable[Path]) -> set[int]:
    """Return the ids of all processes in these network namespaces, but never our own."""
    wanted = {_identity(path) for path in namespaces}
    found = set()
    for directory in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it ended, or is a kernel thread or a zombie
            if _identity(directory / "ns/net") in wanted:
                found.add(int(directory.name))
    return found - {os.getpid()}


def program(pid: int) -> str:
    """Return the file name of the program that a process runs, or nothing if it has ended."""
    try:
        return Path(f"/proc/{pid}/exe").readlink().name
    except OSError:
        return ""


def kill(find: Callable[[], Collection[int]], what: str) -> None:
    """Kill (SIGKILL) all processes that a search finds, until it finds none: they may start others meanwhile.

    Args:
        find: the search.
        what: the processes in words, as in "the processes of node1".

    Raises:
        LabError: some are still there after 20 seconds.
    """

    def none_left() -> bool:
        pids = find()
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return not pids

    wait_until(none_left, f"{what} are gone", timeout=20)


def _identity(namespace: Path) -> tuple[int, int]:
    status = namespace.stat()
    return status.st_dev, status.st_ino
