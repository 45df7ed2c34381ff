"""Flap damping: routes that another program takes away again and again are restored ever more slowly.

A lost route is restored at once: that is what this program is for. But where another program takes the same routes
away again and again, the two would work against each other as fast as they can. From the fifth loss on, routes are
*flapping*: they are reported with the actor, as far as the kernel names it, and restored after pauses that double
(compare RFC 2439). A pause counts from one repair to the next, so a route that is lost once an hour never waits. When
the actor stops, the routes stay, and after a quiet time their history is forgotten.

Losses within one second count as one: a single flush may take a route several times while it is being restored, and
two agents may learn of a change a moment apart.

A route that goes with its interface or its gateway's subnet is not flapping, and is back as soon as those are.

Routes that were lost together share one history, with their keys packed: a flush of 100,000 routes is one.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, NamedTuple

from static_route_operator.routing.keyset import KeySet
from static_route_operator.routing.nexthops import PROTOCOL, protocol_name

# Losses from which a route is flapping: reported, and restored with pauses.
FLAPPING: Final = 5
# Seconds between two repairs of the same routes: the first pause, which doubles up to the last.
FIRST_PAUSE: Final = 1.0
LAST_PAUSE: Final = 30.0
# Seconds that a loss is remembered, so that an actor that comes every few minutes is found too.
MEMORY: Final = 600.0
# Flapping ends when the routes have stayed for this multiple of the interval between the last two repairs, and for at
# least this many seconds.
QUIET_INTERVALS: Final = 3.0
SHORTEST_QUIET: Final = 30.0
# Seconds within which losses count as one.
TOGETHER: Final = 1.0
# Histories that are kept apart; the least of them is forgotten.
CAPACITY: Final = 64

# The second netlink socket of a process has no process id for its port id, but a number larger than any process id.
_LAST_PROCESS: Final = 1 << 22

# By the name of the process, of which the kernel keeps 15 characters; empty when it can't be seen, as from a pod.
_HINTS: Final = {
    "systemd-network": "set ManageForeignRoutes=no under [Network] in /etc/systemd/networkd.conf.d/ and restart it",
    "": "if it is systemd-networkd set ManageForeignRoutes=no in networkd.conf.d, else stop it from doing so",
    "NetworkManager": "its log tells why it configures the interface again and again",
}
_OPERATORS: Final = frozenset({"static-route-op"})

# The numbers that are reported: "10 times or more" changes less often than the number of losses.
_STEPS: Final[tuple[int, ...]] = tuple(mantissa * 10**exponent for exponent in range(7) for mantissa in (1, 2, 5))


class Actor(NamedTuple):
    """The program that took a route away.

    Attributes:
        port: port id of its netlink socket: the process id, unless the process has several such sockets.
        name: name of the process; empty when it can't be seen from here.
        protocol: protocol of the route that replaced ours; None when ours was only removed.
    """

    port: int
    name: str = ""
    protocol: int | None = None


@dataclass(slots=True)
class FlappingRoutes:
    """Routes that were lost together, and their history.

    Times are in seconds of a clock that never jumps, unless said otherwise.

    Attributes:
        keys: the routes.
        times: number of losses, at least.
        since: first loss, in Unix time.
        actor: the program that took them; of several, the one at the last reported number.
        repaired: last repair that counts.
        due: time before which they are not restored again.
        ends: time at which their history is forgotten, unless they are lost again.
    """

    keys: KeySet
    times: int
    since: float
    actor: Actor
    repaired: float
    due: float
    ends: float

    @property
    def reported_times(self) -> int:
        """The number of losses that is reported."""
        return _step(self.times)

    def __str__(self) -> str:
        since = datetime.fromtimestamp(self.since, UTC)
        what = "removed" if self.actor.protocol is None else f"replaced (proto {protocol_name(self.actor.protocol)})"
        times = self.reported_times
        return f"{what} by {describe(self.actor)}, {times} times or more since {since:%Y-%m-%d %H:%M:%S} UTC"


class FlapDamping:
    """The histories of routes that were lost lately; empty as long as nothing is lost."""

    def __init__(self) -> None:
        self._histories: list[FlappingRoutes] = []

    def repaired(self, keys: KeySet, actor: Actor, now: float, clock: float) -> None:
        """Take in that routes which another program removed or replaced have been restored.

        Args:
            keys: the routes.
            actor: the program that took them.
            now: seconds on a clock that never jumps.
            clock: the same moment in Unix time.
        """
        for before in tuple(self._histories):
            if not keys:
                break
            others, again, keys = before.keys.compare(keys)
            if again and now - before.repaired >= TOGETHER:
                before.keys = others
                times = before.times + 1
                if _step(times) == before.reported_times:
                    actor = before.actor
                interval = now - before.repaired
                ends = now + (max(QUIET_INTERVALS * interval, SHORTEST_QUIET) if times >= FLAPPING else MEMORY)
                self._add(FlappingRoutes(again, times, before.since, actor, now, now + pause(times), ends))
        if keys:
            self._add(FlappingRoutes(keys, 1, clock, actor, now, now, now + MEMORY))
        self._histories = [each for each in self._histories if each.keys]
        while len(self._histories) > CAPACITY:
            self._histories.remove(min(self._histories, key=lambda each: (each.times, each.repaired)))

    def _add(self, history: FlappingRoutes) -> None:
        for other in self._histories:
            same = (other.times, other.keys.size) == (history.times, history.keys.size)
            if same and history.repaired - other.repaired < TOGETHER:
                other.keys |= history.keys
                other.since = min(other.since, history.since)
                return
        self._histories.append(history)

    def waiting(self, now: float) -> list[KeySet]:
        """Return the routes that are not restored yet if they are missing."""
        return [each.keys for each in self._histories if now < each.due]

    def forget(self, now: float) -> None:
        """Drop the histories that have ended."""
        self._histories = [each for each in self._histories if now < each.ends]

    def release(self) -> None:
        """End all pauses: there is a new reason to try."""
        for history in self._histories:
            history.due = history.repaired

    @property
    def flapping(self) -> Sequence[FlappingRoutes]:
        """The histories to be reported."""
        return [each for each in self._histories if each.times >= FLAPPING]

    def next_change(self, now: float) -> float | None:
        """Return the time at which a pause or a reported history ends; None when none does."""
        return min((each.due if now < each.due else each.ends for each in self.flapping), default=None)


def pause(times: int) -> float:
    """Return the seconds from one repair to the next after this number of losses."""
    return min(FIRST_PAUSE * 2.0 ** min(times - FLAPPING, 64), LAST_PAUSE) if times >= FLAPPING else 0.0


def describe(actor: Actor) -> str:
    """Name an actor in words, with a way to find it where its name is not known."""
    if actor.port == 0:
        return "the kernel itself"
    if actor.name:
        return f"{actor.name} (process {actor.port})"
    if actor.port <= _LAST_PROCESS:
        return f"process {actor.port} (on the node: `ps -p {actor.port}`)"
    return "a program that the kernel does not name"


def hint(actor: Actor) -> str:
    """Say what to do about an actor."""
    if actor.protocol == PROTOCOL or actor.name in _OPERATORS:
        return "two operators work against each other on this host: run one"
    return _HINTS.get(actor.name, "stop it from doing so, or remove these destinations")


def _step(times: int) -> int:
    return _STEPS[bisect_right(_STEPS, times) - 1]
