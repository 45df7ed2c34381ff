"""This program's routes in the kernel, as far as they are known.

Known from a full read, then from the outcomes of this program's own changes and the notifications of everybody else's.
Whatever casts doubt on that knowledge makes the next run read again.
"""

import errno
import os
from collections.abc import Sequence

from static_route_operator.kernel.fib import Fib
from static_route_operator.kernel.messages import DecodedRoute
from static_route_operator.kernel.multipath import mark_shared, part
from static_route_operator.routing.keys import IPV4_KEY_SIZE
from static_route_operator.routing.keyset import KeySet, by_family
from static_route_operator.routing.nexthops import NextHops
from static_route_operator.routing.routes import Action, Failure, Operation, Routes


class InstalledRoutes:
    """The installed routes, and the foreign ones that share a key with them.

    Args:
        fib: the kernel's tables.

    Attributes:
        routes: the installed routes.
        outdated: whether `routes` may differ from the kernel, so that the next run reads.
        incomplete: whether routes may have been missing from the last read.
        conflicting: by key, the installed routes that a foreign route precedes or shares; neither used nor replaced.
        stale: the routes found at the start that may belong to a version not known yet; retained until it is.
    """

    def __init__(self, fib: Fib) -> None:
        self._fib = fib
        self._survey = True
        self._noted: dict[bytes, NextHops | None] = {}
        self._shadowed: set[bytes] = set()
        self._unseen = Routes()
        self.routes = Routes()
        self.outdated = True
        self.incomplete = False
        self.conflicting: dict[bytes, Failure] = {}
        self.stale: Sequence[KeySet] = ()

    def doubt(self, *, survey: bool = False) -> None:
        """Have the next run read the kernel's routes.

        Args:
            survey: look for foreign routes with the same keys too, in all tables.
        """
        self.outdated = True
        self._survey = self._survey or survey

    def note(self, route: DecodedRoute, *, gone: bool, busy: bool) -> None:
        """Take in that another program changed a route of this protocol.

        Args:
            route: the route as the kernel reported it.
            gone: whether the route was deleted.
            busy: whether a read or a change is under way: the notification may be older or newer than its outcome.
        """
        if busy or self._is_part(route, gone=gone):
            # With several next hops only a read shows who owns which.
            self.outdated = True
        else:
            self._noted[route.key] = None if gone else route.next_hops

    def shadow(self, key: bytes) -> None:
        """Take in that a foreign route with the key of an installed one has come: only a read shows which is used."""
        if len(key) == IPV4_KEY_SIZE:
            self._shadowed.add(key)
        self.outdated = True

    def is_shadowed(self, key: bytes) -> bool:
        """Report whether a foreign route with this key is known to stand beside the installed one."""
        return key in self._shadowed

    async def refresh(self, desired: Routes) -> bool:
        """Bring `routes` up to date; report whether other keys are in conflict than before.

        Args:
            desired: the routes that should be there.
        """
        if self.outdated:
            return await self._read(desired)
        self._take_notes()
        return False

    async def apply(self, operations: Sequence[Operation]) -> dict[bytes, Failure]:
        """Carry out operations; return what the kernel refused, by key.

        Raises:
            KernelError: see `Fib.apply`.
        """
        failures = await self._fib.apply(operations)
        present = by_family(key for key, failure in failures.items() if self._is_unseen(key, failure))
        for action, next_hops, keys in operations:
            if action is Action.DELETE:
                self.routes.drop(keys)
            else:
                self.routes.put(next_hops, keys)
        for each in by_family(failures):
            self.routes.drop(each)
        for next_hops, unseen in self._unseen:
            for keys in present:
                self.routes.put(next_hops, unseen & keys)
        return {key: failure for key, failure in failures.items() if not self._is_unseen(key, failure)}

    def _is_unseen(self, key: bytes, failure: Failure) -> bool:
        """Report whether a failure says that a route is there after all, which an incomplete read did not find."""
        return failure.errno == errno.EEXIST and key in self._unseen

    def _is_part(self, route: DecodedRoute, *, gone: bool) -> bool:
        """Report whether a notification is about one of several IPv6 routes that the kernel has merged."""
        if len(route.key) == IPV4_KEY_SIZE:
            return False
        return len(route.next_hops.hops) > 1 or (gone and route.key not in self.routes.through(route.next_hops))

    def _take_notes(self) -> None:
        """Apply all noted changes at once: one by one they would copy the sets of keys each time."""
        noted: dict[NextHops | None, list[bytes]] = {}
        for key, next_hops in self._noted.items():
            noted.setdefault(next_hops, []).append(key)
        self._noted.clear()
        for next_hops, keys in noted.items():
            for each in by_family(keys):
                if next_hops is None:
                    self.routes.drop(each)
                else:
                    self.routes.put(next_hops, each)

    async def _read(self, desired: Routes) -> bool:
        """Read the installed routes and, now and then, the foreign ones that share a key with them.

        A foreign route that precedes ours in the kernel is what traffic takes and what a REPLACE would hit. So ours
        counts as in conflict, and stays as it is, until the other goes. The same holds for a route that shares its
        key with next hops of another program, which a REPLACE would take away.
        """
        self.outdated = self.incomplete = False
        # A notification from now on makes the routes outdated, so that they are read once more.
        self._noted.clear()
        try:
            await self._read_own(desired)
            if self._survey:
                found = set(await self._fib.shadowed(self.routes))
                self._shadowed = self._shadowed | found if self._doubtful() else found
            self._shadowed = {key for key in self._shadowed if key in self.routes}
            conflicting = await self._fib.foreign_first(self._shadowed) | self._shared()
        except BaseException:
            self.outdated = True
            raise
        self._survey = self._survey and self.incomplete
        if conflicting == self.conflicting.keys():
            return False
        self.conflicting = dict.fromkeys(conflicting, Failure(errno.EEXIST, os.strerror(errno.EEXIST)))
        return True

    async def _read_own(self, desired: Routes) -> None:
        known = self.routes
        self.routes = await self._read_beside(known, desired)
        mark_shared(self.routes, known, desired)
        if parting := part(self.routes, desired):
            await self._fib.apply(parting)
            self.routes = await self._read_beside(known, desired)
            mark_shared(self.routes, known, desired)

    async def _read_beside(self, known: Routes, desired: Routes) -> Routes:
        """Return the installed routes, as far as a read finds out.

        An incomplete read may miss known routes. Those that are desired are added again: the kernel then says which are
        there. The others count as installed, so that they are deleted.
        """
        found = await self._fib.read(known)
        self._unseen = Routes()
        if self._doubtful():
            missing = known.copy()
            for _, keys in found:
                missing.drop(keys)
            for next_hops, keys in missing:
                for _, each in desired:
                    self._unseen.put(next_hops, self._unseen.through(next_hops) | (keys & each))
                found.put(next_hops, keys - self._unseen.through(next_hops))
        return found

    def _doubtful(self) -> bool:
        """Note and report whether entries may be missing from the last read."""
        self.incomplete = self.incomplete or self._fib.incomplete
        return self._fib.incomplete

    def _shared(self) -> set[bytes]:
        """Return the routes into which the kernel has merged next hops of another program."""
        return {key for next_hops, keys in self.routes if next_hops.shared for key in keys}
