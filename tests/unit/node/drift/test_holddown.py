"""Hold-down of repairs: at once after single losses, later after bursts."""

import itertools

from static_route_operator.node.drift.holddown import BURST, CAPACITY, MAX_DELAY, QUIET_PERIOD, RATE, HoldDown


def _lose(hold_down: HoldDown, number: int, start: float, spacing: float) -> float:
    """Lose routes one after the other; the time of the last one."""
    for index in range(number):
        hold_down.lost(start + index * spacing)
    return start + (number - 1) * spacing


def test_single_losses_never_wait() -> None:
    """However long somebody removes one route after the other, each is put back at once."""
    hold_down = HoldDown()
    for index in range(1000):
        hold_down.lost(100 + index * 0.005)

        assert hold_down.pause(100 + index * 0.005) == 0


def test_few_at_once_do_not_wait() -> None:
    """A handful of routes that go together are no hold_down."""
    hold_down = HoldDown()
    last = _lose(hold_down, BURST, 100, 0.00001)

    assert hold_down.pause(last) == 0


def test_many_at_once_wait_until_it_is_calm() -> None:
    """Thousands in a row are left until none was lost for a moment."""
    hold_down = HoldDown()
    last = _lose(hold_down, 2000, 100, 0.00002)

    pause = hold_down.pause(last)

    assert 0 < pause <= QUIET_PERIOD
    assert hold_down.pause(last + pause + 0.001) == 0


def test_second_look_of_a_flush_is_waited_for() -> None:
    """A loss right after a hold-down belongs to it; a later one does not."""
    hold_down = HoldDown()
    last = _lose(hold_down, 2000, 100, 0.00002)
    assert hold_down.pause(last + QUIET_PERIOD + 0.001) == 0

    hold_down.lost(last + QUIET_PERIOD + 0.005)
    assert hold_down.pause(last + QUIET_PERIOD + 0.005) > 0

    later = last + QUIET_PERIOD + 0.005 + (CAPACITY + 1) / RATE
    hold_down.lost(later)
    assert hold_down.pause(later) == 0


def test_no_route_waits_for_ever() -> None:
    """A hold_down that does not end is answered all the same, now and then."""
    hold_down = HoldDown()
    answered = []
    for index in range(100_000):
        now = 100 + index * 0.0001
        hold_down.lost(now)
        if index > BURST * 2 and hold_down.pause(now) == 0:
            answered.append(now)

    assert len(answered) == 4
    assert all(MAX_DELAY <= after - before < MAX_DELAY + 0.001 for before, after in itertools.pairwise(answered))
