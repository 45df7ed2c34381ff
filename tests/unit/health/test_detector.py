"""Tests of the detector: timeouts of probes, and the ways down and up again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from static_route_operator.api.healthcheck import Check, CheckType
from static_route_operator.api.noderoutestate import GatewayState
from static_route_operator.health.detector import (
    FIRST_HOLD_DOWN,
    FIRST_SAMPLES,
    IDLE_INTERVAL,
    INITIAL_RTO,
    MAX_HOLD_DOWN,
    MAX_RTO,
    STABLE_TIME,
    Detector,
)


def up(check: Check | None = None, rtt: float = 0.001) -> Detector:
    """Return a detector whose gateway has answered for a while, until time 0."""
    detector = Detector(check or Check())
    for second in range(-20, 0):
        detector.answered(second, rtt)
    return detector


def fall(detector: Detector, now: float) -> None:
    """Lose probes until the gateway is down."""
    while detector.state is not GatewayState.DOWN:
        detector.failed(now, "no answer")


def rise(detector: Detector, now: float) -> float:
    """Answer every second until the gateway is up; return the time."""
    while not detector.answered(now, 0.001):
        now += 1
    return now


def test_first_answer_tells() -> None:
    """A gateway is unknown until it first answers."""
    detector = Detector(Check())
    states = [detector.state]
    assert detector.answered(0, 0.001)
    assert [*states, detector.state] == [GatewayState.UNKNOWN, GatewayState.UP]


def test_unknown_gateway_that_never_answers_is_down() -> None:
    """Losses up to the threshold make an unknown gateway down; that does not count as a flap."""
    detector = Detector(Check(failure_threshold=2))
    assert not detector.failed(0, "no answer")
    assert detector.failed(1, "no answer")
    assert (detector.state, detector.flaps, detector.hold_down(1)) == (GatewayState.DOWN, 0, 0)


@given(st.integers(1, 5), st.integers(1, 5), st.lists(st.booleans(), max_size=60))
def test_thresholds(failures: int, successes: int, answers: list[bool]) -> None:
    """A gateway goes down and up after exactly as many losses or answers in a row as the thresholds say."""
    detector = Detector(Check(failure_threshold=failures, success_threshold=successes))
    detector.answered(0, 0.001)
    expected, row = GatewayState.UP, 0
    for number, answer in enumerate(answers):
        now = (number + 1) * (STABLE_TIME + MAX_HOLD_DOWN)
        changed = detector.answered(now, 0.001) if answer else detector.failed(now, "no answer")
        row = row + 1 if answer is (expected is GatewayState.DOWN) else 0
        if row == (successes if answer else failures):
            expected, row = (GatewayState.UP if answer else GatewayState.DOWN), 0
            assert changed
        else:
            assert not changed
        assert detector.state is expected


def test_late_answer_forgives() -> None:
    """The answer to a probe that counts as lost clears the losses and raises the RTO."""
    detector = up(Check(interval=0.01))
    detector.failed(0, "no answer")
    detector.failed(0, "no answer")
    assert not detector.answered(0, 0.02, late=True)
    assert not detector.failed(0, "no answer")
    assert detector.state is GatewayState.UP
    assert detector.timeout > 0.005
    assert (detector.sent, detector.lost) == (23, 3)


def test_down_for_certain() -> None:
    """A link that is down needs no losses."""
    detector = up()
    assert detector.down(0, "link down")
    assert (detector.state, detector.reason) == (GatewayState.DOWN, "link down")
    assert not detector.down(1, "link down")


def test_suspicion_after_a_loss_is_certainty() -> None:
    """A neighbour that the kernel calls FAILED, and that left a probe unanswered, is down."""
    detector = up()
    detector.failed(0, "no answer")
    assert detector.suspect(0, "neighbour FAILED")
    assert detector.reason == "neighbour FAILED"


def test_suspicion_needs_one_loss() -> None:
    """A neighbour that is called FAILED though it answers has one probe to show that it is well."""
    detector = up()
    assert not detector.suspect(0, "neighbour FAILED")
    assert detector.failed(0, "no answer")
    assert (detector.state, detector.reason) == (GatewayState.DOWN, "neighbour FAILED")

    detector = up()
    detector.suspect(0, "neighbour FAILED")
    detector.answered(0, 0.001)
    assert not detector.failed(0, "no answer")
    assert detector.state is GatewayState.UP


@pytest.mark.parametrize(
    ("type_", "interval", "rtt", "expected"),
    [
        (CheckType.ICMP, 0.01, 0.0001, 0.0021),
        (CheckType.ICMP, 0.1, 0.0001, 0.0101),
        (CheckType.TCP, 1.0, 0.0001, 0.1001),
        (CheckType.HTTP, 0.01, 0.0001, 0.0201),
        (CheckType.ICMP, 0.01, 0.05, 0.075),
        (CheckType.ICMP, 0.01, 9.0, MAX_RTO),
    ],
)
def test_rto_is_learned(type_: CheckType, interval: float, rtt: float, expected: float) -> None:
    """The RTO is the usual round-trip time plus a margin for a scheduler, a small queue or a longer path."""
    check = Check(type_, 0 if type_ is CheckType.ICMP else 80, interval=interval)
    assert up(check, rtt).timeout == pytest.approx(expected)


def test_rto_before_the_first_answer() -> None:
    """Before the first samples, the timeout is the initial RTO or a longer interval."""
    assert Detector(Check(interval=0.01)).timeout == INITIAL_RTO
    assert Detector(Check(interval=5)).timeout == 5


def test_one_very_late_answer_is_soon_forgotten() -> None:
    """A single answer that took a second hardly changes the RTO; many do."""
    detector = up(Check(interval=0.01))
    detector.answered(0, 1.0, late=True)
    assert detector.timeout < 0.01
    for _ in range(100):
        detector.answered(0, 1.0, late=True)
    assert detector.timeout > 1


def test_configured_timeout() -> None:
    """A configured timeout replaces the RTO."""
    assert Detector(Check(timeout=0.3)).timeout == 0.3
    assert up(Check(timeout=0.3)).timeout == 0.3


@given(st.floats(1e-5, 2.0), st.lists(st.floats(0.5, 1.5), min_size=50, max_size=50))
def test_rto_covers_usual_answers(rtt: float, spread: list[float]) -> None:
    """An answer that takes as long as answers have taken is not late."""
    detector = Detector(Check(interval=0.01))
    for factor in spread:
        detector.answered(0, rtt * factor)
    smoothed = detector.round_trip.smoothed
    assert smoothed is not None
    assert 0.5 * rtt * 0.99 <= smoothed <= 1.5 * rtt * 1.01
    assert detector.timeout >= smoothed * 0.99


def test_return_of_another_machine() -> None:
    """After a failure the round-trip time is learned again, since another machine may answer."""
    detector = up(Check(interval=0.01))
    fall(detector, 0)
    assert detector.timeout == INITIAL_RTO
    for second in range(FIRST_SAMPLES):
        detector.answered(second, 0.3)
    assert detector.round_trip.smoothed == 0.3


def test_first_answers_may_be_slow() -> None:
    """Answers that waited for address resolution do not spoil the estimate, and do not shorten the timeout."""
    detector = Detector(Check(interval=0.01))
    for rtt in (0.9, 0.4, 0.001, 0.001, 0.001):
        assert detector.timeout == INITIAL_RTO
        detector.answered(0, rtt)
    assert detector.timeout == pytest.approx(0.003)


def test_pace() -> None:
    """A pending change causes fast retries; a gateway that does not answer is probed less often than one that does."""
    detector = up(Check(interval=0.01))
    assert detector.pause == 0.01
    detector.failed(0, "no answer")
    assert detector.pause == 0.005
    fall(detector, 0)
    assert detector.pause == IDLE_INTERVAL

    detector = up(Check(interval=1, success_threshold=3))
    fall(detector, 0)
    assert detector.pause == 1
    detector.answered(1, 0.001)
    assert detector.pause == 0.5


def test_first_failure_is_not_held_against_it() -> None:
    """A gateway that fails once is back as soon as it answers often enough."""
    detector = up()
    fall(detector, 0)
    assert rise(detector, 1) == 2


def test_flapping_is_held_back_ever_longer() -> None:
    """Each further failure soon after another doubles the hold-down, up to a limit."""
    detector, now, holds = up(), 0.0, []
    for _ in range(9):
        fall(detector, now)
        holds.append(detector.hold_down(now))
        now = rise(detector, now) + 1
    assert holds[:4] == [0, FIRST_HOLD_DOWN, 2 * FIRST_HOLD_DOWN, 4 * FIRST_HOLD_DOWN]
    assert holds[-1] == MAX_HOLD_DOWN
    assert detector.flaps == 9


def test_flapping_for_days() -> None:
    """The hold-down stays at its limit after thousands of failures."""
    detector, now = up(), 0.0
    for _ in range(2000):
        fall(detector, now)
        now = detector._held_until
        rise(detector, now)
    fall(detector, now)
    assert detector.hold_down(now) == MAX_HOLD_DOWN


def test_quiet_time_heals() -> None:
    """After a long time without a failure the next one is as the first."""
    detector, now = up(), 0.0
    for _ in range(5):
        fall(detector, now)
        now = rise(detector, now) + 1
    now += STABLE_TIME
    fall(detector, now)
    assert detector.hold_down(now) == 0


def test_held_back_gateway_must_answer_at_the_end() -> None:
    """The end of the hold-down does not suffice: the gateway has to answer then, without a loss before."""
    detector = up()
    fall(detector, 0)
    now = rise(detector, 0)
    fall(detector, now)
    assert not detector.answered(now + FIRST_HOLD_DOWN - 0.1, 0.001)
    assert not detector.failed(now + FIRST_HOLD_DOWN, "no answer")
    assert not detector.answered(now + FIRST_HOLD_DOWN + 0.1, 0.001)
    assert detector.answered(now + FIRST_HOLD_DOWN + 0.2, 0.001)


@pytest.mark.parametrize(
    "values",
    [
        {"type": CheckType.TCP},
        {"type": CheckType.HTTP, "port": 65536},
        {"interval": 0.005},
        {"timeout": 0.0},
        {"failure_threshold": 0},
        {"success_threshold": 0},
    ],
)
def test_impossible_checks(values: dict[str, object]) -> None:
    """A check that is impossible to run is refused."""
    with pytest.raises(ValueError, match=r"must|needs"):
        Check(**values)  # type: ignore[arg-type]
