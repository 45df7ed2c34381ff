"""Which version of each object is in force on this node: the newest, unless the node could not live with it.

A version that changes the kernel is on trial until the node has found out that it still reaches what it must. Then it
is good; or it is undone, and the last good one is in force until there is a newer version.
"""

import hashlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from static_route_operator.api.noderoutestate import GOOD_STATES, Reason, Row, RowState
from static_route_operator.api.staticroute import StaticRoute
from static_route_operator.planning.plan import Plan
from static_route_operator.routing.keyset import KeySet
from static_route_operator.routing.prefixes import supernet
from static_route_operator.routing.routes import Action, Operation, Routes

# Two sets of keys, one of which is this small, are compared key by key.
_FEW = 16


@dataclass(frozen=True, slots=True)
class UnconfirmedChange:
    """A version of an object that is on trial.

    Attributes:
        route: the version.
        before: the good one before it; None when there was none.
    """

    route: StaticRoute
    before: StaticRoute | None = None


@dataclass(frozen=True, slots=True)
class Undone:
    """A version of an object that was undone on this node.

    Attributes:
        uid: of the object.
        name: of the object.
        generation: of the version.
        digest: of the version, which alone tells it apart where there are no generations.
        why: for people.
    """

    uid: str
    name: str
    generation: int
    digest: str
    why: str

    @classmethod
    def version(cls, route: StaticRoute, why: str) -> "Undone":
        """This version, undone."""
        return cls(route.uid, route.name, route.generation, _digest(route), why)

    def matches(self, route: StaticRoute) -> bool:
        """Whether an object still is of this version."""
        if (route.uid, route.generation) != (self.uid, self.generation):
            return False
        return route.generation > 0 or _digest(route) == self.digest


class UnconfirmedChanges:
    """The versions of all objects, by uid.

    Attributes:
        good: that the node has lived with.
        running: that are on trial.
        suspended: that were undone, and it is not known yet whether that helped.
        undone: that are not in force.
        version: moves when other versions come into force than those that are known.
    """

    def __init__(self) -> None:
        self.good: dict[str, StaticRoute] = {}
        self.running: dict[str, UnconfirmedChange] = {}
        self.suspended: dict[str, UnconfirmedChange] = {}
        self.undone: dict[str, Undone] = {}
        self.version = 0
        self._released: dict[str, KeySet] = {}

    def in_force(self, routes: Iterable[StaticRoute]) -> Iterator[StaticRoute]:
        """Of each object the version that counts, if there is one."""
        for route in routes:
            undone = self.undone.get(route.uid)
            if undone is None or not undone.matches(route):
                yield route
            elif (good := self.good.get(route.uid)) is not None:
                yield good

    def untried(
        self, plan: Plan, operations: Sequence[Operation], routes: Mapping[str, StaticRoute] | None = None
    ) -> list[UnconfirmedChange]:
        """What goes on trial with these operations: the versions that change the kernel for the first time.

        Args:
            plan: what should be in the kernel.
            operations: what makes it so.
            routes: the newest version of each object by uid: one that is not for this node any more is on trial too.
        """
        if not operations:
            return []
        planned = {each.route.uid: (each.route, each.keys) for each in plan.objects}
        for uid in self.good.keys() - planned.keys():
            if (route := (routes or {}).get(uid)) is not None:
                planned[uid] = route, route.keys[:0]
        trials = []
        for uid, (route, keys) in planned.items():
            good, running = self.good.get(uid), self.running.get(uid)
            if _same(route, good) or (running is not None and _same(route, running.route)):
                continue
            concerned = [keys, *([good.keys] if good else []), *([running.route.keys] if running else [])]
            if any(_meet(operation.keys, each) for operation in operations for each in concerned):
                trials.append(UnconfirmedChange(route, good))
        return trials

    @property
    def open(self) -> list[UnconfirmedChange]:
        """All without a verdict."""
        return [*self.running.values(), *self.suspended.values()]

    def lived_with(self, plan: Plan, installed: Routes) -> tuple[bool, list[StaticRoute]]:
        """What is in the kernel as a whole without a trial; and whether some that are not may come to be so."""
        known, running = self.good, self.running
        rest = [
            each
            for each in plan.objects
            if each.route.uid not in running and known.get(each.route.uid) is not each.route
        ]
        if not rest:
            return False, []
        missing = [left for path, keys in plan.desired if (left := keys - installed.through(path))]
        found = [each.route for each in rest if each.keys and not any(_meet(each.keys, keys) for keys in missing)]
        return len(found) < len(rest), found

    def begin(self, trials: Iterable[UnconfirmedChange]) -> None:
        """These are on trial from now on."""
        for trial in trials:
            self.running[trial.route.uid] = trial

    def take_as_good(self, routes: Iterable[StaticRoute]) -> bool:
        """The node lives with these, on trial or not; whether that is news."""
        news = False
        for route in routes:
            uid = route.uid
            self.running.pop(uid, None)
            if not _same(route, self.good.get(uid)):
                news = True
                self.suspended.pop(uid, None)
                self.undone.pop(uid, None)
            self.good[uid] = route
        return news

    def undo(self, trials: Iterable[UnconfirmedChange], why: str) -> None:
        """These are not in force any more, for now; ``why`` is for people."""
        for trial in trials:
            route = trial.route
            self.running.pop(route.uid, None)
            self.suspended[route.uid] = trial
            self.undone[route.uid] = Undone.version(route, why)
            self._released[route.uid] = route.keys
            if trial.before is not None:
                self.good[route.uid] = trial.before
        self.version += 1

    def convict(self, trials: Iterable[UnconfirmedChange], why: str) -> None:
        """These, which were undone, stay so; ``why`` is for people."""
        for trial in trials:
            uid = trial.route.uid
            self.suspended.pop(uid, None)
            self.undone[uid] = replace(self.undone[uid], why=why)

    def retry(self, trials: Iterable[UnconfirmedChange]) -> None:
        """These were undone with others: they are to be tried again."""
        for trial in trials:
            self.suspended.pop(trial.route.uid, None)
            self.undone.pop(trial.route.uid, None)
        self.version += 1

    def acquit(self, trials: Iterable[UnconfirmedChange]) -> None:
        """These were undone for nothing: they are in force again, and good."""
        self.take_as_good(trial.route for trial in trials)
        self.version += 1

    def retain(self, uids: Collection[str]) -> bool:
        """Forget all objects but these; whether any was known."""
        everything = (self.good, self.running, self.suspended, self.undone)
        gone = {uid for known in everything for uid in known if uid not in uids}
        for uid in gone:
            for known in everything:
                known.pop(uid, None)
        return bool(gone)

    def released(self, operations: Iterable[Operation]) -> Iterator[Operation]:
        """What may be done while not all objects are known: nothing is deleted but what was undone."""
        for operation in operations:
            if operation.action is not Action.DELETE:
                yield operation
                continue
            left = operation.keys
            for keys in self._released.values():
                if both := left & keys:
                    left -= both
                    yield operation._replace(keys=both)

    def forget_released(self) -> None:
        """All objects are known: what is to be deleted they tell."""
        self._released.clear()

    def rows(self, rows: Sequence[Row], selects: Callable[[Undone], bool]) -> tuple[Row, ...]:
        """The rows of all objects, with what trials have to say of them.

        Args:
            rows: of the versions in force, by name.
            selects: whether an object that was undone is for this node.
        """
        found = {row.name: row for row in rows}
        on_trial = {trial.route.name for trial in self.running.values()}
        for name in on_trial & found.keys():
            row = found[name]
            if row.state in GOOD_STATES:
                found[name] = replace(row, state=RowState.PENDING, reason=Reason.AWAITING_CONFIRMATION)
        for undone in filter(selects, self.undone.values()):
            known = found.get(undone.name)
            found[undone.name] = _undone_row(undone, known, on_trial=undone.uid in self.suspended)
        return tuple(found[name] for name in sorted(found))


