"""The policy rules of this program in the kernel: read, added and deleted."""

import errno
import itertools
from collections.abc import Iterable

from pyroute2.netlink import NLM_F_CREATE, NLM_F_EXCL, NLM_F_REQUEST
from pyroute2.netlink.rtnl import RTM_DELRULE, RTM_GETRULE, RTM_NEWRULE

from static_route_operator.kernel.fib import Fib
from static_route_operator.kernel.rules import ALL_RULES, encode, parse_rules
from static_route_operator.routing.routes import Action, Failure
from static_route_operator.routing.rules import Rule, RuleOperation

_REQUESTS = {
    Action.ADD: (RTM_NEWRULE, NLM_F_REQUEST | NLM_F_CREATE | NLM_F_EXCL),
    Action.DELETE: (RTM_DELRULE, NLM_F_REQUEST),
}


class RuleSet:
    """The rules that carry this program's protocol.

    A rule leads packets to routes. So a caller applies the operations of a run in this order: delete rules, change
    routes, add rules. Then no rule leads to a table from which the routes are missing.

    Args:
        fib: the socket to the kernel.
    """

    def __init__(self, fib: Fib) -> None:
        self._fib = fib
        self._installed: frozenset[Rule] | None = None
        self._last: frozenset[Rule] = frozenset()

    def changed(self) -> None:
        """Note that another program may have changed rules. Without a rule of ours there is nothing to read again."""
        if self._installed:
            self._installed = None

    def forget(self) -> None:
        """Read the rules again next time: notifications were lost."""
        self._installed = None

    async def read(self) -> frozenset[Rule]:
        """Return the installed rules of this program, from memory unless they may have changed."""
        if self._installed is None:
            rules = parse_rules(await self._fib.dump(RTM_GETRULE, ALL_RULES))
            self._installed = frozenset(rule for rule in rules if rule.ours)
            if self._fib.incomplete:
                self._installed |= self._last
            self._last = self._installed
        return self._installed

    async def apply(self, operations: Iterable[RuleOperation]) -> dict[Rule, Failure]:
        """Carry out operations in order, and return the kernel's answer for each rule that it refused.

        Raises:
            KernelError: answers were lost, so the next read asks the kernel.
        """
        failures: dict[Rule, Failure] = {}
        installed, self._installed = await self.read(), None
        for action, group in itertools.groupby(operations, key=lambda operation: operation.action):
            rules = [operation.rule for operation in group]
            refused = self._fib.ask(*_REQUESTS[action], [encode(rule) for rule in rules])
            failures |= {
                rules[number]: Failure(failure.errno, f"rule {rules[number]}: {failure.text}")
                for number, failure in refused.items()
                # A rule that is gone already needs no deletion.
                if not (action is Action.DELETE and failure.errno == errno.ENOENT)
            }
            installed = installed.union(rules) if action is Action.ADD else installed.difference(rules)
        self._last = installed
        if not failures:
            self._installed = installed
        return failures
