"""Routes that are lost so thick and fast that to put each back at once would only prolong it.

`ip route flush` lists the routes, deletes them, and begins again until it finds none: who puts routes back meanwhile
keeps it going. So a single route is put back at once, many when it is over. Pure: the time is passed in.
"""

# A bucket that each loss fills by one, and that runs out at this rate. Losses per second.
RATE = 640.0
# Filled so far, it is a storm.
MANY = 64
# It holds no more than this, so that a storm is over soon after its last loss.
FULL = 3 * MANY
# Without a loss for so long the worst is over. Seconds.
CALM = 0.02
# Longer than this no route waits for it to pass. Seconds.
MOST = 2.0


class HoldDown:
    """How thick losses come."""

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
        self._level = min(self._level + 1, FULL)
        if self._level > MANY and self._began is None:
            self._began = now

    def pause(self, now: float) -> float:
        """Seconds to leave routes as they are before asking again; 0 when they should be put back now."""
        if self._began is None:
            return 0.0
        if now - self._last >= CALM:
            # Who caused it may come back to see whether all are gone: while the bucket is filled, that is waited for.
            if self._level - (now - self._last) * RATE <= 0:
                self._began = None
            return 0.0
        if now - self._began >= MOST:
            self._began = now
            return 0.0
        return max(CALM - (now - self._last), 0.001)

    def _drain(self, now: float) -> None:
        self._level = max(self._level - (now - self._last) * RATE, 0.0)
        if self._level == 0:
            self._began = None
        self._last = now
