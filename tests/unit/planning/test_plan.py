"""The routes that a node should have, and the object of each."""

from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from static_route_operator.api.noderoutestate import Reason, RowState
from static_route_operator.api.resolution import ResolvedRoute
from static_route_operator.planning import plan as plan_module
from static_route_operator.planning.gateways import GatewaySelector
from static_route_operator.planning.plan import ObjectPlan, Plan, make_plan
from static_route_operator.routing.facts import Facts
from static_route_operator.routing.foreign import Lookup
from static_route_operator.routing.keys import prefix_of
from static_route_operator.routing.nexthops import THROW_IPV4, NextHops
from static_route_operator.routing.prefixes import pack_address, unpack_prefix
from static_route_operator.routing.rules import Rule
from tests.unit.builders import ETH0, facts, key, keys, make_key, paths, protection, resolved

UNREACHABLE = "172.31.0.1"


def _plan(*routes: ResolvedRoute, protected: dict[str, str] | None = None) -> Plan:
    return make_plan(routes, facts(protected=protected))


def _by_name(plan: Plan) -> dict[str, ObjectPlan]:
    return {each.route.name: each for each in plan.objects}


def test_each_destination_goes_through_the_gateway() -> None:
    """Every destination has a route by way of the gateway and the interface it is on, IPv4 and IPv6 alike."""
    plan = _plan(
        resolved("v4", "10.0.0.1", ["192.0.2.0/24", "198.51.100.7"]), resolved("v6", "fd00::1", ["2001:db8::/32"])
    )

    assert paths(plan.desired) == {
        key("192.0.2.0/24"): NextHops.via(pack_address("10.0.0.1"), ETH0),
        key("198.51.100.7"): NextHops.via(pack_address("10.0.0.1"), ETH0),
        key("2001:db8::/32"): NextHops.via(pack_address("fd00::1"), ETH0),
    }
    assert plan.retained == []
    assert [(each.route.name, each.problems) for each in plan.objects] == [("v4", ()), ("v6", ())]


@pytest.mark.parametrize(
    ("owner", "step"),
    [(GatewaySelector, "choose"), (plan_module, "source_problem"), (plan_module, "refusals")],
)
def test_object_that_can_not_be_planned_stops_no_other(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, owner: Any, step: str
) -> None:
    """A defect that one object meets keeps its routes, says so in its row, and leaves all others as they should be."""
    route = resolved("odd", "10.0.0.3", ["203.0.113.0/24"], source="10.0.0.2")
    known = getattr(owner, step)

    def broken(*words: Any, **more: Any) -> Any:
        if any(each in words for each in (route, route.spec.options.source, route.keys)):
            raise KeyError(1)
        return known(*words, **more)

    monkeypatch.setattr(owner, step, broken)
    plan = _plan(route, resolved("good"))

    assert paths(plan.desired) == {key("192.0.2.1"): NextHops.via(pack_address("10.0.0.1"), ETH0)}
    odd = _by_name(plan)["odd"]
    assert (odd.keys, odd.retained) == (odd.retained[:0], keys("203.0.113.0/24"))
    assert [(each.state, each.reason) for each in odd.problems] == [(RowState.FAILED, Reason.INTERNAL_ERROR)]
    assert "KeyError: 1" in odd.problems[0].message
    assert caplog.text.count("Traceback") == 1


@pytest.fixture(autouse=True)
def _first_time() -> None:
    """Forget which defects were logged."""
    plan_module._log_defect.cache_clear()


@pytest.mark.parametrize(
    ("winner", "loser"),
    [
        (resolved("z", priority=1, created="2025"), resolved("a", "10.0.0.3", priority=2, created="2024")),
        (resolved("z", created="2024-01-01T00:00:00Z"), resolved("a", "10.0.0.3", created="2024-01-01T00:00:01Z")),
        (resolved("a"), resolved("b", "10.0.0.3")),
    ],
    ids=["priority", "age", "name"],
)
def test_first_in_precedence_gets_the_prefix(winner: ResolvedRoute, loser: ResolvedRoute) -> None:
    """Of two objects that want a prefix one gets it: by priority, then age, then name; the other says whose it is."""
    for order in ((winner, loser), (loser, winner)):
        plan = _plan(*order)

        assert paths(plan.desired) == {key("192.0.2.1"): NextHops.via(winner.gateways[0].address, ETH0)}
        objects = _by_name(plan)
        assert objects[winner.name].problems == ()
        assert not objects[loser.name].keys
        (problem,) = objects[loser.name].problems
        assert (problem.state, problem.reason) == (RowState.STANDBY, Reason.ANOTHER_WINS)
        assert problem.message == f"192.0.2.1/32: StaticRoute {winner.name} has precedence"


