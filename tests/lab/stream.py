"""A stream of requests from one machine: the witness that no request fails while routes come and go."""

import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.lab import request
from tests.lab.commands import Argument, run, spawn, wait_until
from tests.lab.request import Request

INTERVAL = 0.005  # seconds from one request to the next


Enter = Callable[[Sequence[Argument]], Sequence[Argument]]
"""Makes a command that runs another one inside a machine, as ``Namespace.enter``."""


def ask(enter: Enter, address: str) -> str:
    """Ask the site once from a machine; return the address that it saw, or the kind of error."""
    printed = run(enter(_program(address, count=1, timeout=request.TIMEOUT))).stdout
    answer = Request(**json.loads(printed))
    return answer.answer or answer.failure


class Stream:
    """Requests from one machine, one after another, from now on until they are stopped.

    Args:
        name: of the machine.
        enter: how to run a program in it.
        address: that of the site.
        log: file that the requests are written to.
        timeout: seconds without a packet after which a request is given up.
    """

    def __init__(self, name: str, enter: Enter, address: str, log: Path, *, timeout: float = request.TIMEOUT) -> None:
        self.name = name
        self._process = spawn(enter(_program(address, count=0, timeout=timeout)), log)

    def wait(self) -> None:
        """Wait for the first request to end."""
        wait_until(
            lambda: bool(self.requests()), f"{self.name} asks", timeout=2 * request.TIMEOUT, daemon=self._process
        )

    def requests(self) -> list[Request]:
        """Return all requests that have ended."""
        # The last line may not be complete.
        lines = self._process.log.read_text().split("\n")[:-1]
        return [Request(**json.loads(line)) for line in lines]

    def stop(self) -> list[Request]:
        """Let the stream end its last request, unless it has ended before, and return all of them."""
        if self._process.lives():
            os.kill(self._process.pid, signal.SIGTERM)
        wait_until(lambda: not self._process.lives(), f"the requests of {self.name} end", timeout=3 * request.TIMEOUT)
        return self.requests()


def first_from(requests: Sequence[Request], answer: str) -> float | None:
    """Return the end of the first request with this answer, if any."""
    return next((each.ended for each in requests if each.answer == answer), None)


def _program(address: str, *, count: int, timeout: float) -> list[str]:
    return [sys.executable, "-I", request.__file__, address, str(INTERVAL), str(count), str(timeout)]
