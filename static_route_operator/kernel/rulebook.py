"""The policy rules of this program, told from others by their protocol: read, added and deleted."""

import struct
from collections.abc import Collection

from static_route_operator.kernel.fib import Fib
from static_route_operator.kernel.messages import AF_INET, AF_INET6
from static_route_operator.kernel.netlink import (
    NLM_F_CREATE,
    NLM_F_EXCL,
    NLM_F_REQUEST,
    pack_attribute,
)
from static_route_operator.kernel.policies import (
    ALL_POLICIES,
    FR_ACT_TO_TBL,
    FRA_PRIORITY,
    FRA_PROTOCOL,
    FRA_SRC,
    FRA_SUPPRESS_PREFIXLEN,
    FRA_TABLE,
    RTM_DELRULE,
    RTM_GETRULE,
    RTM_NEWRULE,
    RULE_HEADER,
    parse_policies,
)
from static_route_operator.routing.nexthops import PROTOCOL
from static_route_operator.routing.routes import Failure
from static_route_operator.routing.rules import OwnRule

_WORD = struct.Struct("=I")


class RuleBook:
    """Keeps the rules what they should be.

    Args:
        fib: to read and write them.
    """

    def __init__(self, fib: Fib) -> None:
        self._fib = fib
        self._installed: frozenset[OwnRule] | None = None

    def changed(self) -> None:
        """Somebody may have changed them; where none of ours are, there is nothing to change."""
        if self._installed:
            self._installed = None

    def forget(self) -> None:
        """What is there is not known any longer."""
        self._installed = None

    async def read(self) -> frozenset[OwnRule]:
        """Those that are there, as far as it is known, else as the kernel says.

        Raises:
            KernelError: the kernel refused.
        """
        if self._installed is None:
            self._installed = frozenset(
                OwnRule(policy.priority, policy.senders, policy.table, specific=policy.suppressed == 0)
                for policy in parse_policies(await self._fib.dump(RTM_GETRULE, ALL_POLICIES))
                if policy.maker == PROTOCOL
            )
        return self._installed

    async def retain(self, desired: Collection[OwnRule]) -> None:
        """Delete all but these, what leads to our table first.

        Raises:
            KernelError: see `read`; a rule that can't be deleted is found again by the next read.
        """
        surplus = sorted((await self.read()).difference(desired), reverse=True)
        if surplus:
            failures = self._fib.ask(RTM_DELRULE, NLM_F_REQUEST, [_encode(rule) for rule in surplus])
            self._installed = None if failures else (await self.read()).difference(surplus)

    async def add(self, desired: Collection[OwnRule]) -> Failure | None:
        """Add those of these that are missing, what leads to our table last; the kernel's answer where it refused one.

        Raises:
            KernelError: see `read`.
        """
        missing = sorted(set(desired) - await self.read())
        if not missing:
            return None
        failures = self._fib.ask(
            RTM_NEWRULE, NLM_F_REQUEST | NLM_F_CREATE | NLM_F_EXCL, [_encode(rule) for rule in missing]
        )
        self._installed = None if failures else (await self.read()).union(missing)
        for number, failure in failures.items():
            return Failure(failure.errno, f"rule {missing[number]}: {failure.text}")
        return None


def _encode(rule: OwnRule) -> bytes:
    size = len(rule.source) - 1
    family = AF_INET if size == 4 else AF_INET6
    body = RULE_HEADER.pack(family, 0, rule.source[-1], 0, 0, 0, 0, FR_ACT_TO_TBL, 0)
    body += pack_attribute(FRA_PRIORITY, _WORD.pack(rule.priority)) + pack_attribute(FRA_TABLE, _WORD.pack(rule.table))
    body += pack_attribute(FRA_PROTOCOL, bytes([PROTOCOL]))
    if rule.source[-1]:
        body += pack_attribute(FRA_SRC, rule.source[:-1])
    return body + (pack_attribute(FRA_SUPPRESS_PREFIXLEN, _WORD.pack(0)) if rule.specific else b"")
