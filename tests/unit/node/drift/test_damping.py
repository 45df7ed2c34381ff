"""Flap damping: the threshold for a report, the pauses of routes, and the end."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from static_route_operator.node.drift import damping
from static_route_operator.node.drift.damping import (
    CAPACITY,
    FLAPPING,
    LAST_PAUSE,
    MEMORY,
    QUIET_INTERVALS,
    Actor,
    FlapDamping,
    describe,
    hint,
)
from static_route_operator.routing.keyset import KeySet
from tests.unit.builders import key

# 2025-06-01 12:00:00 UTC
NOON = 1748779200.0
IP = Actor(4711, "ip")
ONE = key("192.0.2.1")
KEYS = [key(f"198.18.{each >> 8}.{each & 255}") for each in range(2000)]


class Duel:
    """A stand-in for the reconciler's handling of losses, with its own clock."""

    def __init__(self) -> None:
        self.damping = FlapDamping()
        self.now = 1000.0
        self.missing: set[bytes] = set()
        self.repairs = 0

    def lose(self, *keys: bytes, actor: Actor = IP) -> None:
        """Somebody removes routes, and the reconciler runs."""
        self.missing.update(keys)
        self.run(actor)

    def run(self, actor: Actor = IP) -> None:
        """One run of the reconciler."""
        self.damping.forget(self.now)
        waiting = self.damping.waiting(self.now)
        for size in {len(each) for each in self.missing}:
            keys = KeySet.of(size, [each for each in self.missing if len(each) == size])
            for each in waiting:
                keys -= each
            if keys:
                self.damping.repaired(keys, actor, self.now, NOON + self.now - 1000)
                self.missing -= set(keys)
                self.repairs += 1

    def fight(self, seconds: float, period: float, *keys: bytes, actor: Actor = IP) -> None:
        """An actor removes routes periodically; the reconciler runs whenever there is something to do."""
        for _ in range(round(seconds / period)):
            self.lose(*keys, actor=actor)
            self.pass_time(period)

    def pass_time(self, seconds: float) -> None:
        """Nothing happens but what is due."""
        end = self.now + seconds
        while (due := self.damping.next_change(self.now)) is not None and due <= end:
            self.now = due
            self.run()
        self.now = end


@pytest.fixture
def duel() -> Duel:
    """All is well."""
    return Duel()


def test_single_losses_are_put_back_at_once(duel: Duel) -> None:
    """Each of many routes that are removed one after the other is back at once, and nothing is reported."""
    for each in KEYS:
        duel.lose(each)
        assert not duel.missing
        duel.now += 0.001

    assert not duel.damping.flapping


def test_memory_is_bounded_and_goes(duel: Duel) -> None:
    """However many routes are lost, one by one or all at once, few sets of them are kept, and none at rest."""
    for each in KEYS[:500]:
        duel.lose(each)
        duel.now += 2
    assert len(duel.damping._histories) == CAPACITY
    duel.lose(*KEYS)
    assert sum(len(each.keys) for each in duel.damping._histories) == len(KEYS)

    duel.now += MEMORY
    duel.run()
    assert not duel.damping._histories


def test_flush_is_one_contest(duel: Duel) -> None:
    """Routes that are lost within a second, though restored in pieces, are reported together."""
    for _ in range(FLAPPING):
        for start in range(0, len(KEYS), 500):
            duel.lose(*KEYS[start : start + 500])
            duel.now += 0.01
        duel.now += 3

    (history,) = duel.damping.flapping
    assert list(history.keys) == KEYS


def test_rival_is_told_from_the_fifth_time_on(duel: Duel) -> None:
    """An actor that keeps removing a route is reported with count and start."""
    duel.fight(4, 1, ONE)
    assert not duel.damping.flapping
    duel.lose(ONE)

    (history,) = duel.damping.flapping
    assert (list(history.keys), history.times) == ([ONE], FLAPPING)
    assert str(history) == "removed by ip (process 4711), 5 times or more since 2025-06-01 12:00:00 UTC"


def test_short_quarrel_is_none(duel: Duel) -> None:
    """A route is back at once, without a report, however often it is lost within a second or two."""
    for _ in range(200):
        duel.lose(ONE)
        assert not duel.missing
        duel.now += 0.01

    assert not duel.damping.flapping


def test_fast_rival_is_slowed_down(duel: Duel) -> None:
    """Against an actor that removes a route twenty times a second, repairs become rare, but never end."""
    duel.fight(600, 0.05, ONE)
    # At once for four seconds, then thirty seconds apart in the end.
    assert 80 < duel.repairs < 80 + 30

    before = duel.repairs
    duel.fight(600, 0.05, ONE)
    assert duel.repairs - before == pytest.approx(600 / LAST_PAUSE, abs=2)


def test_slow_rival_is_told_and_never_waited_for(duel: Duel) -> None:
    """An actor that comes every five minutes is reported, but its victims are back at once each time."""
    for _ in range(20):
        duel.lose(ONE)
        assert not duel.missing
        duel.pass_time(300)

    (history,) = duel.damping.flapping
    assert history.reported_times == 20