def test_only_the_shared_prefixes_stand_by() -> None:
    """A loser keeps the prefixes that nobody else wants."""
    plan = _plan(resolved("a", destinations=["192.0.2.1"]), resolved("b", "10.0.0.3", ["192.0.2.1", "192.0.2.2"]))

    assert _by_name(plan)["b"].keys == keys("192.0.2.2")
    assert plan.desired.through(NextHops.via(pack_address("10.0.0.3"), ETH0)) == keys("192.0.2.2")


def test_loser_takes_over_when_the_winner_goes() -> None:
    """Without the winner the next in precedence gets the prefix."""
    second, third = resolved("b", "10.0.0.3"), resolved("c")

    assert paths(_plan(third, second).desired) == {key("192.0.2.1"): NextHops.via(second.gateways[0].address, ETH0)}


def test_unusable_gateway_claims_nothing_and_its_keys_are_held() -> None:
    """An object whose gateway can't be reached here leaves its prefixes to others; what is there of it is held."""
    down = resolved("down", UNREACHABLE, ["192.0.2.1", "192.0.2.2"], priority=1)
    plan = _plan(down, resolved("up", destinations=["192.0.2.1"]))

    assert paths(plan.desired) == {key("192.0.2.1"): NextHops.via(pack_address("10.0.0.1"), ETH0)}
    objects = _by_name(plan)
    assert not objects["down"].keys
    assert plan.retained == [objects["down"].retained] == [keys("192.0.2.1", "192.0.2.2")]
    assert [each.reason for each in objects["down"].problems] == [Reason.GATEWAY_UNREACHABLE]
    assert objects["up"].problems == ()


def test_options_are_in_the_path_and_in_the_key() -> None:
    """Source, mtu and onLink say how the routes go; table and metric are part of what the kernel holds once."""
    options: dict[str, Any] = {"table": 100, "metric": 7, "mtu": 1400, "source": "10.0.0.2", "onLink": True}
    plan = _plan(resolved(**options))

    path = NextHops.via(pack_address("10.0.0.1"), ETH0, pack_address("10.0.0.2"), ((2, 1400),), on_link=True)
    assert paths(plan.desired) == {make_key("192.0.2.1", 100, 7): path}


@pytest.mark.parametrize("options", [{"table": 100}, {"metric": 7}])
def test_another_table_or_metric_is_no_competition(options: dict[str, Any]) -> None:
    """Objects that want a prefix in other tables, or with other metrics, each have it: the kernel takes both."""
    plan = _plan(resolved("a"), resolved("b", "10.0.0.3", **options))

    assert [each.problems for each in plan.objects] == [(), ()]
    assert len(plan.desired) == 2


def test_missing_source_claims_nothing_and_its_keys_are_held() -> None:
    """An object whose source is no address of the node leaves its prefixes to others, as with a bad gateway."""
    plan = _plan(resolved("a", source="10.0.0.99"), resolved("b", "10.0.0.3"))

    assert paths(plan.desired) == {key("192.0.2.1"): NextHops.via(pack_address("10.0.0.3"), ETH0)}
    objects = _by_name(plan)
    assert [each.reason for each in objects["a"].problems] == [Reason.SOURCE_NOT_ON_NODE]
    assert objects["a"].retained == keys("192.0.2.1")
    assert objects["b"].problems == ()


def test_gateway_of_an_object_without_its_source_is_not_captured() -> None:
    """A gateway stays reachable as it is while its object waits for its source."""
    lookup = {"10.9.0.1": Lookup(32, ETH0, on_link=True, local=False, ours=False)}
    objects = [resolved("a", "10.9.0.1", source="10.0.0.99"), resolved("b", "10.0.0.3", ["10.9.0.1"])]
    plan = make_plan(objects, facts(lookups=lookup))

    assert [each.reason for each in _by_name(plan)["b"].problems] == [Reason.PROTECTED_DESTINATION]


