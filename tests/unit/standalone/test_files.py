"""Reading of one file, in bounded time and memory."""

import os
import threading
from pathlib import Path

import pytest

from static_route_operator.errors import ManifestError
from static_route_operator.standalone import files
from static_route_operator.standalone.files import decode, read_file


def _fifo(path: Path) -> None:
    os.mkfifo(path)


def _device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def _loop(path: Path) -> None:
    path.symlink_to(path.name)


def _dangling(path: Path) -> None:
    path.symlink_to("nowhere")


def _too_large(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(files.MOST_BYTES + 1)


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (_fifo, "it is a pipe, not a regular file; remove or rename it"),
        (_device, "it is a device, not a regular file; remove or rename it"),
        (Path.mkdir, "it is a directory, not a regular file; remove or rename it"),
        (_loop, "Too many levels of symbolic links"),
        (_dangling, "No such file or directory"),
        (_too_large, "it has more than 16 MiB; split the file"),
    ],
)
def test_what_is_no_file_of_a_reasonable_size_is_refused(tmp_path: Path, make: object, problem: str) -> None:
    """What would block, never end or fill the memory is refused at once, by its path."""
    path = tmp_path / "x.yaml"
    assert callable(make)
    make(path)

    with pytest.raises(ManifestError) as caught:
        read_file(path)

    assert str(caught.value) == f"{path}: can't be read: {problem}"


def test_file_that_grows_while_it_is_read_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No more than the limit is read, whatever the file says about its size."""
    path = tmp_path / "x.yaml"
    path.write_bytes(b"x" * 100)
    monkeypatch.setattr(files, "MOST_BYTES", 99)

    with pytest.raises(ManifestError, match="more than"):
        read_file(path)


def test_named_pipe_is_read_to_its_end(tmp_path: Path) -> None:
    """A pipe that a person names, as with <(...), is read until its writer closes it."""
    path = tmp_path / "pipe"
    os.mkfifo(path)

    def write() -> None:
        with path.open("wb") as pipe:
            pipe.write(b"a" * 200_000)
            pipe.flush()
            pipe.write(b"b")

    writer = threading.Thread(target=write)
    writer.start()
    assert read_file(path, pipes=True) == b"a" * 200_000 + b"b"
    writer.join()


def test_pipe_without_a_writer_does_not_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipe to which nobody writes is given up after a time."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    monkeypatch.setattr(files, "PIPE_PATIENCE", 0.05)

    with pytest.raises(ManifestError, match=r"the writer of this pipe took longer than 0\.05 s"):
        read_file(path, pipes=True)


@pytest.mark.parametrize("data", ["ä: ß".encode(), "\ufeffä: ß".encode()])
def test_mark_of_utf_8_is_left_out(data: bytes) -> None:
    """A text in UTF-8 may begin with a byte order mark, as some editors write it."""
    assert decode(Path("x"), data) == "ä: ß"


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        ("a: b".encode("utf-16"), "it is a text in UTF-16; save it as UTF-8"),
        ("\ufeffa".encode("utf-16-be"), "it is a text in UTF-16; save it as UTF-8"),
        (b"a: 1\nb: \xff\n", "line 2 is not a text in UTF-8; save it as UTF-8"),
    ],
)
def test_other_texts_are_refused(data: bytes, problem: str) -> None:
    """A text in another encoding is refused, with the line and the remedy."""
    with pytest.raises(ManifestError) as caught:
        decode(Path("x"), data)
    assert str(caught.value) == f"x: can't be read: {problem}"
