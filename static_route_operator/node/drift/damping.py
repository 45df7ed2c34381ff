"""Who keeps taking our routes away, and how hard to fight back.

A route that is gone is put back at once: that is what this program is for. But where another program takes the same
routes away again and again, two programs would work against each other as fast as they can. So from the fifth time on
a route is in a *contest*: it is told, with the name of the rival as far as the kernel knows it, and it is put back
after pauses that double. The pauses are between two repairs, not after a loss: what is taken away every hour never has
to wait. When the rival stops, the routes stay, and after a while all is forgotten.

Whatever happens within a second counts as once: one flush of many routes, which may take a route several times as it
comes back, or two agents of which one knows of a change a moment before the other.

What goes with its interface or its gateway's subnet is no contest, and is back as soon as they are.

Routes that were taken away together are one contest, with their keys packed; a flush of 100,000 routes is one.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, NamedTuple

from static_route_operator.routing.keyset import KeySet
from static_route_operator.routing.nexthops import PROTOCOL, protocol_name

# Taken away this often, it is told and put back with pauses.
CONTESTED: Final = 5
# Seconds between two repairs of the same routes: the first pause, which doubles up to the last.
FIRST_PAUSE: Final = 1.0
LAST_PAUSE: Final = 30.0
# Seconds for which a loss is remembered, so that a rival that comes every few minutes is found too.
MEMORY: Final = 600.0
# A contest is over when the routes have stayed for this many times the interval between the last two repairs, and for
# this many seconds at least.
CALM: Final = 3.0
SHORTEST_CALM: Final = 30.0
# Seconds in which losses count as once.
TOGETHER: Final = 1.0
# More contests than this are not told apart; the least of them is forgotten.
MOST: Final = 64

# The second netlink socket of a process has no process id for its port id, but a number larger than any.
_LAST_PROCESS: Final = 1 << 22

# By the name of the process, of which the kernel keeps 15 characters; empty when it can't be seen, as from a pod.
_REMEDIES: Final = {
    "systemd-network": "set ManageForeignRoutes=no under [Network] in /etc/systemd/networkd.conf.d/ and restart it",
    "": "if it is systemd-networkd set ManageForeignRoutes=no in networkd.conf.d, else stop it from doing so",
    "NetworkManager": "its log tells why it configures the interface again and again",
}
_OPERATORS: Final = frozenset({"static-route-op"})

# The numbers that are told: "10 times or more" changes less often than each loss.
_STEPS: Final[tuple[int, ...]] = tuple(mantissa * 10**exponent for exponent in range(7) for mantissa in (1, 2, 5))


class Actor(NamedTuple):
    """Who took a route away.

    Attributes:
        port: port id of its netlink socket: the process id, unless the process has several such sockets.
        name: of the process; empty when it can't be seen from here.
        protocol: of the route that it put in the place of ours; None when it only removed ours.
    """

    port: int
    name: str = ""
    protocol: int | None = None


@dataclass(slots=True)
class FlappingRoutes:
    """Routes that are taken away together, again and again.

    Times are in seconds of a clock that never jumps, unless said otherwise.

    Attributes:
        keys: the routes.
        times: how often they were taken away and put back, at least.
        since: when that was for the first time, in Unix time.
        rival: who did it; of several, the one at the last of the times that are told.
        repaired: when they were put back the last time that counts.
        due: before this they are not put back again.
        ends: when it is forgotten, unless they are taken away before.
    """

    keys: KeySet
    times: int
    since: float
    rival: Actor
    repaired: float
    due: float
    ends: float

    @property
    def told_times(self) -> int:
        """The number of times that is told."""
        return _step(self.times)

    def __str__(self) -> str:
        since = datetime.fromtimestamp(self.since, UTC)
        what = "removed" if self.rival.protocol is None else f"replaced (proto {protocol_name(self.rival.protocol)})"
        return f"{what} by {describe(self.rival)}, {self.told_times} times or more since {since:%Y-%m-%d %H:%M:%S} UTC"


class FlapDamping:
    """All that was taken away lately. It needs no memory as long as nothing is."""

    def __init__(self) -> None:
        self._contests: list[FlappingRoutes] = []

    def repaired(self, keys: KeySet, rival: Actor, now: float, clock: float) -> None:
        """Routes that somebody else removed or replaced have been put back.

        Args:
            keys: of the routes.
            rival: who did it.
            now: the time.
            clock: the same in Unix time.
        """
        for before in tuple(self._contests):
            if not keys:
                break
            others, again, keys = before.keys.compare(keys)
            if again and now - before.repaired >= TOGETHER:
                before.keys = others
                times = before.times + 1
                if _step(times) == before.told_times:
                    rival = before.rival
                interval = now - before.repaired
                ends = now + (max(CALM * interval, SHORTEST_CALM) if times >= CONTESTED else MEMORY)
                self._add(FlappingRoutes(again, times, before.since, rival, now, now + pause(times), ends))
        if keys:
            self._add(FlappingRoutes(keys, 1, clock, rival, now, now, now + MEMORY))
        self._contests = [each for each in self._contests if each.keys]
        while len(self._contests) > MOST:
            self._contests.remove(min(self._contests, key=lambda each: (each.times, each.repaired)))

    def _add(self, contest: FlappingRoutes) -> None:
        for other in self._contests:
            same = (other.times, other.keys.size) == (contest.times, contest.keys.size)
            if same and contest.repaired - other.repaired < TOGETHER:
                other.keys |= contest.keys
                other.since = min(other.since, contest.since)
                return
        self._contests.append(contest)

    def waiting(self, now: float) -> list[KeySet]:
        """The routes that are not put back yet if they are missing."""
        return [each.keys for each in self._contests if now < each.due]

    def forget(self, now: float) -> None:
        """Drop what is over."""
        self._contests = [each for each in self._contests if now < each.ends]

    def release(self) -> None:
        """Nothing waits any longer: there is a new reason to try."""
        for contest in self._contests:
            contest.due = contest.repaired

    @property
    def contests(self) -> Sequence[FlappingRoutes]:
        """What is to be told."""
        return [each for each in self._contests if each.times >= CONTESTED]

    def next_change(self, now: float) -> float | None:
        """When something may be put back, or is told no longer."""
        return min((each.due if now < each.due else each.ends for each in self.contests), default=None)


def pause(times: int) -> float:
    """Seconds from one repair of routes to the next, when they were taken away this often."""
    return min(FIRST_PAUSE * 2.0 ** min(times - CONTESTED, 64), LAST_PAUSE) if times >= CONTESTED else 0.0


def describe(rival: Actor) -> str:
    """A rival in words, with what leads to it where its name is not known."""
    if rival.port == 0:
        return "the kernel itself"
    if rival.name:
        return f"{rival.name} (process {rival.port})"
    if rival.port <= _LAST_PROCESS:
        return f"process {rival.port} (on the node: `ps -p {rival.port}`)"
    return "a program that the kernel does not name"


def hint(rival: Actor) -> str:
    """What to do about a rival."""
    if rival.protocol == PROTOCOL or rival.name in _OPERATORS:
        return "two operators work against each other on this host: run one"
    return _REMEDIES.get(rival.name, "stop it from doing so, or remove these destinations")


def _step(times: int) -> int:
    return _STEPS[bisect_right(_STEPS, times) - 1]