def test_all_heals_when_the_rival_stops(duel: Duel) -> None:
    """After the end the routes are back, the report is gone, and the next loss is as any first one."""
    duel.fight(60, 0.05, *KEYS[:100])
    duel.pass_time(LAST_PAUSE)
    assert not duel.missing
    assert duel.damping.flapping
    duel.pass_time(QUIET_INTERVALS * LAST_PAUSE)

    assert not duel.damping.flapping
    assert duel.damping.next_change(duel.now) is None
    duel.lose(*KEYS[:100])
    assert not duel.missing


def test_others_are_not_held_up(duel: Duel) -> None:
    """While one route is fought for, another one that is lost is back at once, of either family."""
    duel.fight(60, 0.05, ONE)
    for other in (key("192.0.2.2"), key("2001:db8::1")):
        duel.lose(ONE, other)
        assert other not in duel.missing


def test_contests_end_each_for_itself(duel: Duel) -> None:
    """An actor that stops is no longer reported, though another one goes on elsewhere."""
    duel.fight(60, 0.05, ONE, KEYS[0])
    duel.fight(200, 0.05, KEYS[0])

    assert [list(each.keys) for each in duel.damping.flapping] == [[KEYS[0]]]


def test_new_reason_ends_the_waiting(duel: Duel) -> None:
    """After a change of the desired routes, everything is tried at once."""
    duel.fight(60, 0.05, ONE)
    duel.lose(ONE)
    assert duel.damping.waiting(duel.now)
    duel.damping.release()

    assert not duel.damping.waiting(duel.now)
    duel.run()
    assert not duel.missing


def test_words_change_seldom(duel: Duel) -> None:
    """An actor that is a new process each time does not change the report each time."""
    told: set[str] = set()
    for number in range(1000):
        duel.lose(ONE, actor=Actor(number + 1))
        duel.pass_time(LAST_PAUSE)
        told.update(map(str, duel.damping.flapping))

    assert len(told) == len([5, 10, 20, 50, 100, 200, 500, 1000])
    assert "1000 times or more" in str(duel.damping.flapping[0])


@pytest.mark.parametrize(
    ("actor", "words", "what_to_do"),
    [
        (Actor(412, "systemd-network"), "systemd-network (process 412)", "ManageForeignRoutes=no"),
        (Actor(412, "NetworkManager"), "NetworkManager (process 412)", "its log"),
        (Actor(412), "process 412 (on the node: `ps -p 412`)", "if it is systemd-networkd set ManageForeignRoutes=no"),
        (Actor(412, "ip"), "ip (process 412)", "stop it from doing so, or remove these destinations"),
        (Actor(0), "the kernel itself", "stop it"),
        (Actor(4294963200), "a program that the kernel does not name", "stop it"),
        (Actor(1, "static-route-op"), "static-route-op (process 1)", "run one"),
        (Actor(1, "python", 245), "python (process 1)", "run one"),
    ],
)
def test_rival_in_words(actor: Actor, words: str, what_to_do: str) -> None:
    """The report names the actor, the evidence and a remedy."""
    assert describe(actor) == words
    assert what_to_do in hint(actor)


def test_replacement_is_told_as_one(duel: Duel) -> None:
    """The report says whether routes were removed or replaced."""
    duel.fight(6, 1, ONE, actor=Actor(99, "bird", 12))

    assert str(duel.damping.flapping[0]).startswith("replaced (proto bird) by bird (process 99), ")


def test_pauses_double_up_to_the_last() -> None:
    """The pause is none, then doubles, then stays, however often."""
    pauses = [damping.pause(times) for times in (1, 4, 5, 6, 7, 20, 10**6)]

    assert pauses == [0, 0, 1, 2, 4, LAST_PAUSE, LAST_PAUSE]


few_keys = st.lists(st.sampled_from([*KEYS[:5], key("2001:db8::1"), key("2001:db8::2")]), unique=True, min_size=1)


@given(st.lists(st.tuples(few_keys, st.floats(0, 50)), max_size=60))
def test_every_route_comes_back_and_is_in_one_contest(losses: list[tuple[list[bytes], float]]) -> None:
    """A lost route is in one history at most, reported only if it was lost often, and comes back."""
    duel = Duel()
    lost: dict[bytes, int] = {}
    for keys, seconds in losses:
        for each in keys:
            lost[each] = lost.get(each, 0) + (each not in duel.missing)
        duel.lose(*keys)
        known = [each for history in duel.damping._histories for each in history.keys]
        assert len(known) == len(set(known))
        assert all(history.times <= lost[each] for history in duel.damping._histories for each in history.keys)
        duel.pass_time(seconds)

    duel.pass_time(LAST_PAUSE)
    assert not duel.missing
    duel.pass_time(MEMORY)
    assert not duel.damping.flapping