def test_on_link_gateway_goes_out_where_the_node_would_send_to_it() -> None:
    """An onLink gateway on no subnet is looked for on the interface of the node's route towards it."""
    lookup = {UNREACHABLE: Lookup(0, 7, on_link=False, local=False, ours=False)}
    plan = make_plan([resolved("a", UNREACHABLE, onLink=True)], facts(lookups=lookup))

    assert paths(plan.desired) == {key("192.0.2.1"): NextHops.via(pack_address(UNREACHABLE), 7, on_link=True)}


def test_refused_destinations_are_neither_wanted_nor_held() -> None:
    """What would cut the node off is left out, whatever else is wrong with the object."""
    usable = _plan(resolved(destinations=["10.0.0.9", "192.0.2.1"]))
    unusable = _plan(resolved(gateway=UNREACHABLE, destinations=["10.0.0.9", "192.0.2.1"]))

    assert set(paths(usable.desired)) == set(unusable.retained[0]) == {key("192.0.2.1")}


def test_problems_are_worst_first() -> None:
    """The first problem of an object is its worst, so that one line can stand for it."""
    plan = _plan(
        resolved("a", destinations=["192.0.2.1"]),
        resolved("b", UNREACHABLE, ["10.0.0.9", "192.0.2.1", "127.0.0.1"]),
        resolved("c", "10.0.0.3", ["10.0.0.9", "192.0.2.1", "192.0.2.2"]),
    )

    objects = _by_name(plan)
    assert [each.state for each in objects["b"].problems] == [RowState.FAILED, RowState.REFUSED, RowState.REFUSED]
    assert [each.state for each in objects["c"].problems] == [RowState.REFUSED, RowState.STANDBY]


def test_messages_name_a_few_and_count_the_rest() -> None:
    """A message about thousands of destinations stays short and says how many there are."""
    destinations = [f"10.0.0.{last}" for last in range(10, 110)]
    plan = _plan(resolved(destinations=[*destinations, "192.0.2.1"]))

    (problem,) = plan.objects[0].problems
    assert problem.reason is Reason.PROTECTED_DESTINATION
    assert "10.0.0.10/32 is in 10.0.0.0/24" in problem.message
    assert "; and 97 more; remove it from" in problem.message


def test_standby_message_names_every_winner() -> None:
    """If several objects win, each is named."""
    plan = _plan(
        resolved("a", destinations=["192.0.2.1"]),
        resolved("b", destinations=["192.0.2.2"]),
        resolved("c", "10.0.0.3", ["192.0.2.1", "192.0.2.2"]),
    )

    (problem,) = _by_name(plan)["c"].problems
    assert problem.message == "192.0.2.1/32; 192.0.2.2/32: StaticRoute a; b has precedence"


def test_protected_addresses_stay_reachable() -> None:
    """A destination that holds a protected address is refused and told, the others are programmed."""
    plan = _plan(resolved(destinations=["172.20.0.0/16", "192.0.2.1"]), protected={"172.20.0.1": "API server"})

    assert set(paths(plan.desired)) == {key("192.0.2.1")}
    (problem,) = plan.objects[0].problems
    assert problem.state is RowState.REFUSED
    assert problem.message == (
        "172.20.0.0/16 would capture 172.20.0.1 (API server); remove it from spec.destinations,"
        " or cut the protected part out with spec.excludes"
    )


_DESTINATIONS = ["192.0.2.1", "192.0.2.2", "192.0.2.0/24", "198.51.100.0/25", "10.0.0.9"]
_REFUSED = key("10.0.0.9")


@st.composite
def _routes(draw: st.DrawFn) -> list[ResolvedRoute]:
    names = draw(st.lists(st.sampled_from("abcdefgh"), unique=True, max_size=6))
    return [
        resolved(
            name,
            draw(st.sampled_from(["10.0.0.1", "10.0.0.3", UNREACHABLE])),
            draw(st.lists(st.sampled_from(_DESTINATIONS), min_size=1)),
            created=draw(st.sampled_from(["2024", "2025"])),
            priority=draw(st.integers(0, 2)),
        )
        for name in names
    ]


