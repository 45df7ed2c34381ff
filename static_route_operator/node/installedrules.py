"""This program's policy rules in the kernel, which lead packets to default routes.

Rules and routes are two kinds of kernel objects that a plan desires. Both are read, compared with the plan and applied,
and both tell failures by the keys of the routes that they concern. A run applies them in the order in which one needs
the other:

1. `withdraw` rules: nothing leads to a route that goes.
2. Replace, add and delete routes. (Objects that routes need, such as nexthop objects, are added before and deleted
   after.)
3. `install` rules: nothing leads to a route that is not there yet.
"""

from collections.abc import Collection, Mapping

from static_route_operator.kernel.ruleset import RuleSet
from static_route_operator.planning.diff import diff_rules
from static_route_operator.planning.plan import Plan
from static_route_operator.routing.routes import Action, Failure, Routes
from static_route_operator.routing.rules import Rule


class InstalledRules:
    """The installed rules, as far as they are known.

    Args:
        rules: the kernel's policy rules.
    """

    def __init__(self, rules: RuleSet) -> None:
        self._rules = rules

    def changed(self) -> None:
        """Take in that another program may have changed rules."""
        self._rules.changed()

    def doubt(self) -> None:
        """Have the next run read the kernel's rules."""
        self._rules.forget()

    async def read(self) -> frozenset[Rule]:
        """Return the installed rules, also those of a process before this one.

        Raises:
            KernelError: see `RuleSet.read`.
        """
        return await self._rules.read()

    async def withdraw(self, desired: Collection[Rule]) -> bool:
        """Delete the rules that are not desired; report whether there were any.

        A rule that can't be deleted is found again by the next read.

        Raises:
            KernelError: see `RuleSet.apply`.
        """
        deletions = [each for each in diff_rules(desired, await self.read()) if each.action is Action.DELETE]
        await self._rules.apply(deletions)
        return bool(deletions)

    async def install(self, plan: Plan, routes: Routes) -> Mapping[bytes, Failure]:
        """Add the rules of a plan; return the kernel's refusal by the key of each route that fails with it.

        While a bypass route is missing, no rule of its family may lead to the table of the default routes: protected
        packets would follow a default route there. If the kernel refuses one rule, the others of its family must go
        too: one of them may be the rule that leads there, without the rules that spare packets from that table.

        Args:
            plan: the desired rules and their owners.
            routes: the installed routes.

        Raises:
            KernelError: see `RuleSet.apply`.
        """
        exposed = {hops.address_size for hops, keys in plan.bypass if keys - routes.through(hops)}
        await self._withdraw_families(exposed)
        desired = {rule for rule in plan.rules if rule.address_size not in exposed}
        operations = diff_rules(desired, await self.read())
        refused = await self._rules.apply(each for each in operations if each.action is Action.ADD)
        failures = {rule.address_size: failure for rule, failure in refused.items()}
        await self._withdraw_families(failures.keys())
        defaults = [each for each in plan.objects if each.route.spec.takes_default]
        return {
            key: failures[size]
            for each in defaults
            if (size := each.route.address_size) in failures
            for key in each.keys
        }

    async def _withdraw_families(self, address_sizes: Collection[int]) -> None:
        """Delete the rules of some families. Others stay, also those that no known object desires yet."""
        if address_sizes:
            await self.withdraw([rule for rule in await self.read() if rule.address_size not in address_sizes])
