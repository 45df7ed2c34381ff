"""Drift: losses of installed routes to other programs, from the first notice to the repair.

The one owner of three parts: who took which routes (`repairs`), how often the same routes are taken (`damping`), and
how many are taken at a time (`holddown`). Pure: the time and the names of processes are passed in.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

from static_route_operator.node.drift.damping import Actor, FlapDamping, FlappingRoutes
from static_route_operator.node.drift.holddown import HoldDown
from static_route_operator.node.drift.repairs import PendingRepairs
from static_route_operator.routing.keyset import KeySet
from static_route_operator.routing.routes import Failure, Operation


class Drift:
    """The losses of one node's routes.

    Args:
        process_name: returns the name of the process behind the port id of a netlink socket; empty if it is not known.
    """

    def __init__(self, process_name: Callable[[int], str]) -> None:
        self._process_name = process_name
        self._actor = Actor(0)
        self._repairs = PendingRepairs()
        self._damping = FlapDamping()
        self._hold_down = HoldDown()

    def noticed(self, key: bytes, protocol: int | None, port: int, now: float) -> None:
        """Take in that another program removed or replaced a route.

        Args:
            key: the route.
            protocol: protocol of the route that took its place; None when the route was removed.
            port: port id of the program's netlink socket; 0 is the kernel itself.
            now: seconds on a clock that never jumps.
        """
        self._hold_down.lost(now)
        self.suspect(key, protocol, port)

    def suspect(self, key: bytes, protocol: int | None, port: int) -> None:
        """Take in that another program may have taken a route away; the next read shows whether the route is lost."""
        # The kernel takes routes away with a link or an address: then no program works against this one.
        if port:
            if (port, protocol) != (self._actor.port, self._actor.protocol):
                # Looked up once per actor: the process may have ended by the time of a report.
                self._actor = Actor(port, self._process_name(port), protocol)
            self._repairs.note(key, self._actor)

    def restored(
        self, operations: Sequence[Operation], failures: Mapping[bytes, Failure], now: float, clock: float
    ) -> Iterator[KeySet]:
        """Yield the lost routes that operations have restored, and count each for flap damping.

        Args:
            operations: all that were carried out.
            failures: by key, the operations that the kernel refused.
            now: seconds on a clock that never jumps.
            clock: the same moment in Unix time.
        """
        for keys, actor in self._repairs.restored(operations, failures):
            self._damping.repaired(keys, actor, now, clock)
            yield keys

    def waiting(self, now: float) -> list[KeySet]:
        """Return the routes that flap damping does not restore yet."""
        return self._damping.waiting(now)

    def pause(self, now: float) -> float:
        """Return the seconds to wait for the end of a burst of losses; 0 when there is none."""
        return self._hold_down.pause(now)

    def release(self) -> None:
        """Restore all routes without a pause: other routes are desired from now on."""
        self._damping.release()

    def settle(self, waiting: Sequence[KeySet], failing: Collection[bytes], now: float) -> float | None:
        """Forget the losses that are over; return the time of the next change of flap damping, if there is one.

        Args:
            waiting: the routes that flap damping has not restored yet.
            failing: the keys that the kernel refuses.
            now: seconds on a clock that never jumps.
        """
        self._repairs.retain(waiting, failing)
        self._damping.forget(now)
        return self._damping.next_change(now)

    @property
    def flapping(self) -> Sequence[FlappingRoutes]:
        """The routes that other programs take away again and again."""
        return self._damping.flapping
