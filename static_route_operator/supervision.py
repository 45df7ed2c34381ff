"""Tools for tasks that run as long as their program: start and stop, back-off with jitter, timers, signals."""

import asyncio
import contextlib
import random
import signal
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Sequence
from typing import Any, Generic, NamedTuple, ParamSpec, TypeVar, cast

P = ParamSpec("P")


class Jitter(NamedTuple):
    """Bounds of a random factor for seconds.

    Without it thousands of nodes, once in step, would send their requests in the same moments for ever.

    Attributes:
        least: the smallest factor.
        most: the largest factor.
    """

    least: float
    most: float

    def of(self, seconds: float, uniform: Callable[[float, float], float] = random.uniform) -> float:
        """Return the product of the seconds and a random factor between the bounds."""
        return seconds * uniform(self.least, self.most)


# For retries: at least half of the delay.
EQUAL = Jitter(0.5, 1.0)
# For intervals that must hold on average: ± 20 %.
AROUND = Jitter(0.8, 1.2)
# For work that many nodes begin in the same moment: any delay up to the seconds given.
FULL = Jitter(0.0, 1.0)


class Backoff(Iterator[float]):
    """The delays before retries, without end: each twice the last, up to a limit, with jitter.

    Args:
        first: seconds of the first delay, before jitter.
        last: seconds that no delay exceeds, before jitter.
        jitter: the bounds of the random factor.
        uniform: returns a random number between two bounds; for tests.

    Attributes:
        seconds: the next delay, before jitter.
    """

    def __init__(
        self,
        first: float,
        last: float,
        jitter: Jitter = EQUAL,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._first = first
        self._last = last
        self._jitter = jitter
        self._uniform = uniform
        self.seconds = first

    def __next__(self) -> float:
        """Return the seconds to wait before the next try."""
        delay = self._jitter.of(self.seconds, self._uniform)
        self.seconds = min(self.seconds * 2, self._last)
        return delay

    def reset(self) -> None:
        """Begin with the first delay again, after a success."""
        self.seconds = self._first


class Signal(Generic[P]):
    """A list of callbacks that one part of a program calls and others join."""

    def __init__(self) -> None:
        self._callbacks: list[Callable[P, object]] = []

    def connect(self, *callbacks: Callable[P, object]) -> None:
        """Add callbacks; they are called in the order in which they were added."""
        self._callbacks += callbacks

    def emit(self, *args: P.args, **kwargs: P.kwargs) -> None:
        """Call all callbacks."""
        for callback in self._callbacks:
            callback(*args, **kwargs)


class Timers:
    """Named timers of the running event loop."""

    def __init__(self) -> None:
        self._timers: dict[str, asyncio.TimerHandle] = {}

    def after(self, name: str, delay: float, action: Callable[[], object]) -> None:
        """Call an action in some seconds, unless the timer of this name is running."""
        loop = asyncio.get_running_loop()
        timer = self._timers.get(name)
        if timer is None or timer.when() <= loop.time():
            self._timers[name] = loop.call_later(delay, action)

    def cancel(self, name: str) -> None:
        """Stop the timer of this name, if it is running."""
        if timer := self._timers.pop(name, None):
            timer.cancel()

    def cancel_all(self) -> None:
        """Stop all timers."""
        for name in list(self._timers):
            self.cancel(name)


T = TypeVar("T")


async def in_daemon_thread(function: Callable[[], T]) -> T:
    """Return the result of a function that may never return, such as one that reads a file.

    The function runs in a thread that does not keep the process from ending, as those of `asyncio.to_thread` do.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(cast("T", result))

    def work() -> None:
        result, problem = None, None
        try:
            result = function()
        except BaseException as error:  # noqa: BLE001  raised where the result is awaited
            problem = error
        # The loop may have ended meanwhile.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(settle, result, problem)

    threading.Thread(target=work, daemon=True, name="reader").start()
    return await future


def stop_on_signals() -> asyncio.Event:
    """Return an event that SIGTERM and SIGINT set, in place of what they do by default."""
    stop = asyncio.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(signum, stop.set)
    return stop


async def run_until(
    stop: asyncio.Event, jobs: Iterable[Coroutine[Any, Any, None]], at_stop: Callable[[], Awaitable[None]] | None = None
) -> None:
    """Run jobs side by side until an event is set, then cancel them.

    No `asyncio.TaskGroup`: a job that raises would cancel the others while `at_stop` still needs them.

    Args:
        stop: the event.
        jobs: none of them returns. If one raises before the event, all are cancelled.
        at_stop: called when the event is set; the jobs, also those beside one that raises, go on until it has returned.

    Raises:
        Exception: the error of a job, or an ExceptionGroup of several; else that of `at_stop`.
    """
    tasks = [asyncio.create_task(job) for job in jobs]
    stopped = asyncio.create_task(stop.wait())
    try:
        done, _ = await asyncio.wait([*tasks, stopped], return_when=asyncio.FIRST_COMPLETED)
        if at_stop is not None and done == {stopped}:
            await at_stop()
    finally:
        stopped.cancel()
        await _cancel(tasks)


async def _cancel(tasks: Sequence[asyncio.Task[None]]) -> None:
    """Cancel tasks, wait for their ends, and raise the errors of those that had failed."""
    for task in tasks:
        task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    errors = [result for result in results if isinstance(result, Exception)]
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise ExceptionGroup("several tasks failed", errors)
