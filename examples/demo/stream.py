"""A stream of requests from one node: the witness that no request fails while routes come and go."""

import json
import os
import signal
import sys
from collections.abc import Sequence

from examples.demo import request
from examples.demo.request import Request
from tests.lab.commands import run, spawn, wait_until
from tests.lab.network import Network

INTERVAL = 0.005  # seconds from one request to the next


def ask(network: Network, node: str, address: str) -> str:
    """Ask the site once from a node; the address that it saw, or the kind of error."""
    printed = run(network.namespace(node).enter(_program(address, count=1))).stdout
    answer = Request(**json.loads(printed))
    return answer.answer or answer.failure


class Stream:
    """Requests from one node, one after another, from now on until they are stopped.

    Args:
        network: the network that the node is in.
        node: its name.
        address: that of the site.
    """

    def __init__(self, network: Network, node: str, address: str) -> None:
        self.node = node
        program = network.namespace(node).enter(_program(address, count=0))
        self._process = spawn(program, network.logs / f"{node}-requests.log")

    def wait(self) -> None:
        """Wait for the first request to end."""
        wait_until(
            lambda: bool(self.requests()), f"{self.node} asks", timeout=2 * request.TIMEOUT, daemon=self._process
        )

    def requests(self) -> list[Request]:
        """All requests that have ended."""
        # The last line may not be complete.
        lines = self._process.log.read_text().split("\n")[:-1]
        return [Request(**json.loads(line)) for line in lines]

    def stop(self) -> list[Request]:
        """Let it end its last request, and return all of them."""
        os.kill(self._process.pid, signal.SIGTERM)
        wait_until(lambda: not self._process.lives(), f"the requests of {self.node} end", timeout=3 * request.TIMEOUT)
        return self.requests()


def first_from(requests: Sequence[Request], answer: str) -> float | None:
    """When the first request was answered with this address, if any was."""
    return next((each.ended for each in requests if each.answer == answer), None)


def _program(address: str, *, count: int) -> list[str]:
    return [sys.executable, "-I", request.__file__, address, str(INTERVAL), str(count)]
