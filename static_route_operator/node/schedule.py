"""Schedule of the reconciler's runs: woken by events, with pauses while runs take long, at once if traffic is lost."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Final

# Seconds in which a burst of events (a `kubectl apply` of many objects) becomes one run.
COALESCE: Final = 0.005
# Seconds that are left to other tasks after a run that took long, at most: as much time as the run took.
MOST_PAUSE: Final = 0.1


class Schedule:
    """The next run, and named timers that ask for one.

    A thousand wake-ups before a run starts, or while one is under way, are one more run.
    """

    def __init__(self) -> None:
        self._due = asyncio.Event()
        self._urgent = asyncio.Event()
        self._timers: dict[str, asyncio.TimerHandle] = {}

    def wake(self) -> None:
        """Ask for a run."""
        self._due.set()

    def hurry(self) -> None:
        """Ask for a run without any pause: traffic is being lost."""
        self._urgent.set()
        self._due.set()

    def after(self, name: str, delay: float, action: Callable[[], None]) -> None:
        """Call an action in some seconds, unless the timer of this name is running."""
        timer = self._timers.get(name)
        if timer is None or timer.when() <= asyncio.get_running_loop().time():
            self._timers[name] = asyncio.get_running_loop().call_later(delay, action)

    def cancel(self, name: str) -> None:
        """Stop the timer of this name, if it is running."""
        if timer := self._timers.pop(name, None):
            timer.cancel()

    def close(self) -> None:
        """Stop all timers."""
        for timer in self._timers.values():
            timer.cancel()

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
