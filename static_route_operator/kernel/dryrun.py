"""The forwarding tables as they would be: reads and look-ups are the kernel's, changes are only remembered.

A reconciler that is given these plans and decides as ever, and nothing is written.
"""

import errno
import os
from collections.abc import Sequence

from static_route_operator.kernel.fib import Fib
from static_route_operator.kernel.multipath import surplus_hops
from static_route_operator.routing.keyset import KeySet
from static_route_operator.routing.nexthops import NextHops
from static_route_operator.routing.routes import Action, Failure, Operation, Routes


class DryRunFib(Fib):
    """Stands in for `Fib`.

    What the kernel would refuse is told as far as it can be known from its tables: where another program's route holds
    the place.

    Attributes:
        before: the routes of this program that are in the kernel, as of the first read.
        after: those that would be.
    """

    def __init__(self) -> None:
        super().__init__()
        self._was_read = False
        self.before = Routes()
        self.after = Routes()

    async def read(self, expected: Routes | None = None) -> Routes:
        """All routes of this program, as they would be after what was applied."""
        if not self._was_read:
            self.before = await super().read(expected)
            self.after = self.before.copy()
            self._was_read = True
        return self.after.copy()

    async def apply(self, operations: Sequence[Operation]) -> dict[bytes, Failure]:
        """Remember operations; what the kernel would refuse, by key."""
        taken = await self.occupied([keys for action, _, keys in operations if action is Action.ADD])
        for action, path, keys in operations:
            if action is Action.DELETE:
                self._delete(path, keys)
            else:
                free = keys
                for each in taken if action is Action.ADD else ():
                    free -= each
                self.after.put(path, free)
        return {key: Failure(errno.EEXIST, os.strerror(errno.EEXIST)) for keys in taken for key in keys}

    def ask(self, kind: int, flags: int, bodies: Sequence[bytes]) -> dict[int, Failure]:  # noqa: ARG002  as in `Fib`
        """Nothing is changed, so nothing is refused."""
        return {}

    def _delete(self, path: NextHops, keys: KeySet) -> None:
        """Of an IPv6 route with several next hops only those go that are named."""
        for installed, there in list(self.after):
            if both := there & keys:
                left = surplus_hops(installed, path)
                if left and len(left) < len(installed.hops):
                    self.after.put(installed._replace(hops=left), both)
                else:
                    self.after.drop(both)
