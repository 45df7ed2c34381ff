"""An event loop whose clock jumps to the next timer instead of waiting: hours pass in milliseconds."""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class _Selector(selectors.DefaultSelector):
    """A selector that does not wait, but adds up the time that it should wait."""

    waited = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready:
            assert timeout is not None, "nothing is scheduled, so this would wait for ever"
            self.waited += max(timeout, 0.0)
        return ready


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._clock = _Selector()
        super().__init__(self._clock)

    def time(self) -> float:
        """Return the virtual time plus a little, since a timer is due only after its time."""
        return self._clock.waited * (1 + 1e-12)


def run(coroutine: Coroutine[Any, Any, T]) -> tuple[T, float]:
    """Return the result of a coroutine, and the virtual seconds that it took."""
    with asyncio.Runner(loop_factory=_Loop) as runner:
        loop = runner.get_loop()
        started = loop.time()
        return runner.run(coroutine), loop.time() - started
