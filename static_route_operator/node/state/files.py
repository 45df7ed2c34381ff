"""Small files that are replaced as a whole: written aside, checksummed, and put in place by a rename."""

import contextlib
import os
import stat
import zlib
from pathlib import Path

from static_route_operator.errors import StaticRouteError

# Bytes of the largest file that is read: a million destinations are 13 MB.
MOST_BYTES = 64 << 20

# O_NONBLOCK: to open a pipe in place of a file would wait for its other end.
_FLAGS = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK

_MAGIC = "static-route-operator"


class StateFileError(StaticRouteError):
    """A file of the state directory that can't be used. The text names the file and the reason."""


def write_whole(path: Path, kind: str, payload: bytes, *, sync: bool) -> None:
    """Write a file, in place of the one there was.

    Args:
        path: the file.
        kind: kind of the content and version of its format, one word each.
        payload: content.
        sync: put the file on the disk before this returns; else it outlives this process, but perhaps not a crash of
            the machine.

    Raises:
        OSError: the file can't be written; the old one is still there.
    """
    aside = path.with_suffix(path.suffix + ".new")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | _FLAGS, 0o600)
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
    """Put a file, or the entries of a directory, on the disk.

    Raises:
        OSError: the file is not there, or the disk fails.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_whole(path: Path, kind: str) -> bytes | None:
    """Return the content of a file; None when there is no file.

    Raises:
        StateFileError: the file is damaged, or of another kind or version of the format.
        OSError: the file can't be read.
    """
    try:
        data = _read(path)
    except FileNotFoundError:
        return None
    first, _, rest = data.partition(b"\n")
    if first != f"{_MAGIC} {kind}".encode():
        raise StateFileError(f"{path} is of another format: it begins with {first[:40]!r}, not with {_MAGIC} {kind}")
    checksum, _, payload = rest.partition(b"\n")
    if checksum != f"{zlib.crc32(payload):08x} {len(payload)}".encode():
        raise StateFileError(f"{path} is damaged: the checksum does not match the content")
    return payload


def _read(path: Path) -> bytes:
    """Return the data of a regular file of a reasonable size.

    Raises:
        StateFileError: the file is another one.
        OSError: the file can't be read.
    """
    descriptor = os.open(path, os.O_RDONLY | _FLAGS)
    with os.fdopen(descriptor, "rb") as file:
        about = os.fstat(descriptor)
        if not stat.S_ISREG(about.st_mode) or about.st_size > MOST_BYTES:
            raise StateFileError(f"{path} is no regular file of up to {MOST_BYTES >> 20} MiB")
        return file.read(MOST_BYTES + 1)