def touches(trial: UnconfirmedChange, address: bytes) -> bool:
    """Whether a change has to do with an address: a route to it is in the version, or was in the one before it."""
    versions = [trial.route, *([trial.before] if trial.before else [])]
    around = [supernet(address, length) for length in range(len(address) * 8 + 1)]
    return any(version.keys.between(prefix, prefix) for version in versions for prefix in around)


def _undone_row(undone: Undone, known: Row | None, *, on_trial: bool) -> Row:
    """The row of an undone version; ``known`` is that of the version in force."""
    verdict = "it is being found out whether that helps" if on_trial else "it is not tried again: change the object"
    good = f"; its last good version (generation {known.generation}) is in force" if known else ""
    return Row(
        name=undone.name,
        generation=undone.generation,
        gateway=known.gateway if known else "",
        state=RowState.PENDING if on_trial else RowState.FAILED,
        reason=Reason.AWAITING_CONFIRMATION if on_trial else Reason.ROLLED_BACK,
        message=f"{undone.why}; {verdict}{good}",
        destinations=known.destinations if known else 0,
        programmed=known.programmed if known else 0,
    )


def _same(route: StaticRoute, other: StaticRoute | None) -> bool:
    """Whether two are one version of one object."""
    if other is None or (route.uid, route.generation) != (other.uid, other.generation):
        return False
    return route is other or route.generation > 0 or route == other


def _meet(some: KeySet, others: KeySet) -> bool:
    few, many = sorted((some, others), key=len)
    return any(key in many for key in few) if len(few) <= _FEW else bool(few & many)


def _digest(route: StaticRoute) -> str:
    return hashlib.blake2b(route.manifest.encode() + b"\n" + route.keys.packed, digest_size=16).hexdigest()