def _owners(plan: Plan) -> dict[bytes, list[str]]:
    owners: dict[bytes, list[str]] = {}
    for each in plan.objects:
        for one in each.keys:
            owners.setdefault(one, []).append(each.route.name)
    return owners


def _expected_owners(routes: Sequence[ResolvedRoute]) -> dict[bytes, list[str]]:
    expected: dict[bytes, list[str]] = {}
    for each in sorted(routes, key=lambda one: (one.spec.priority, one.spec.created, one.name)):
        if each.gateways[0].address == pack_address(UNREACHABLE):
            continue
        for one in each.keys:
            if one != _REFUSED:
                expected.setdefault(one, [each.name])
    return expected


@given(_routes(), st.randoms(use_true_random=False))
def test_every_prefix_has_the_one_owner_it_should(routes: list[ResolvedRoute], random: Random) -> None:
    """Each prefix belongs to the first in precedence whose gateway is usable and to no other, in whatever order."""
    plan = make_plan(routes, facts())
    shuffled = list(routes)
    random.shuffle(shuffled)

    assert make_plan(shuffled, facts()) == plan
    owners = _expected_owners(routes)
    assert _owners(plan) == owners
    gateways = {each.name: each.gateways[0].address for each in routes}
    assert paths(plan.desired) == {one: NextHops.via(gateways[names[0]], ETH0) for one, names in owners.items()}


@given(_routes())
def test_every_destination_is_accounted_for(routes: list[ResolvedRoute]) -> None:
    """An object that has not got all its destinations says why, and its keys are sorted; one that has is silent."""
    for each in make_plan(routes, facts()).objects:
        assert list(each.keys) == sorted(each.keys)
        assert bool(each.problems) == (len(each.keys) < len(each.route.keys))


@given(st.lists(_routes(), min_size=2, max_size=4))
def test_plan_after_another_is_the_same_as_the_first(versions: list[list[ResolvedRoute]]) -> None:
    """What was planned before saves work and changes nothing."""
    before = None
    for routes in versions:
        before = make_plan(routes, facts(), before)

        fresh = make_plan(routes, facts())
        assert (before.desired, before.objects, before.shares) == (fresh.desired, fresh.objects, fresh.shares)
        # A key that once overlapped may cost a look, and no more.
        assert before.overlapping >= fresh.overlapping


def test_what_did_not_change_is_not_made_anew() -> None:
    """A change of one object among many leaves the routes of other gateways the very same."""
    many = [resolved(f"r{each}", "10.0.0.1", [f"192.0.{each}.1", f"192.0.{each}.2"]) for each in range(20)]
    other = resolved("other", "10.0.0.3", ["198.51.100.1"])
    before = make_plan([*many, other], facts())

    after = make_plan([*many[:-1], resolved("r19", "10.0.0.3", ["192.0.19.1", "192.0.19.2"]), other], facts(), before)

    first, second = (NextHops.via(pack_address(gateway), ETH0) for gateway in ("10.0.0.1", "10.0.0.3"))
    assert len(after.desired.through(first)) == 38
    assert after.desired.through(second) == keys("192.0.19.1", "192.0.19.2", "198.51.100.1")
    same = make_plan([*many, other], facts(), before)
    assert same.desired.through(first) is before.desired.through(first)


def test_second_object_with_the_same_destinations_is_seen() -> None:
    """Two objects with equal lists share their keys in memory, and still only one of them has the routes."""
    first, second = resolved("a"), resolved("b", "10.0.0.3")
    assert first.keys is second.keys

    plan = make_plan([first, second], facts(), make_plan([first], facts()))

    assert [len(each.keys) for each in plan.objects] == [1, 0]
    assert len(plan.desired) == 1


def _default_node() -> Facts:
    others = {"0.0.0.0/0": "10.0.0.3", "10.0.0.0/24": "", "10.244.1.0/24": "10.0.0.9"}
    protected = {"203.0.113.6": "API server", "10.244.0.0/16": "pods", "10.244.1.9": "a pod", "10.0.0.7": "a node"}
    return facts(others=others, protected=protected)


