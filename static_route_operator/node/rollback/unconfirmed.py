"""Versions of objects on this node: the newest is in force, unless the node has rolled it back.

A version that changes the kernel is unconfirmed until the node has found that it still reaches all required endpoints.
Then the version is confirmed; or it is rolled back, and the last confirmed one is in force until a newer version comes.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from static_route_operator.api.noderoutestate import GOOD_STATES, Reason, Row, RowState
from static_route_operator.api.resolution import ResolvedRoute, Version
from static_route_operator.planning.plan import Plan
from static_route_operator.routing.keyset import KeySet
from static_route_operator.routing.nexthops import NextHops
from static_route_operator.routing.prefixes import supernet
from static_route_operator.routing.routes import Action, Operation, Routes

# Keys in the smaller of two sets, up to which it is cheaper to look up each key than to intersect the sets.
_FEW = 16


@dataclass(frozen=True, slots=True)
class UnconfirmedChange:
    """A version of an object that the node has not confirmed.

    Attributes:
        route: the version.
        before: the confirmed version before it; None when there was none.
    """

    route: ResolvedRoute
    before: ResolvedRoute | None = None


@dataclass(frozen=True, slots=True)
class RolledBack:
    """A version of an object that is not in force on this node.

    Attributes:
        version: the version.
        name: name of the object.
        why: the reason, for people.
        digest: see `StaticRoute.digest`; by it and the name a program without an API server knows the version again.
    """

    version: Version
    name: str
    why: str
    digest: str = ""


class UnconfirmedChanges:
    """The versions of all objects, by uid.

    Attributes:
        confirmed: versions that the node has confirmed.
        rolled_back: versions that are not in force, reverted ones included.
        awaiting: changes in the kernel that await confirmation.
        reverted: changes taken out of the kernel for now: the node checks whether connectivity returns without them.
        version: a number that moves when other versions come into force than those that are known.
    """

    def __init__(
        self,
        confirmed: Mapping[str, ResolvedRoute] | None = None,
        rolled_back: Mapping[str, RolledBack] | None = None,
    ) -> None:
        self.confirmed = dict(confirmed or {})
        self.rolled_back = dict(rolled_back or {})
        self.awaiting: dict[str, UnconfirmedChange] = {}
        self.reverted: dict[str, UnconfirmedChange] = {}
        self.version = 0
        self._reverted_keys: dict[str, KeySet] = {}

    def in_force(self, routes: Iterable[ResolvedRoute]) -> Iterator[ResolvedRoute]:
        """Yield the version of each object that is in force, if there is one."""
        for route in routes:
            rolled_back = self.rolled_back.get(route.uid)
            if rolled_back is None or rolled_back.version != route.version:
                yield route
            elif (confirmed := self.confirmed.get(route.uid)) is not None:
                yield confirmed

    def introduced(
        self, plan: Plan, operations: Sequence[Operation], routes: Mapping[str, ResolvedRoute] | None = None
    ) -> list[UnconfirmedChange]:
        """Return the versions that change the kernel for the first time with these operations.

        Args:
            plan: the desired state that the operations lead to.
            operations: all changes of the kernel.
            routes: by uid, the newest version of each object: one that no longer selects this node is a change too.
        """
        if not operations:
            return []
        planned = {each.route.uid: (each.route, each.keys) for each in plan.objects}
        for uid in self.confirmed.keys() - planned.keys():
            if (route := (routes or {}).get(uid)) is not None:
                planned[uid] = route, route.keys[:0]
        changes = []
        for uid, (route, keys) in planned.items():
            confirmed, awaiting = self.confirmed.get(uid), self.awaiting.get(uid)
            if _same(route, confirmed) or (awaiting is not None and _same(route, awaiting.route)):
                continue
            concerned = [keys, *([confirmed.keys] if confirmed else []), *([awaiting.route.keys] if awaiting else [])]
            if any(_overlap(operation.keys, each) for operation in operations for each in concerned):
                changes.append(UnconfirmedChange(route, confirmed))
        return changes

    @property
    def open(self) -> list[UnconfirmedChange]:
        """Return all changes that are neither confirmed nor rolled back for good."""
        return [*self.awaiting.values(), *self.reverted.values()]

    def already_installed(self, plan: Plan, installed: Routes) -> tuple[bool, list[ResolvedRoute]]:
        """Return the objects fully installed without an unconfirmed change, and whether more may follow."""
        rest = [
            each
            for each in plan.objects
            if each.route.uid not in self.awaiting and self.confirmed.get(each.route.uid) is not each.route
        ]
        if not rest:
            return False, []
        missing = [left for next_hops, keys in plan.desired if (left := keys - installed.through(next_hops))]
        found = [each.route for each in rest if each.keys and not any(_overlap(each.keys, keys) for keys in missing)]
        return len(found) < len(rest), found

    def begin(self, changes: Iterable[UnconfirmedChange]) -> None:
        """Take in that these changes are about to be applied."""
        for change in changes:
            self.awaiting[change.route.uid] = change

    def confirm(self, routes: Iterable[ResolvedRoute]) -> bool:
        """Mark versions as confirmed, unconfirmed before or not; report whether any of them is news."""
        news = False
        for route in routes:
            uid = route.uid
            self.awaiting.pop(uid, None)
            if not _same(route, self.confirmed.get(uid)):
                news = True
                self.reverted.pop(uid, None)
                self.rolled_back.pop(uid, None)
            self.confirmed[uid] = route
        return news

    def revert(self, changes: Iterable[UnconfirmedChange], why: str) -> None:
        """Take changes out of force for now; ``why`` is for people."""
        for change in changes:
            route = change.route
            self.awaiting.pop(route.uid, None)
            self.reverted[route.uid] = change
            self.rolled_back[route.uid] = RolledBack(route.version, route.name, why, route.spec.digest)
            self._reverted_keys[route.uid] = route.keys
            if change.before is not None:
                self.confirmed[route.uid] = change.before
        self.version += 1

    def reject(self, changes: Iterable[UnconfirmedChange], why: str) -> None:
        """Keep reverted changes rolled back; ``why`` is for people."""
        for change in changes:
            uid = change.route.uid
            self.reverted.pop(uid, None)
            self.rolled_back[uid] = replace(self.rolled_back[uid], why=why)

    def retry(self, changes: Iterable[UnconfirmedChange]) -> None:
        """Bring changes into force again that were reverted together with the cause; they are unconfirmed again."""
        for change in changes:
            self.reverted.pop(change.route.uid, None)
            self.rolled_back.pop(change.route.uid, None)
        self.version += 1

    def reinstate(self, changes: Iterable[UnconfirmedChange]) -> None:
        """Reinstate changes whose rollback did not help, and mark them confirmed."""
        self.confirm(change.route for change in changes)
        self.version += 1

    def retain(self, uids: Collection[str]) -> bool:
        """Forget all objects but these; report whether any was known."""
        everything = (self.confirmed, self.awaiting, self.reverted, self.rolled_back)
        gone = {uid for known in everything for uid in known if uid not in uids}
        for uid in gone:
            for known in everything:
                known.pop(uid, None)
        return bool(gone)

    def permitted(self, operations: Iterable[Operation], dead_ends: Collection[NextHops] = ()) -> Iterator[Operation]:
        """Yield what may be done while not all objects are known: only reverted routes and dead ends are deleted."""
        for operation in operations:
            if operation.action is not Action.DELETE or operation.next_hops in dead_ends:
                yield operation
                continue
            left = operation.keys
            for keys in self._reverted_keys.values():
                if both := left & keys:
                    left -= both
                    yield operation._replace(keys=both)

    def forget_reverted_keys(self) -> None:
        """Take in that all objects are known, from which every deletion follows."""
        self._reverted_keys.clear()

    def rows(self, rows: Sequence[Row], selects: Callable[[RolledBack], bool]) -> tuple[Row, ...]:
        """Return the rows of all objects, changed where a version is unconfirmed or rolled back.

        Args:
            rows: rows of the versions in force, by name.
            selects: tells whether a rolled back version is still the newest, and for this node.
        """
        found = {row.name: row for row in rows}
        awaiting = {change.route.name for change in self.awaiting.values()}
        for name in awaiting & found.keys():
            row = found[name]
            if row.state in GOOD_STATES:
                found[name] = replace(row, state=RowState.PENDING, reason=Reason.AWAITING_CONFIRMATION)
        for rolled_back in filter(selects, self.rolled_back.values()):
            found[rolled_back.name] = self._row(rolled_back, found.get(rolled_back.name))
        return tuple(found[name] for name in sorted(found))

    def _row(self, rolled_back: RolledBack, known: Row | None) -> Row:
        """Return the row of a rolled back version; ``known`` is the row of the version in force."""
        uid = rolled_back.version.uid
        reverted, confirmed = uid in self.reverted, self.confirmed.get(uid)
        if reverted:
            next_step = "checking whether the rollback restored connectivity"
        else:
            next_step = "this version is not tried again: change the object"
        in_force = f"; the last confirmed version ({confirmed.version}) is in force" if known and confirmed else ""
        return Row(
            name=rolled_back.name,
            generation=rolled_back.version.generation,
            gateway=known.gateway if known else "",
            state=RowState.PENDING if reverted else RowState.FAILED,
            reason=Reason.AWAITING_CONFIRMATION if reverted else Reason.ROLLED_BACK,
            message=f"{rolled_back.why}; {next_step}{in_force}",
            destinations=known.destinations if known else 0,
            programmed=known.programmed if known else 0,
        )


def touches(change: UnconfirmedChange, address: bytes) -> bool:
    """Report whether a change concerns an address: the version, or the one before it, has a route to the address."""
    versions = [change.route, *([change.before] if change.before else [])]
    around = [supernet(address, length) for length in range(len(address) * 8 + 1)]
    return any(version.keys.between(prefix, prefix) for version in versions for prefix in around)


def _same(route: ResolvedRoute, other: ResolvedRoute | None) -> bool:
    return other is not None and (route is other or route.version == other.version)


def _overlap(some: KeySet, others: KeySet) -> bool:
    few, many = sorted((some, others), key=len)
    return any(key in many for key in few) if len(few) <= _FEW else bool(few & many)
