"""Contexts that move this thread into a new network namespace, or into another one, and back.

In the same process, so that sockets under test, programs that a test starts and the test itself are all in it.
`os.unshare` does it from Python 3.12 on; this works on 3.11 too.
"""

import contextlib
import ctypes
import os
from collections.abc import Iterator
from pathlib import Path

_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}; these tests need root")


@contextlib.contextmanager
def new_network_namespace() -> Iterator[None]:
    """Enter a new namespace, which lasts as long as it has a process or a mount."""
    with _back_to_here():
        _check(_libc.unshare(_CLONE_NEWNET), "unshare")
        yield


@contextlib.contextmanager
def network_namespace_of(pid: int) -> Iterator[None]:
    """Enter the namespace of a process."""
    with _back_to_here(), Path(f"/proc/{pid}/ns/net").open("rb") as there:
        _check(_libc.setns(there.fileno(), _CLONE_NEWNET), "setns")
        yield


@contextlib.contextmanager
def _back_to_here() -> Iterator[None]:
    with Path("/proc/thread-self/ns/net").open("rb") as before:
        try:
            yield
        finally:
            _check(_libc.setns(before.fileno(), _CLONE_NEWNET), "setns")
