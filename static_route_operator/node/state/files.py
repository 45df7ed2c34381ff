"""Small files that are whole or not there: written aside, checksummed, and put in place by a rename."""

import contextlib
import os
import zlib
from pathlib import Path

from static_route_operator.errors import StaticRouteError

_MAGIC = "static-route-operator"


class StateFileError(StaticRouteError):
    """A file of the state directory that can't be used. The text names it and says why."""


def write_whole(path: Path, kind: str, payload: bytes, *, sync: bool) -> None:
    """Write a file in place of what there was.

    Args:
        path: of the file.
        kind: what it holds, and in which version of the format: one word each.
        payload: its content.
        sync: whether it must be on the disk when this returns; else it outlives this process, but may not outlive the
            machine.

    Raises:
        OSError: it can't be written; what there was is still there.
    """
    aside = path.with_suffix(path.suffix + ".new")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(f"{_MAGIC} {kind}\n{zlib.crc32(payload):08x} {len(payload)}\n".encode())
            file.write(payload)
            file.flush()
            if sync:
                os.fsync(file.fileno())
        aside.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            aside.unlink()
        raise
    if sync:
        sync_file(path.parent)


def sync_file(path: Path) -> None:
    """See to it that a file, or which files a directory has, is on the disk.

    Raises:
        OSError: it can't be done, or it is not there.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_whole(path: Path, kind: str) -> bytes | None:
    """The content of a file; None when there is none.

    Raises:
        StateFileError: it is not of this kind and version, or damaged.
        OSError: it can't be read.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    first, _, rest = data.partition(b"\n")
    if first != f"{_MAGIC} {kind}".encode():
        raise StateFileError(f"{path} is none of this version: it begins with {first[:40]!r}, not {_MAGIC} {kind}")
    checksum, _, payload = rest.partition(b"\n")
    if checksum != f"{zlib.crc32(payload):08x} {len(payload)}".encode():
        raise StateFileError(f"{path} is damaged: its checksum is not that of its content")
    return payload
