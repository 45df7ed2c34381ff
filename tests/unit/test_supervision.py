"""Tasks that run as long as their program: how they start, fail and stop; the delays between retries; signals."""

import asyncio
import itertools
import os
import signal
from collections.abc import Callable

import pytest

from static_route_operator.supervision import (
    AROUND,
    EQUAL,
    FULL,
    Backoff,
    Jitter,
    Signal,
    Timers,
    run_until,
    stop_on_signals,
)
from tests.unit import virtual_time


def _most(_least: float, most: float) -> float:
    return most


def test_delays_double_up_to_the_last_and_begin_again_after_a_reset() -> None:
    """Each delay is twice the one before, up to the limit; a success begins with the first delay again."""
    backoff = Backoff(1.0, 5.0, uniform=_most)
    assert list(itertools.islice(backoff, 5)) == [1.0, 2.0, 4.0, 5.0, 5.0]
    backoff.reset()
    assert list(itertools.islice(backoff, 2)) == [1.0, 2.0]


def test_the_next_delay_is_known_without_jitter() -> None:
    """The next delay can be read without jitter and without being used up."""
    backoff = Backoff(2.0, 30.0, uniform=min)
    assert backoff.seconds == 2.0
    assert next(backoff) == 1.0
    assert backoff.seconds == 4.0


@pytest.mark.parametrize(("jitter", "least", "most"), [(EQUAL, 5.0, 10.0), (AROUND, 8.0, 12.0), (FULL, 0.0, 10.0)])
def test_jitter_keeps_its_bounds(jitter: Jitter, least: float, most: float) -> None:
    """Seconds with jitter differ from one another and stay between their bounds."""
    assert jitter.of(10.0, uniform=min) == least
    assert jitter.of(10.0, uniform=max) == most
    found = {jitter.of(10.0) for _ in range(100)}
    assert least <= min(found) < max(found) <= most


def test_a_delay_has_the_jitter_that_was_asked_for() -> None:
    """Delays have the jitter of their back-off; by default at least half of a delay is waited for."""
    assert next(Backoff(10.0, 20.0, AROUND, uniform=min)) == 8.0
    assert all(5.0 <= next(Backoff(10.0, 20.0)) <= 10.0 for _ in range(100))


def test_a_signal_calls_its_callbacks_in_order() -> None:
    """A signal calls every callback with its arguments, in order; without callbacks it does nothing."""
    calls: list[tuple[str, int]] = []
    changed: Signal[[int]] = Signal()
    changed.emit(0)
    changed.connect(lambda number: calls.append(("first", number)), lambda number: calls.append(("second", number)))
    changed.connect(lambda number: calls.append(("third", number)))
    changed.emit(7)
    assert calls == [("first", 7), ("second", 7), ("third", 7)]


class _Job:
    """A job that notes how it ended; one with an error raises it after a second."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.end = ""

    async def run(self) -> None:
        try:
            await asyncio.sleep(1.0 if self.error else 1e9)
        except asyncio.CancelledError:
            self.end = "cancelled"
            raise
        self.end = "failed"
        if self.error:
            raise self.error


def test_jobs_are_cancelled_at_stop_after_the_last_action() -> None:
    """Jobs go on during the last action, then all of them are cancelled."""
    jobs = [_Job(), _Job()]
    ends: list[str] = []

    async def last_action() -> None:
        await asyncio.sleep(5.0)
        ends.extend(job.end for job in jobs)

    async def scene() -> None:
        stop = asyncio.Event()
        asyncio.get_running_loop().call_later(10.0, stop.set)
        await run_until(stop, [job.run() for job in jobs], last_action)

    _, seconds = virtual_time.run(scene())
    assert seconds == pytest.approx(15.0, abs=0.1)
    assert ends == ["", ""]
    assert [job.end for job in jobs] == ["cancelled", "cancelled"]


def test_an_error_of_a_job_ends_the_others_and_is_raised_without_the_last_action() -> None:
    """An error of a job ends the other jobs and the program; the last action belongs to an orderly stop."""
    failing, other = _Job(ValueError("broken")), _Job()
    actions: list[str] = []

    async def last_action() -> None:
        actions.append("called")

    async def scene() -> None:
        await run_until(asyncio.Event(), [failing.run(), other.run()], last_action)

    with pytest.raises(ValueError, match="broken"):
        virtual_time.run(scene())
    assert other.end == "cancelled"
    assert not actions


def test_errors_of_two_jobs_are_raised_together() -> None:
    """No error is lost when two jobs fail in the same moment."""

    async def scene() -> None:
        await run_until(asyncio.Event(), [_Job(ValueError("one")).run(), _Job(OSError("two")).run()])

    with pytest.raises(ExceptionGroup) as caught:
        virtual_time.run(scene())
    assert {str(error) for error in caught.value.exceptions} == {"one", "two"}


def test_a_job_that_fails_meanwhile_does_not_interrupt_the_last_action() -> None:
    """An agent that is uninstalled removes its routes although a job fails: the others go on until that is done."""
    other = _Job()
    ends: list[str] = []

    async def last_action() -> None:
        await asyncio.sleep(5.0)
        ends.append(other.end)

    async def scene() -> None:
        stop = asyncio.Event()
        stop.set()
        await run_until(stop, [_Job(ValueError("broken")).run(), other.run()], last_action)

    with pytest.raises(ValueError, match="broken"):
        virtual_time.run(scene())
    assert ends == [""]
    assert other.end == "cancelled"


def test_an_error_of_the_last_action_is_raised_after_the_jobs_are_cancelled() -> None:
    """A program whose last action fails ends with its error, and leaves no job behind."""
    job = _Job()

    async def last_action() -> None:
        raise OSError("no space left")

    async def scene() -> None:
        stop = asyncio.Event()
        stop.set()
        await run_until(stop, [job.run()], last_action)

    with pytest.raises(OSError, match="no space left"):
        virtual_time.run(scene())
    assert job.end == "cancelled"


def test_jobs_are_cancelled_with_the_task_that_runs_them() -> None:
    """No job outlives the task that runs it."""
    job = _Job()

    async def scene() -> None:
        task = asyncio.create_task(run_until(asyncio.Event(), [job.run()]))
        await asyncio.sleep(1.0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    virtual_time.run(scene())
    assert job.end == "cancelled"


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_signals_of_the_system_set_the_event(signum: signal.Signals) -> None:
    """SIGTERM and SIGINT stop a program in good order."""

    async def scene() -> None:
        stop = stop_on_signals()
        assert not stop.is_set()
        os.kill(os.getpid(), signum)
        await asyncio.wait_for(stop.wait(), 5)

    before: Callable[..., object] | int | None = signal.getsignal(signum)
    try:
        asyncio.run(scene())
    finally:
        signal.signal(signum, before)


async def test_timer_that_runs_is_not_put_off() -> None:
    """A second call of a running timer changes nothing; one that has fired, or was cancelled, starts again."""
    fired: list[str] = []
    timers = Timers()
    timers.after("one", 0.01, lambda: fired.append("first"))
    timers.after("one", 0.0, lambda: fired.append("never"))
    timers.after("other", 0.01, lambda: fired.append("never"))
    timers.cancel("other")
    await asyncio.sleep(0.05)
    assert fired == ["first"]

    timers.after("one", 0.0, lambda: fired.append("second"))
    timers.after("other", 0.0, lambda: fired.append("third"))
    await asyncio.sleep(0.05)
    assert fired == ["first", "second", "third"]

    timers.after("one", 0.0, lambda: fired.append("never"))
    timers.cancel_all()
    await asyncio.sleep(0.05)
    assert fired == ["first", "second", "third"]
