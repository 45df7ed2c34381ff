"""Policy rules that lead to default routes: installed by family, and never without what spares protected packets."""

import errno
from collections.abc import Iterable, Iterator

import pytest

from static_route_operator.kernel.dryrun import DryRunFib
from static_route_operator.kernel.ruleset import RuleSet
from static_route_operator.node.installedrules import InstalledRules
from static_route_operator.planning.plan import Plan, make_plan
from static_route_operator.routing.routes import Action, Failure, Routes
from static_route_operator.routing.rules import Rule, RuleOperation
from tests.unit.builders import facts, resolved


class Kernel(RuleSet):
    """Rules in memory, and a kernel that may refuse the rules of one family.

    Attributes:
        rules: the rules that the kernel has.
        refused: address size of the family whose rules the kernel refuses; 0 for none.
    """

    def __init__(self, fib: DryRunFib) -> None:
        super().__init__(fib)
        self.rules: frozenset[Rule] = frozenset()
        self.refused = 0

    async def read(self) -> frozenset[Rule]:
        """Return the rules."""
        return self.rules

    async def apply(self, operations: Iterable[RuleOperation]) -> dict[Rule, Failure]:
        """Carry out operations, but for those that are refused."""
        failures = {}
        for action, rule in operations:
            if action is Action.DELETE:
                self.rules -= {rule}
            elif rule.address_size == self.refused:
                failures[rule] = Failure(errno.EPERM, "not here")
            else:
                self.rules |= {rule}
        return failures


@pytest.fixture
def kernel() -> Iterator[Kernel]:
    """Yield a kernel without rules."""
    fib = DryRunFib()
    yield Kernel(fib)
    fib.close()


@pytest.fixture
def plan() -> Plan:
    """Return a plan with a default route of each family."""
    return make_plan(
        [
            resolved("four", destinations=["0.0.0.0/0"], allowDefaultRoute=True),
            resolved("six", "fd00::1", ["::/0"], allowDefaultRoute=True),
        ],
        facts(),
    )


def _families(rules: Iterable[Rule]) -> set[int]:
    return {rule.address_size for rule in rules}


async def test_all_rules_are_installed_once(kernel: Kernel, plan: Plan) -> None:
    """The rules of both families are there, and a second run changes nothing."""
    rules = InstalledRules(kernel)
    for _ in range(2):
        assert await rules.install(plan, plan.desired) == {}
        assert kernel.rules == plan.rules.keys()


@pytest.mark.parametrize(("refused", "other", "name"), [(4, 16, "four"), (16, 4, "six")])
async def test_refused_rule_fails_its_family_alone(
    kernel: Kernel, plan: Plan, refused: int, other: int, name: str
) -> None:
    """A rule that the kernel refuses takes the rules of its family away, and fails the default routes of its family."""
    kernel.refused = refused
    failures = await InstalledRules(kernel).install(plan, plan.desired)

    (failing,) = [each for each in plan.objects if each.route.name == name]
    assert set(failures) == set(failing.keys)
    assert {each.errno for each in failures.values()} == {errno.EPERM}
    assert _families(kernel.rules) == {other}


async def test_no_rule_leads_past_a_missing_bypass_route(kernel: Kernel) -> None:
    """While a protected address has no bypass route, the rules of its family are away; those of the other are not."""
    plan = make_plan(
        [
            resolved("four", destinations=["0.0.0.0/0"], allowDefaultRoute=True),
            resolved("six", "fd00::1", ["::/0"], allowDefaultRoute=True),
        ],
        facts(protected={"198.51.100.9": "API server"}, others={"0.0.0.0/0": "10.0.0.254"}),
    )
    rules = InstalledRules(kernel)
    assert len(plan.bypass)
    await rules.install(plan, plan.desired)
    assert _families(kernel.rules) == {4, 16}

    missing = plan.desired.copy()
    for _, keys in plan.bypass:
        missing.drop(keys)
    assert await rules.install(plan, missing) == {}
    assert _families(kernel.rules) == {16}


async def test_withdrawing_leaves_what_is_desired(kernel: Kernel, plan: Plan) -> None:
    """Rules that no plan desires any longer go; the others stay."""
    rules = InstalledRules(kernel)
    await rules.install(plan, plan.desired)
    some = [rule for rule in plan.rules if rule.address_size == 4]

    await rules.withdraw(some)
    assert kernel.rules == set(some)
    await rules.withdraw(())
    assert not kernel.rules


async def test_rules_of_an_earlier_process_stay(kernel: Kernel, plan: Plan) -> None:
    """Installing adds only: rules that lead on, and that no known object desires yet, are not this step's to take."""
    await InstalledRules(kernel).install(plan, plan.desired)

    assert await InstalledRules(kernel).install(Plan(), Routes()) == {}
    assert kernel.rules == plan.rules.keys()
