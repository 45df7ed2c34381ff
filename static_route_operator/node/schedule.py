"""Schedule of the reconciler's runs: woken by events, with pauses while runs take long, at once if traffic is lost."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Final

from static_route_operator.supervision import Timers

# Seconds in which a burst of events (a `kubectl apply` of many objects) becomes one run.
COALESCE: Final = 0.005
# Seconds that are left to other tasks after a run that took long, at most: as much time as the run took.
MOST_PAUSE: Final = 0.1


class Schedule(Timers):
    """The next run, and named timers that ask for one.

    A thousand wake-ups before a run starts, or while one is under way, are one more run.
    """

    def __init__(self) -> None:
        super().__init__()
        self._due = asyncio.Event()
        self._urgent = asyncio.Event()

    def wake(self) -> None:
        """Ask for a run."""
        self._due.set()

    def hurry(self) -> None:
        """Ask for a run without any pause: traffic is being lost."""
        self._urgent.set()
        self._due.set()

    async def wait(self, hold_down: Callable[[], float]) -> None:
        """Wait until a run is due.

        Args:
            hold_down: returns the seconds for which a run would do harm, unless it is urgent; 0 for none.
        """
        await self._due.wait()
        while not self._urgent.is_set() and (pause := hold_down()):  # noqa: ASYNC110  the end of a burst is no event
            await asyncio.sleep(pause)
        self._due.clear()

    async def rest(self, seconds: float) -> None:
        """Leave time to other tasks after a run that took some seconds, unless the next run is urgent."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(max(COALESCE, seconds), MOST_PAUSE)):
                await self._urgent.wait()
        self._urgent.clear()