def test_default_route_pins_what_would_follow_it() -> None:
    """Protected addresses that use main's default route get a bypass route; those with a route or subnet do not."""
    node = _default_node()
    plan = make_plan([resolved(destinations=["0.0.0.0/0"], allowDefaultRoute=True)], node)

    assert paths(plan.bypass) == {make_key(f"{each}", 245, 0): THROW_IPV4 for each in ("203.0.113.6", "10.244.0.0/16")}
    assert paths(plan.desired).keys() == {*paths(plan.bypass), make_key("0.0.0.0/0", 245, 0)}
    # The gateways are on one interface, so replies need no rule.
    assert sorted(map(str, plan.rules)) == [
        "32701: from all lookup main suppress_prefixlength 0",
        "32702: from all lookup 245",
    ]


def test_pins_and_rules_go_with_the_last_default_route() -> None:
    """While another default route is there they stay; then nothing is left of them."""
    node = _default_node()
    one, two = (resolved(name, allowDefaultRoute=True, destinations=["0.0.0.0/0"]) for name in ("a", "b"))
    both = make_plan([one, two], node)
    left = make_plan([two], node, both)
    none = make_plan([resolved("c", "10.0.0.3")], node, left)

    assert both.bypass == left.bypass
    assert both.rules.keys() == left.rules.keys()
    assert (set(both.rules.values()), set(left.rules.values())) == ({("a",)}, {("b",)})
    assert (len(none.bypass), none.rules, len(none.desired)) == (0, {}, 1)


def test_rules_stay_with_a_default_route_that_is_kept() -> None:
    """While its gateway can't be reached, a default route that is to stay is led to as before, and pinned."""
    node = _default_node()
    some = resolved(destinations=["0.0.0.0/0"], allowDefaultRoute=True)
    before = make_plan([some], node)
    after = make_plan([some], replace(node, lookups={}), before, rules=before.rules.keys())

    assert after.rules == before.rules
    assert after.bypass == before.bypass
    assert len(after.retained) == 1
    assert not make_plan([some], replace(node, lookups={})).rules


def test_destinations_of_a_default_route_do_not_come_before_its_pins() -> None:
    """What is a part of something that is pinned is refused, the rest is routed."""
    some = resolved(destinations=["0.0.0.0/0", "10.244.7.0/24", "192.0.2.1"], allowDefaultRoute=True)
    (planned,) = make_plan([some], _default_node()).objects

    (problem,) = planned.problems
    assert problem.message.startswith("10.244.7.0/24 is in 10.244.0.0/16 (pods);")
    assert [unpack_prefix(prefix_of(each)) for each in planned.keys] == ["0.0.0.0/0", "192.0.2.1/32"]


def test_node_without_a_default_route_has_nothing_to_pin() -> None:
    """What has no way today can't lose it."""
    some = resolved(destinations=["0.0.0.0/0"], allowDefaultRoute=True)
    plan = make_plan([some], facts(protected={"169.254.169.254": "metadata service"}))

    assert not len(plan.bypass)
    assert len(plan.rules) == 2
    assert not plan.objects[0].problems


CLAIM = {"192.0.2.9": "InternalIP of a node"}


def _with_claims(claims: dict[str, str], protected: dict[str, str] | None = None) -> Facts:
    node = facts(others={"10.0.0.0/24": "", "0.0.0.0/0": "10.0.0.3"})
    return replace(node, protected=protection(protected or {}, claims))


@pytest.mark.parametrize("claim", ["192.0.2.9", "192.0.2.0/28", "192.0.2.0/24", "192.0.0.0/20"])
def test_new_claim_takes_no_route_away(claim: str) -> None:
    """A route that is in force stays beside a new claim, also when its object changes, and its row tells the claim."""
    some = resolved(destinations=["192.0.2.0/24", "198.51.100.7"])
    changed = resolved(destinations=["192.0.2.0/24", "198.51.100.7"], generation=2, mtu=1400)
    before = make_plan([some], _with_claims({}))
    node = _with_claims({claim: "InternalIP of a node"})
    for route in (some, changed):
        before = make_plan([route], node, before)

        assert paths(before.desired).keys() == set(some.keys)
        (planned,) = before.objects
        assert planned.tolerated == 1
        (problem,) = planned.problems
        assert (problem.state, problem.reason) == (RowState.PROGRAMMED, Reason.NEWLY_PROTECTED)
        assert problem.message.startswith("192.0.2.0/24 ")
        assert "InternalIP of a node" in problem.message


