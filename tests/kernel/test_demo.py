"""`make demo` shows what it promises and leaves nothing behind, however it ends."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab import directories, processes
from tests.lab.namespace import DIRECTORY
from tests.lab.network import Network

ROOT = Path(__file__).parents[2]
RECORDING = ROOT / "docs/images/demo.cast"


@pytest.fixture
def prefix() -> Iterator[str]:
    """The start of the names of a demo's namespaces, which no other demo on this machine has."""
    own = f"demo{os.getpid()}"
    yield own
    Network(own).down()


def _start(prefix: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "examples.demo"],
        cwd=ROOT,
        env=os.environ | {"DEMO_PREFIX": prefix},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def _traces(prefix: str) -> list[str]:
    """Return the remains of a demo: namespaces, its directory, processes that name either."""
    state = directories.state(prefix)
    left = [str(path) for path in DIRECTORY.glob(f"{prefix}-*")] + [str(state)] * state.exists()
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            command = (directory / "cmdline").read_text().replace("\0", " ")
        except OSError:
            continue
        if f"{prefix}-" in command:
            left.append(command)
    return left


def _headings(text: str) -> list[str]:
    return re.findall(r"^\d+\. .+$", text, re.MULTILINE)


def _recorded() -> str:
    """Return the text of the recording in the README, without its colours."""
    events = map(json.loads, RECORDING.read_text().splitlines()[1:])
    return re.sub("\033.*?m|\r", "", "".join(text for _, _, text in events))


def test_shows_what_it_promises(prefix: str) -> None:
    """It ends with status 0, says so as plain text, is what the README's recording shows, and nothing of it is left."""
    demo = _start(prefix)
    output, _ = demo.communicate(timeout=120)
    assert demo.returncode == 0, output
    assert "no request failed" in output
    assert "(gateway 1 unplugged)" in output
    assert "FAILED" not in output
    assert "\033" not in output
    assert _headings(output) == _headings(_recorded()), "record it anew: make recording"
    assert not _traces(prefix)


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_leaves_nothing(prefix: str, signum: signal.Signals) -> None:
    """A signal at any moment ends it with the status that shells expect, and nothing of it is left."""
    demo = _start(prefix)
    assert demo.stdout
    demo.stdout.readline()  # it has begun
    time.sleep(random.uniform(0, 5))  # noqa: S311  no secret
    demo.send_signal(signum)
    output, _ = demo.communicate(timeout=60)
    assert demo.returncode == 128 + signum, output
    assert "Traceback" not in output
    assert not _traces(prefix)


def test_what_a_killed_demo_left_goes_at_the_next_start(prefix: str) -> None:
    """After SIGKILL its network stays; the next demo removes it and runs as ever."""
    killed = _start(prefix)
    assert killed.stdout
    while "gateway 1, whichever node asks" not in killed.stdout.readline():
        assert killed.poll() is None
    killed.kill()
    killed.communicate()
    assert processes.in_namespaces(DIRECTORY.glob(f"{prefix}-*"))
    demo = _start(prefix)
    output, _ = demo.communicate(timeout=120)
    assert demo.returncode == 0, output
    assert not _traces(prefix)


def test_two_at_a_time_do_not_disturb_each_other(prefix: str) -> None:
    """A second demo refuses to start, and the first one is none the worse."""
    first = _start(prefix)
    assert first.stdout
    first.stdout.readline()
    second = _start(prefix)
    refusal, _ = second.communicate(timeout=60)
    assert second.returncode == 1
    assert "running on this machine already" in refusal
    output, _ = first.communicate(timeout=120)
    assert first.returncode == 0, output
