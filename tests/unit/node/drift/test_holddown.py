"""When lost routes are put back at once, and when only after it is over."""

import itertools

from static_route_operator.node.drift.holddown import CALM, FULL, MANY, MOST, RATE, HoldDown


def _lose(storm: HoldDown, number: int, start: float, spacing: float) -> float:
    """Lose routes one after the other; the time of the last one."""
    for index in range(number):
        storm.lost(start + index * spacing)
    return start + (number - 1) * spacing


def test_single_losses_never_wait() -> None:
    """However long somebody removes one route after the other, each is put back at once."""
    storm = HoldDown()
    for index in range(1000):
        storm.lost(100 + index * 0.005)

        assert storm.pause(100 + index * 0.005) == 0


def test_few_at_once_do_not_wait() -> None:
    """A handful of routes that go together are no storm."""
    storm = HoldDown()
    last = _lose(storm, MANY, 100, 0.00001)

    assert storm.pause(last) == 0


def test_many_at_once_wait_until_it_is_calm() -> None:
    """Thousands in a row are left until none was lost for a moment."""
    storm = HoldDown()
    last = _lose(storm, 2000, 100, 0.00002)

    pause = storm.pause(last)

    assert 0 < pause <= CALM
    assert storm.pause(last + pause + 0.001) == 0


def test_second_look_of_a_flush_is_waited_for() -> None:
    """What is lost right after a storm belongs to it; what is lost later does not."""
    storm = HoldDown()
    last = _lose(storm, 2000, 100, 0.00002)
    assert storm.pause(last + CALM + 0.001) == 0

    storm.lost(last + CALM + 0.005)
    assert storm.pause(last + CALM + 0.005) > 0

    later = last + CALM + 0.005 + (FULL + 1) / RATE
    storm.lost(later)
    assert storm.pause(later) == 0


def test_no_route_waits_for_ever() -> None:
    """A storm that does not end is answered all the same, now and then."""
    storm = HoldDown()
    answered = []
    for index in range(100_000):
        now = 100 + index * 0.0001
        storm.lost(now)
        if index > MANY * 2 and storm.pause(now) == 0:
            answered.append(now)

    assert len(answered) == 4
    assert all(MOST <= after - before < MOST + 0.001 for before, after in itertools.pairwise(answered))
