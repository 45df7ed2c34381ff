"""This program's routes in the kernel, as far as they are known.

Known from a full read, then from the outcomes of this program's own changes and the notifications of everybody else's.
Whatever casts doubt on that knowledge makes the next run read again.
"""

import errno
import itertools
import os
import time
from collections.abc import Collection, Iterable, Sequence
from typing import Final

from static_route_operator.kernel.fib import FEW, Fib
from static_route_operator.kernel.messages import DecodedRoute
from static_route_operator.kernel.multipath import mark_shared, part
from static_route_operator.routing.kernelroute import LOCAL_KINDS, KernelRoute
from static_route_operator.routing.keys import IPV4_KEY_SIZE, prefix_of, unpack_table_metric
from static_route_operator.routing.keyset import KeySet, by_family
from static_route_operator.routing.nexthops import PROTOCOL, NextHops
from static_route_operator.routing.routes import Action, Failure, Operation, Routes
from static_route_operator.routing.shadowing import Endangered, endangered

# The kernel's answer to a route whose place another one has.
CONFLICT: Final = Failure(errno.EEXIST, os.strerror(errno.EEXIST))

# Seconds between two checks of which route the kernel uses; and while some were not looked at yet.
CHECK_PAUSE: Final = 2.0
UNSURE_PAUSE: Final = 0.1
# Seconds from the addition of many routes to a survey, at least; and the largest share of the time to spend on surveys.
SURVEY_PAUSE: Final = 1.0
SURVEY_SHARE: Final = 0.1
# Routes that one check looks at.
MOST_CHECKED: Final = 512


