"""Hold-down of a burst of losses: restoring each lost route at once would only prolong the burst.

`ip route flush` lists the routes, deletes them, and begins again until none is left: a program that restores routes
meanwhile keeps it going. So a single lost route is restored at once, and many when the burst is over. Pure: the time is
passed in.
"""

# Losses per second at which the bucket drains; each loss fills it by one.
RATE = 640.0
# Level of the bucket from which losses are a burst.
BURST = 64
# Largest level of the bucket, so that a burst is over soon after its last loss.
CAPACITY = 3 * BURST
# Seconds without a loss after which the worst is over.
QUIET_PERIOD = 0.02
# Seconds that a route waits for the end of a burst at most.
MAX_DELAY = 2.0


class HoldDown:
    """A leaky bucket of losses."""

    def __init__(self) -> None:
        self._level = 0.0
        self._last = 0.0
        self._began: float | None = None

    def lost(self, now: float) -> None:
        """Take in the loss of a route.

        Args:
            now: seconds on a clock that never goes back.
        """
        self._drain(now)
        self._level = min(self._level + 1, CAPACITY)
        if self._level > BURST and self._began is None:
            self._began = now

    def pause(self, now: float) -> float:
        """Return the seconds to leave routes alone before asking again; 0 when they are to be restored now."""
        if self._began is None:
            return 0.0
        if now - self._last >= QUIET_PERIOD:
            # The actor may come back to see whether all routes are gone: wait for that while the bucket is filled.
            if self._level - (now - self._last) * RATE <= 0:
                self._began = None
            return 0.0
        if now - self._began >= MAX_DELAY:
            self._began = now
            return 0.0
        return max(QUIET_PERIOD - (now - self._last), 0.001)

    def _drain(self, now: float) -> None:
        self._level = max(self._level - (now - self._last) * RATE, 0.0)
        if self._level == 0:
            self._began = None
        self._last = now
