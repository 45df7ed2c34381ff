"""Stand-ins for the kernel's tables in a dry run: reads come from the kernel, changes are only recorded.

A reconciler on these stand-ins plans and decides as usual, and writes nothing.
"""

import errno
import os
from collections.abc import Iterable, Sequence

from static_route_operator.kernel.fib import Fib
from static_route_operator.kernel.multipath import surplus_hops
from static_route_operator.kernel.ruleset import RuleSet
from static_route_operator.routing.keyset import KeySet
from static_route_operator.routing.nexthops import NextHops
from static_route_operator.routing.routes import Action, Failure, Operation, Routes
from static_route_operator.routing.rules import Rule, RuleOperation


class DryRunFib(Fib):
    """A stand-in for `Fib`.

    It refuses a route in the place of another program's route, as the kernel would. Refusals that the tables do not
    show, such as for a lack of memory, are beyond it.

    Attributes:
        before: the installed routes of this program, as of the first read.
        after: the routes that would be installed.
        rules: the stand-in for the policy rules.
    """

    def __init__(self) -> None:
        super().__init__()
        self._was_read = False
        self.before = Routes()
        self.after = Routes()
        self.rules = DryRunRuleSet(self)

    async def read(self, expected: Routes | None = None) -> Routes:
        """Return the routes of this program as they would be after the recorded operations."""
        if not self._was_read:
            self.before = await super().read(expected)
            self.require_complete()
            self.after = self.before.copy()
            self._was_read = True
        return self.after.copy()

    async def apply(self, operations: Sequence[Operation]) -> dict[bytes, Failure]:
        """Record operations, and return by key what the kernel would refuse."""
        taken = await self.occupied([keys for action, _, keys in operations if action is Action.ADD])
        for action, next_hops, keys in operations:
            if action is Action.DELETE:
                self._delete(next_hops, keys)
            else:
                free = keys
                for each in taken if action is Action.ADD else ():
                    free -= each
                self.after.put(next_hops, free)
        return {key: Failure(errno.EEXIST, os.strerror(errno.EEXIST)) for keys in taken for key in keys}

    def _delete(self, next_hops: NextHops, keys: KeySet) -> None:
        """Record a deletion. Of an IPv6 route with several next hops the kernel deletes the given ones only."""
        for installed, there in list(self.after):
            if both := there & keys:
                left = surplus_hops(installed, next_hops)
                if left and len(left) < len(installed.hops):
                    self.after.put(installed._replace(hops=left), both)
                else:
                    self.after.drop(both)


class DryRunRuleSet(RuleSet):
    """A stand-in for `RuleSet`.

    Attributes:
        before: the installed rules of this program, as of the first read.
        after: the rules that would be installed.
    """

    def __init__(self, fib: Fib) -> None:
        super().__init__(fib)
        self._was_read = False
        self.before: frozenset[Rule] = frozenset()
        self.after: frozenset[Rule] = frozenset()

    async def read(self) -> frozenset[Rule]:
        """Return the rules of this program as they would be after the recorded operations."""
        if not self._was_read:
            self.before = self.after = await super().read()
            self._fib.require_complete()
            self._was_read = True
        return self.after

    async def apply(self, operations: Iterable[RuleOperation]) -> dict[Rule, Failure]:
        """Record operations; the kernel would refuse none of them."""
        for action, rule in operations:
            self.after = self.after | {rule} if action is Action.ADD else self.after - {rule}
        return {}
