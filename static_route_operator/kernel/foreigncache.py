"""The routes of others, read again only when they have changed, and seldom where that takes long."""

import time

from static_route_operator.kernel.fib import Fib
from static_route_operator.routing.foreign import ForeignRib

# Where others have hundreds of thousands of routes and change them all the time, a read may take this part of the time.
SHARE = 0.1


class ForeignRouteCache:
    """What is known of the routes of others.

    Args:
        fib: to read them.
    """

    def __init__(self, fib: Fib) -> None:
        self._fib = fib
        self._known = ForeignRib()
        self._changed = True
        self._due = 0.0

    def changed(self) -> None:
        """They may have changed."""
        self._changed = True

    async def read(self) -> tuple[ForeignRib, float]:
        """What is known, read again if it may have changed and that is due.

        Returns:
            The routes, and in how many seconds to come again since they may be others by now; 0 when they are not.

        Raises:
            KernelError: see `Fib.read`.
        """
        started = time.monotonic()
        if self._changed and started >= self._due:
            # What changes from now on is read the next time.
            self._changed = False
            try:
                self._known = await self._fib.read_foreign()
            except BaseException:
                self._changed = True
                raise
            ended = time.monotonic()
            self._due = ended + (ended - started) / SHARE
        return self._known, max(self._due - started, 0.001) if self._changed else 0.0
