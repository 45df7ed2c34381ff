"""The routes of other programs, read again only after a change, and seldom if a read takes long."""

import time

from static_route_operator.kernel.fib import Fib
from static_route_operator.routing.foreign import ForeignRib

# Largest share of the time to spend on reads: other programs may have hundreds of thousands of routes that keep
# changing.
SHARE = 0.1


class ForeignRouteCache:
    """The last known routes of other programs.

    Args:
        fib: the kernel's tables.
    """

    def __init__(self, fib: Fib) -> None:
        self._fib = fib
        self._known = ForeignRib()
        self._whole = False
        self._changed = True
        self._due = 0.0

    def changed(self) -> None:
        """Note that a route of another program may have changed."""
        self._changed = True

    async def read(self) -> tuple[ForeignRib, float]:
        """Return the routes, read again if they may have changed and a read is due.

        Returns:
            The routes, and the seconds until they should be read again because they may have changed; 0 if they have
            not.

        """
        started = time.monotonic()
        if self._changed and started >= self._due:
            # A change during the read asks for another one.
            self._changed = False
            try:
                found = await self._fib.read_foreign()
            except BaseException:
                self._changed = True
                raise
            # Routes may be missing from an interrupted read: rather know the last ones.
            if not (self._fib.incomplete and self._whole):
                self._known = found
            self._whole = self._whole or not self._fib.incomplete
            self._changed = self._changed or self._fib.incomplete
            ended = time.monotonic()
            self._due = ended + (ended - started) / SHARE
        return self._known, max(self._due - started, 0.001) if self._changed else 0.0
