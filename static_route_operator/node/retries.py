"""Routes that the kernel refused: which, in whose way they are, and when they are tried again."""

import errno
from collections.abc import Collection, Mapping
from typing import Final

from static_route_operator.kernel.fib import Fib
from static_route_operator.routing.description import Interfaces, holder_words
from static_route_operator.routing.kernelroute import KernelRoute
from static_route_operator.routing.routes import Failure, Routes
from static_route_operator.supervision import AROUND, Backoff

# Seconds until a refused route is tried again: the first pause, which doubles up to the last, for ever.
FIRST_RETRY: Final = 1.0
LAST_RETRY: Final = 60.0

# Conflicts whose holder is named; of the others the number is reported.
MOST_HOLDERS: Final = 8


class Retries:
    """The failures of the routes that are desired now.

    Args:
        fib: the kernel's tables, to ask who holds the place of a route.

    Attributes:
        failures: by key, the kernel's refusals.
        due: whether the next run tries all failed routes again.
        reported: the failures in words for users; conflicts say who holds the place, as far as that was asked.
    """

    def __init__(self, fib: Fib) -> None:
        self._fib = fib
        self._backoff = Backoff(FIRST_RETRY, LAST_RETRY, AROUND)
        self._holders: dict[bytes, KernelRoute | None] = {}
        self.failures: dict[bytes, Failure] = {}
        self.due = True
        self.reported: Mapping[bytes, Failure] = {}

    def begin(self, conflicting: Mapping[bytes, Failure], desired: Routes) -> None:
        """Forget the failures if they are due: what is still refused fails again.

        Args:
            conflicting: the installed routes that a foreign route precedes: not to be tried.
            desired: the routes that should be there.
        """
        if self.due:
            self.due = False
            self.failures = {key: failure for key, failure in conflicting.items() if key in desired}

    def add(self, failures: Mapping[bytes, Failure]) -> float:
        """Take in refusals; return the seconds until all are to be tried again."""
        self.failures |= failures
        return next(self._backoff)

    def settle(self) -> None:
        """Begin with the first pause again once nothing fails."""
        if not self.failures:
            self._backoff = Backoff(FIRST_RETRY, LAST_RETRY, AROUND)

    def conflicts(self) -> Collection[bytes]:
        """Return the keys that routes of other programs hold."""
        return [key for key, failure in self.failures.items() if failure.errno == errno.EEXIST]

    def forget_holder(self, key: bytes) -> None:
        """Take in that a foreign route with this key has come, changed or gone."""
        self._holders.pop(key, None)

    def forget_holders(self) -> None:
        """Take in that any foreign route may have changed."""
        self._holders.clear()

    async def describe(self, interfaces: Interfaces) -> None:
        """Put the failures into words.

        Ask once who holds a place: where a look-up does not find the foreign route, the kernel has to dump its
        whole table, and a conflict that lasts must not cost that in every run.

        Args:
            interfaces: names of the interfaces by index.

        Raises:
            KernelError: the kernel can't be asked.
        """
        conflicts = self.conflicts()
        named = sorted(conflicts)[:MOST_HOLDERS]
        if unknown := {key for key in named if key not in self._holders}:
            found = await self._fib.holders(unknown)
            self._holders |= {key: found.get(key) for key in unknown}
        self._holders = {key: self._holders[key] for key in named}
        words = {key: holder_words(route, interfaces) for key, route in self._holders.items() if route}
        self.reported = self.failures | {key: Failure(errno.EEXIST, words.get(key, "")) for key in conflicts}