def test_new_claim_prevents_new_routes() -> None:
    """A destination that is added after a claim is refused, also to an object with routes that stay."""
    before = make_plan([resolved(destinations=["192.0.2.0/24"])], _with_claims({}))
    added = resolved(destinations=["192.0.2.0/24", "192.0.2.9"], generation=2)
    other = resolved("other", "10.0.0.1", ["192.0.2.8/29"])
    plan = make_plan([added, other], _with_claims(CLAIM), before)

    assert paths(plan.desired).keys() == {key("192.0.2.0/24")}
    assert [each.problems[0].reason for each in plan.objects] == [Reason.PROTECTED_DESTINATION] * 2
    # What was refused stays so, whatever the last plan had of the object.
    again = make_plan([added, other], _with_claims(CLAIM), plan)
    assert paths(again.desired).keys() == {key("192.0.2.0/24")}


def test_claim_of_a_refused_destination_is_named_too() -> None:
    """A destination that is refused anyway is refused for a new claim too, and the message has both reasons."""
    plan = make_plan([resolved(destinations=["10.0.0.9"])], _with_claims({"10.0.0.9": "API server"}))

    (problem,) = plan.objects[0].problems
    assert "is in 10.0.0.0/24" in problem.message
    assert "would capture 10.0.0.9 (API server)" in problem.message
    assert plan.objects[0].tolerated == 0


def test_claim_counts_against_every_route_when_it_is_no_longer_new() -> None:
    """After the grace time the claim counts, and the route goes."""
    some = resolved(destinations=["192.0.2.0/24"])
    plan = make_plan([some], _with_claims(CLAIM), make_plan([some], _with_claims({})))
    assert plan.desired

    later = make_plan([some], _with_claims({}, protected=CLAIM), plan)
    assert paths(later.desired) == {}
    assert later.objects[0].problems[0].reason is Reason.PROTECTED_DESTINATION


def test_route_of_an_earlier_process_is_in_force() -> None:
    """Without a last plan, the routes in the kernel are in force, and no others."""
    some = resolved(destinations=["192.0.2.0/24", "192.0.2.9"])
    plan = make_plan([some], _with_claims(CLAIM), installed=keys("192.0.2.0/24"))

    assert paths(plan.desired).keys() == {key("192.0.2.0/24")}
    assert plan.objects[0].tolerated == 1


def test_claim_during_an_outage_of_the_gateway_takes_nothing_away() -> None:
    """A route that is absent because its gateway can't be reached comes back, though it was claimed meanwhile."""
    some = resolved(destinations=["192.0.2.0/24"])
    before = make_plan([some], _with_claims({}))
    cut_off = facts(subnets={"10.9.0.0/24": "eth1"}, others={"0.0.0.0/0": "10.9.0.3"}, gateways=())
    down = make_plan([some], replace(cut_off, protected=protection({}, CLAIM)), before)
    assert paths(down.desired) == {}
    up = make_plan([some], _with_claims(CLAIM), down)

    assert paths(up.desired).keys() == {key("192.0.2.0/24")}


def test_default_route_stays_beside_a_new_claim() -> None:
    """A default route stays, with a bypass route for the claim; a destination beside it that is in force stays too."""
    some = resolved(destinations=["0.0.0.0/0", "192.0.2.9"], allowDefaultRoute=True)
    before = make_plan([some], _with_claims({}))
    plan = make_plan([some], _with_claims(CLAIM | {"203.0.113.7": "InternalIP of a node"}), before)

    assert plan.desired.through(NextHops.via(pack_address("10.0.0.1"), ETH0)) == some.keys
    assert {unpack_prefix(prefix_of(each)) for _, bypass in plan.bypass for each in bypass} == {"203.0.113.7/32"}
    assert plan.rules


def test_claim_counts_in_another_table_as_in_main() -> None:
    """In a table that a policy rule leads to, a new claim prevents new routes alone too."""
    some = resolved(destinations=["192.0.2.0/24"], table=100)
    rule = Rule(priority=100, address_size=4, table=100)
    before = make_plan([some], replace(_with_claims({}), rules=(rule,)))
    node = replace(_with_claims(CLAIM), rules=(rule,))

    assert make_plan([some], node, before).desired == before.desired
    assert before.desired
    assert paths(make_plan([some], node).desired) == {}