class InstalledRoutes:
    """The installed routes, and the foreign ones that share a key with them.

    Args:
        fib: the kernel's tables.

    Attributes:
        routes: the installed routes.
        outdated: whether `routes` may differ from the kernel, so that the next run reads.
        conflicting: by key, the installed routes that a foreign route with the same key precedes or shares; they are
            neither used nor replaced.
        shadowing: by key of an installed route, the foreign route that packets take in its place.
        incomplete: whether routes may have been missing from the last read; those known before count as installed.
        stale: the routes found at the start that may belong to a version not known yet; retained until it is.
    """

    def __init__(self, fib: Fib) -> None:
        self._fib = fib
        self._survey = True
        self._survey_seconds = 0.0
        self._noted: dict[bytes, NextHops | None] = {}
        self._judged_by: list[tuple[NextHops, KeySet]] = []
        # Installed routes beside which foreign ones stand, and those of them about which nothing is known yet.
        self._endangered = Endangered(set(), set(), set())
        self._unsure: set[bytes] = set()
        self._turn = 0
        self._due = False
        self._unseen = Routes()
        self.routes = Routes()
        self.outdated = True
        self.incomplete = False
        self.conflicting: dict[bytes, Failure] = {}
        self.shadowing: dict[bytes, KernelRoute] = {}
        self.stale: Sequence[KeySet] = ()

    def doubt(self, *, survey: bool = False) -> None:
        """Have the next run read the kernel's routes.

        Args:
            survey: look for foreign routes with the same keys too, in all tables.
        """
        self.outdated = True
        self._survey = self._survey or survey
        self._unsure |= self._endangered.held

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

    def beside(self, route: DecodedRoute) -> set[bytes]:
        """Return the keys of the installed routes before which a foreign route comes, or may come."""
        prefix, (table, metric) = prefix_of(route.key), unpack_table_metric(route.key)
        return set(endangered(self.routes, {prefix}, table, metric, tos=route.tos))

    def endanger(self, keys: Collection[bytes], by: DecodedRoute) -> None:
        """Take in that a foreign route has come beside installed ones: only the kernel knows which is used.

        Args:
            keys: of the installed routes.
            by: the foreign route.
        """
        self._endangered.keys.update(keys)
        self._unsure.update(keys)
        if by.tos:
            self._endangered.special.update(keys)
        elif by.key in keys:
            self._endangered.held.add(by.key)
        self.outdated = True

    def relieve(self, keys: Iterable[bytes]) -> bool:
        """Take in that a foreign route beside installed ones has gone; report whether one was known to stand there."""
        known = self._endangered.keys.intersection(keys)
        self._unsure |= known
        return bool(known)

    @property
    def check_after(self) -> float:
        """The seconds after which to call `check`; 0 while no foreign route stands beside an installed one.

        Neighbour state, router preference and expiry decide between the two, and change without a notification.
        """
        if self._unsure:
            return UNSURE_PAUSE
        if self._survey:
            return max(SURVEY_PAUSE, self._survey_seconds / SURVEY_SHARE)
        return CHECK_PAUSE if self._endangered.keys else 0.0

    def check(self) -> None:
        """Have the next run ask the kernel which routes it uses."""
        self._due = True

    async def refresh(self, desired: Routes) -> bool:
        """Bring `routes` up to date; report whether other keys are in conflict than before.

        Args:
            desired: the routes that should be there.
        """
        # The desired routes decide about the next hops that the kernel has merged: an object may come after the read.
        if self.outdated or self._desired_of_shared(desired) != self._judged_by:
            return await self._read(desired)
        self._take_notes()
        if not self._due:
            return False
        if self._survey:
            await self._look_for_foreign()
        return await self._judge()

    async def apply(self, operations: Sequence[Operation]) -> dict[bytes, Failure]:
        """Carry out operations; return what the kernel refused, by key.

        Raises:
            KernelError: see `Fib.apply`.
        """
        operations, spared = await self._spare_foreign(operations)
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
        failures = {key: failure for key, failure in failures.items() if not self._is_unseen(key, failure)}
        await self._look_at_added([keys for action, _, keys in operations if action is Action.ADD])
        return failures | spared

    async def _spare_foreign(self, operations: Sequence[Operation]) -> tuple[list[Operation], dict[bytes, Failure]]:
        """Take out the replacements that would hit a foreign route, and return these as conflicts.

        IPv6 replaces the first route of the same kind: with or without a gateway. If ours is of the other kind, that is
        a foreign one, such as a route of router advertisements.
        """
        risky = {
            key
            for action, next_hops, keys in operations
            if action is Action.REPLACE and next_hops.key_size != IPV4_KEY_SIZE
            for other, there in self.routes
            if other.has_gateway != next_hops.has_gateway
            for key in self._endangered.held.intersection(there & keys)
        }
        beside = await self._fib.beside(risky) if risky else {}
        spared = [key for key, routes in beside.items() if any(_holds(route, key) for route in routes)]
        for each in by_family(spared):
            operations = [Operation(action, hops, left) for action, hops, keys in operations if (left := keys - each)]
        return list(operations), dict.fromkeys(spared, CONFLICT)

    async def _look_at_added(self, added: Sequence[KeySet]) -> None:
        """Find the foreign routes that come before new routes of ours."""
        if sum(map(len, added)) > FEW:
            # One dump costs less than that many look-ups. It can wait: new routes must not.
            self._survey = True
        elif added:
            keys = {key for each in added for key in each if key in self.routes}
            self._endangered.keys.update(keys)
            self._unsure |= keys
            await self._judge()
            self._endangered.keys.difference_update(keys - self.shadowing.keys())

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

        A foreign route that precedes ours in the kernel is what traffic takes. If it has the key of ours, it is also
        what a REPLACE would hit. So ours counts as in conflict, and stays as it is, until the other goes. The same
        holds for a route that shares its key with next hops of another program, which a REPLACE would take away.
        """
        self.outdated = self.incomplete = False
        # A notification from now on makes the routes outdated, so that they are read once more.
        self._noted.clear()
        try:
            await self._read_own(desired)
            self._judged_by = self._desired_of_shared(desired)
            if self._survey:
                await self._look_for_foreign()
            return await self._judge()
        except BaseException:
            self.outdated = True
            raise

    async def _look_for_foreign(self) -> None:
        """Find the foreign routes beside installed ones, in all tables."""
        started = time.monotonic()
        found = await self._fib.endangered(self.routes)
        doubtful = self._doubtful()
        if doubtful:
            found = Endangered(*(known | new for known, new in zip(self._endangered, found, strict=True)))
        self._endangered = found
        self._unsure = set(found.keys)
        self._survey = doubtful
        self._survey_seconds = time.monotonic() - started

    async def _judge(self) -> bool:
        """Ask the kernel which routes it uses; report whether other keys are in conflict than before.

        A REPLACE would hit a foreign route with the same key, so that must be known at once. Of the other keys each
        call looks at some.
        """
        for keys in self._endangered:
            keys.intersection_update(
                [key for some in by_family(keys) for _, there in self.routes for key in some & there]
            )
        self._unsure &= self._endangered.keys
        asked = self._unsure & self._endangered.held
        asked.update(itertools.islice(self._unsure - asked, MOST_CHECKED))
        asked |= self._in_turn() if self._due else set()
        self._due = False
        found = await self._fib.used(asked - self._endangered.special)
        # Behind a route with a lower metric no look-up shows which of several with our key is first.
        hidden = {key for key in asked & self._endangered.held if (used := found.get(key)) and used.key != key}
        left = asked & self._unsure & (hidden | (asked - found.keys()))
        self._unsure -= asked
        if left:
            # All that is left costs the same dump.
            found |= await self._fib.first(left | self._unsure)
            self._unsure.clear()
        self._endangered.special.difference_update([key for key, route in found.items() if route is None])
        known = {key: route for key, route in self.shadowing.items() if key in self._endangered.keys}
        self.shadowing = {key: route for key, route in (known | found).items() if route is not None}
        conflicting = {key for key, route in self.shadowing.items() if _holds(route, key)} | self._shared()
        if conflicting == self.conflicting.keys():
            return False
        self.conflicting = dict.fromkeys(conflicting, CONFLICT)
        return True

    def _in_turn(self) -> set[bytes]:
        """Return the endangered keys that are checked next, so that all of them are in turn."""
        ordered = sorted(self._endangered.keys)
        self._turn = self._turn if self._turn < len(ordered) else 0
        start, self._turn = self._turn, self._turn + MOST_CHECKED
        return set(ordered[start : self._turn])

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

        An incomplete read does not find all known routes. The desired ones among those it lacks are added: the kernel
        then says which are there. The others count as installed, so that they are deleted.
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

    def _desired_of_shared(self, desired: Routes) -> list[tuple[NextHops, KeySet]]:
        """Return the desired next hops of the routes that have, or may have, next hops of another program."""
        shared = [keys for next_hops, keys in self.routes if next_hops.shared]
        return [(target, both) for target, there in desired for keys in shared if (both := keys & there)]

    def _shared(self) -> set[bytes]:
        """Return the routes into which the kernel has merged next hops of another program."""
        return {key for next_hops, keys in self.routes if next_hops.shared for key in keys}


def _holds(route: KernelRoute, key: bytes) -> bool:
    """Report whether a route of another program has the place of a route of ours."""
    foreign = route.protocol != PROTOCOL and route.kind not in LOCAL_KINDS
    return foreign and route.key == key and not route.tos
