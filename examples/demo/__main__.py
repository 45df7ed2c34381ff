"""Run the demo and leave nothing behind, however it ends."""

import io
import os
import signal
import socket
import sys
import time
from typing import NoReturn

from examples.demo.page import Page
from examples.demo.stage import Stage
from examples.demo.story import BrokenPromiseError, Story
from tests.lab.errors import LabError
from tests.lab.network import Network

# Prefix of the network namespaces' names. With different prefixes two demos run side by side.
PREFIX = os.environ.get("DEMO_PREFIX", "srdemo")

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(BaseException):
    """A signal that ends the demo."""

    def __init__(self, signum: int) -> None:
        super().__init__(signal.Signals(signum).name)
        self.signum = signum


def main() -> int:
    """Run the demo and return the exit status: 0 if the operator kept all promises."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # the locale may lack the line-drawing characters
    page = Page()
    if os.geteuid() != 0:
        page.failed("the demo makes network namespaces: run it as root, as in `sudo make demo`")
        return 1
    lock = socket.socket(socket.AF_UNIX)
    try:
        lock.bind(f"\0static-route-operator-{PREFIX}")  # an abstract name, which ends with this process
    except OSError:
        page.failed("the demo is running on this machine already; wait for it to end")
        return 1
    with lock:
        return _run(page)


def _run(page: Page) -> int:
    started = time.monotonic()
    network = Network(PREFIX, nodes=3)
    stage = Stage(network)
    try:
        try:
            for signum in _SIGNALS:
                signal.signal(signum, _interrupt)
            network.down()  # left by a demo that was killed
            Story(stage, page).tell()
        finally:
            # No signal interrupts the clean-up from here on. One that arrived before has the same effect.
            _ignore_signals()
        page.heading("7. Everything is taken down")
        network.down()
        page.say(f"Namespaces, processes and files of the demo are gone. It took {time.monotonic() - started:.0f} s.")
    except Interrupted as interruption:
        page.heading(f"{interruption}: everything is taken down")
        return 128 + interruption.signum
    except (BrokenPromiseError, LabError) as error:
        page.failed(str(error))
        page.show(stage.logs())
        return 1
    finally:
        network.down()
    return 0


def _interrupt(signum: int, _frame: object) -> NoReturn:
    _ignore_signals()
    raise Interrupted(signum)


def _ignore_signals() -> None:
    for signum in _SIGNALS:
        signal.signal(signum, signal.SIG_IGN)


if __name__ == "__main__":
    try:
        status = main()
    except BrokenPipeError:  # as in `make demo | head`
        sys.stdout = None  # prevents a second error from Python
        status = 1
    sys.exit(status)
