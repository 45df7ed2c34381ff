"""Interface of the programs that are measured."""

import abc
import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar, TypeVar

from benchmarks.testbed import Kernel


class Contender(abc.ABC):
    """One that routes all destinations through a gateway. Its steps are timed; what prepares them is not.

    Args:
        destinations: what to route.
        directory: for its files, empty.

    Attributes:
        name: for people.
        most: largest number of destinations that the program can handle.
        destinations: what to route.
        kernel: of the namespace it works in.
    """

    name: ClassVar[str]
    most: ClassVar[int] = 500_000

    def __init__(self, destinations: Sequence[str], directory: Path) -> None:
        self.destinations = destinations
        self.directory = directory
        self.kernel = Kernel()

    @classmethod
    def missing(cls) -> str:
        """Return the name of a missing program that this one needs; empty if none is missing."""
        return ""

    def start(self) -> None:  # noqa: B027  most programs need no start
        """Run, without a route."""

    def stop(self) -> None:
        """Run no more."""
        self.kernel.close()

    @abc.abstractmethod
    def install(self, gateway: str) -> float:
        """From no route to all; seconds."""

    @abc.abstractmethod
    def switch(self, gateway: str) -> float:
        """All routes from another gateway to this one; seconds."""

    @abc.abstractmethod
    def delete(self) -> float:
        """From all routes to none; seconds."""


AnyContender = TypeVar("AnyContender", bound=Contender)


@contextlib.contextmanager
def at_work(contender: type[AnyContender], destinations: Sequence[str]) -> Iterator[AnyContender]:
    """One that runs, without a route, on the node that this thread is on."""
    with tempfile.TemporaryDirectory() as directory:
        # Daemons that give up being root must reach it.
        Path(directory).chmod(0o755)
        one = contender(destinations, Path(directory))
        try:
            one.start()
            yield one
        finally:
            one.stop()
