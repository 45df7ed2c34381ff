"""Reading of one file: regular or, where a person names it, a pipe; in bounded time and memory."""

import codecs
import os
import select
import stat
import sys
import time
from pathlib import Path

from static_route_operator.errors import ManifestError

# Name that stands for standard input.
STDIN = Path("-")

# Bytes of one file: 100,000 IPv6 destinations take 5 MB.
MOST_BYTES = 16 << 20
# Seconds to wait for the writer of a pipe.
PIPE_PATIENCE = 30.0

_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_KINDS = {
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def read_file(path: Path, *, pipes: bool = False) -> bytes:
    """Return the content of a file.

    Args:
        path: the file; `STDIN` is standard input.
        pipes: read pipes too, such as ``/dev/fd/63``; nobody may write to a pipe in a directory of manifests.

    Raises:
        ManifestError: the file can't be read, or is too large.
    """
    if path == STDIN:
        data = sys.stdin.buffer.read(MOST_BYTES + 1)
    else:
        try:
            data = _read(path, pipes=pipes)
        except (OSError, ValueError) as error:
            raise ManifestError(f"{path}: can't be read: {words(error)}") from error
    if len(data) > MOST_BYTES:
        raise ManifestError(f"{path}: can't be read: it has more than {MOST_BYTES >> 20} MiB; split the file")
    return data


def words(error: Exception) -> str:
    """Return the words of an error without the path, which the message names already."""
    return (isinstance(error, OSError) and error.strerror) or str(error)


def decode(path: Path, data: bytes) -> str:
    """Return the text of a file, without a byte order mark.

    Raises:
        ManifestError: the data are no text in UTF-8.
    """
    if data.startswith(_UTF16):
        raise ManifestError(f"{path}: can't be read: it is a text in UTF-16; save it as UTF-8")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise ManifestError(f"{path}: can't be read: line {line} is not a text in UTF-8; save it as UTF-8") from None


def _read(path: Path, *, pipes: bool) -> bytes:
    # O_NONBLOCK: to open a pipe waits for its other end, and to open a device may do anything. O_NOCTTY: a terminal
    # must not become that of this process.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    try:
        kind = stat.S_IFMT(os.fstat(descriptor).st_mode)
        if kind == stat.S_IFREG:
            return _read_all(descriptor)
        if kind == stat.S_IFIFO and pipes:
            return _read_all(descriptor, time.monotonic() + PIPE_PATIENCE)
        raise OSError(f"it is {_KINDS.get(kind, 'no file')}, not a regular file; remove or rename it")
    finally:
        os.close(descriptor)


def _read_all(descriptor: int, deadline: float | None = None) -> bytes:
    """Return all that can be read up to the limit, and a little more if there is more.

    Raises:
        OSError: a read fails, or the writer of a pipe takes too long.
    """
    data = bytearray()
    while len(data) <= MOST_BYTES:
        if deadline is not None:
            _await(descriptor, deadline)
        try:
            part = os.read(descriptor, 1 << 20)
        except BlockingIOError:
            if deadline is None:
                raise
            continue
        if not part:
            break
        data += part
    return bytes(data)


def _await(descriptor: int, deadline: float) -> None:
    """Wait until a pipe has data, or its writer has closed it."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
        raise OSError(f"the writer of this pipe took longer than {PIPE_PATIENCE:g} s")
