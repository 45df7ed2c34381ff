"""Files of the state directory: whole, or not there."""

from pathlib import Path

import pytest

from static_route_operator.node.state.files import StateFileError, read_whole, write_whole

PAYLOAD = b"what is kept\nin two lines"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file that was written."""
    file = tmp_path / "node1.snapshot"
    write_whole(file, "snapshot 1", PAYLOAD, sync=True)
    return file


def test_what_was_written_is_read(file: Path) -> None:
    """A file gives back what was written last, and nobody else on the host may read it."""
    write_whole(file, "snapshot 1", b"newer", sync=False)

    assert read_whole(file, "snapshot 1") == b"newer"
    assert file.stat().st_mode & 0o777 == 0o600
    assert list(file.parent.iterdir()) == [file]


def test_no_file(tmp_path: Path) -> None:
    """That there is no file is no error."""
    assert read_whole(tmp_path / "none", "snapshot 1") is None


def test_every_damage_is_found(file: Path) -> None:
    """A file that is cut short, or of which any one byte is another, is not used."""
    whole = file.read_bytes()
    damaged = [whole[:length] for length in range(len(whole))]
    damaged += [whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :] for place in range(len(whole))]
    for data in damaged:
        file.write_bytes(data)
        with pytest.raises(StateFileError, match=r"node1\.snapshot is"):
            read_whole(file, "snapshot 1")


def test_other_version(file: Path) -> None:
    """A file of another version of the form is not used, and the error says which it is."""
    with pytest.raises(StateFileError, match=r"begins with b'static-route-operator snapshot 1', not .* snapshot 2"):
        read_whole(file, "snapshot 2")


def test_what_there_was_stays(file: Path) -> None:
    """The old file survives if the new one can't be written."""
    file.with_suffix(".snapshot.new").mkdir()

    with pytest.raises(OSError, match="directory"):
        write_whole(file, "snapshot 1", b"newer", sync=True)

    assert read_whole(file, "snapshot 1") == PAYLOAD
