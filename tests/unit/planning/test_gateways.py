"""Selection of the gateways that a node uses."""

from dataclasses import replace
from typing import Any

import pytest

from static_route_operator.api.healthcheck import Check
from static_route_operator.api.noderoutestate import Reason, RowState
from static_route_operator.api.nodeselector import Node
from static_route_operator.api.resolution import ResolvedRoute
from static_route_operator.planning.gateways import GatewaySelection, GatewaySelector
from static_route_operator.planning.plan import make_plan
from static_route_operator.planning.targets import Target
from static_route_operator.routing.facts import Facts, Network
from static_route_operator.routing.foreign import Lookup
from static_route_operator.routing.nexthops import BLACKHOLE_IPV4, BLACKHOLE_IPV6, NextHop, NextHops
from static_route_operator.routing.prefixes import pack_address
from tests.unit.builders import ETH0, facts, key, keys, paths, resolved

A, B, C = "10.0.0.1", "10.0.0.3", "10.0.0.4"
HERE = facts(gateways=[A, B, C])
NODE = Node("node1", {"zone": "a"})


def _object(*gateways: dict[str, Any], name: str = "nat", **spec: Any) -> ResolvedRoute:
    return resolved(name, None, gateways=list(gateways), **spec)


def _target(address: str) -> Target:
    return Target(pack_address(address), ETH0, Check())


def _choose(some: ResolvedRoute, *down: str, known: Facts = HERE, probed: tuple[str, ...] = ()) -> GatewaySelection:
    return GatewaySelector(NODE, known, {_target(each) for each in down}, map(_target, probed)).choose(some)


def network_with(some: Facts, **changes: Any) -> Facts:
    """Return a node whose eth0 has changed."""
    links = {**some.links, ETH0: replace(some.links[ETH0], **changes)}
    return replace(some, network=Network(links, some.network.addresses))


def _used(choice: GatewaySelection) -> dict[bytes, int]:
    assert choice.next_hops is not None
    return {hop.gateway: hop.weight for hop in choice.next_hops.hops}


def _weights(**weights: int) -> dict[bytes, int]:
    names = {"a": A, "b": B, "c": C}
    return {pack_address(names[name]): weight for name, weight in weights.items()}


def _in(zone: str) -> dict[str, Any]:
    terms = [{"matchExpressions": [{"key": "zone", "operator": "In", "values": [zone]}]}]
    return {"nodeSelector": {"nodeSelectorTerms": terms}}


TIERS = _object(
    {"address": C, "priority": 7},
    {"address": B, "weight": 3, "priority": 1},
    {"address": A, "weight": 2, "priority": 1},
    healthCheck={},
)


@pytest.mark.parametrize(
    ("down", "used"),
    [
        ([], _weights(a=2, b=3)),
        ([A], _weights(b=1)),
        ([A, B], _weights(c=1)),
        ([C], _weights(a=2, b=3)),
    ],
    ids=["none", "one", "a tier", "the standby"],
)
def test_best_tier_with_a_live_gateway_is_used(down: list[str], used: dict[bytes, int]) -> None:
    """The live gateways of the lowest priority that has any share the traffic; one alone has it all."""
    choice = _choose(TIERS, *down)

    assert _used(choice) == used
    assert {each.gateway for each in choice.targets} == set(map(pack_address, (A, B, C)))
    if down:
        assert choice.problem is not None
        assert (choice.problem.state, choice.problem.reason) == (RowState.PROGRAMMED, Reason.GATEWAYS_NOT_USED)
        assert [f"gateway {each} is down" in choice.problem.message for each in down] == [True] * len(down)
    else:
        assert choice.problem is None


def test_next_hops_are_sorted() -> None:
    """In whatever order gateways are written, their routes are the same."""
    one, other = {"address": A}, {"address": B}

    assert _choose(_object(one, other)).next_hops == _choose(_object(other, one)).next_hops
    assert _choose(_object(one, other)).next_hops == NextHops(
        (NextHop(pack_address(A), ETH0), NextHop(pack_address(B), ETH0))
    )


def test_drained_gateway_is_not_used() -> None:
    """Weight 0 drains a gateway; if it was the last, the next tier takes over, and a message says so."""
    drained = _object({"address": A, "weight": 0}, {"address": B, "priority": 1})

    assert _used(_choose(drained)) == _weights(b=1)
    assert _choose(drained).problem is not None
    assert _choose(_object({"address": A, "weight": 0})).keep


def test_only_gateways_for_the_node_count() -> None:
    """Each node uses those whose selector matches it; if there is none, it has no routes and says so."""
    assert _used(_choose(_object({"address": A, **_in("a")}, {"address": B, **_in("b")}))) == _weights(a=1)

    choice = _choose(_object({"address": B, **_in("b")}))
    assert (choice.next_hops, choice.keep) == (None, False)
    assert choice.problem is not None
    assert choice.problem.reason is Reason.NO_GATEWAY


def test_gateway_on_a_subnet_of_other_nodes_is_no_error() -> None:
    """Gateways that this node can't reach are passed over as long as it reaches another."""
    choice = _choose(_object({"address": "172.31.0.1"}, {"address": A}))

    assert _used(choice) == _weights(a=1)
    assert choice.problem is None

    none = _choose(_object({"address": "172.31.0.1"}, {"address": "172.31.0.2"}))
    assert none.problem is not None
    assert none.problem.reason is Reason.GATEWAY_UNREACHABLE
    assert "172.31.0.1" in none.problem.message
    assert "172.31.0.2" in none.problem.message


@pytest.mark.parametrize(
    ("policy", "path", "keep"), [("Keep", None, True), ("Withdraw", None, False), ("Blackhole", BLACKHOLE_IPV4, False)]
)
@pytest.mark.parametrize("cause", ["down", "unreachable"])
def test_policy_is_for_all_that_keeps_gateways_from_use(
    policy: str, path: NextHops | None, keep: bool, cause: str
) -> None:
    """The policy decides if no gateway can be used, because all are down or the node reaches none."""
    some = _object({"address": A}, healthCheck={}, whenAllGatewaysDown=policy)
    choice = _choose(some, A) if cause == "down" else _choose(some, known=facts(gateways=[]))

    assert (choice.next_hops, choice.keep) == (path, keep)
    assert choice.problem is not None
    assert choice.problem.state is RowState.FAILED


OWN = facts(gateways=[B], lookups={A: Lookup(32, 1, on_link=False, local=True, ours=False)})


@pytest.mark.parametrize("policy", ["Keep", "Withdraw", "Blackhole"])
@pytest.mark.parametrize("others", [[], [{"address": B}]], ids=["alone", "and the other is down"])
def test_gateway_itself_has_no_routes(policy: str, others: list[dict[str, Any]]) -> None:
    """A node that is itself the gateway left has no routes, none that stay, and no blackhole in their place."""
    some = _object({"address": A}, *others, healthCheck={}, whenAllGatewaysDown=policy)
    choice = _choose(some, B, known=OWN, probed=(A, B))

    assert (choice.next_hops, choice.keep) == (None, False)
    assert choice.problem is not None
    assert (choice.problem.state, choice.problem.reason) == (RowState.REFUSED, Reason.GATEWAY_IS_THIS_NODE)
    assert choice.problem.message.startswith(f"gateway {A} is a unicast address of this node")
    assert choice.problem.message.endswith("; its routes are withdrawn")
    # This node would answer its own probes.
    assert {each.gateway for each in choice.targets} == {pack_address(each["address"]) for each in others}


def test_gateway_beside_one_that_is_this_node_is_used() -> None:
    """As long as another gateway can be used the node uses it, and says why it does not use the first."""
    choice = _choose(_object({"address": A}, {"address": B, "priority": 1}), known=OWN)

    assert _used(choice) == _weights(b=1)
    assert choice.problem is not None
    assert (choice.problem.state, choice.problem.reason) == (RowState.PROGRAMMED, Reason.GATEWAYS_NOT_USED)
    assert choice.problem.message.startswith(f"gateway {A} is a unicast address of this node")


def test_target_of_a_named_interface_stays_there() -> None:
    """A gateway out of reach is probed further on its own interface, not where another object finds its address."""
    other = Target(pack_address(A), ETH0 + 1, Check())
    some = _object({"address": A, "interface": "eth0"}, healthCheck={})
    down = network_with(HERE, up=False)

    known = GatewaySelector(NODE, down, (), [other, _target(A)]).choose(some)
    assert known.targets == (_target(A),)
    assert GatewaySelector(NODE, down, (), [other]).choose(some).targets == ()


def test_gateway_that_cannot_be_reached_goes_on_being_probed() -> None:
    """It must not count as up the moment that its link is back."""
    some = _object({"address": A}, healthCheck={})

    assert _choose(some, known=facts(gateways=[])).targets == ()
    assert _choose(some, A, known=facts(gateways=[]), probed=(A,)).targets == (_target(A),)


def test_nothing_is_probed_without_a_check() -> None:
    """Gateways count as up where nobody asked to check them."""
    assert _choose(_object({"address": A})).targets == ()


def test_object_without_a_gateway_leaves_its_prefixes_to_the_next() -> None:
    """One that can't use any gateway claims nothing, unless it is to drop the packets."""
    for policy, expected in (("Keep", B), ("Withdraw", B), ("Blackhole", None)):
        first = _object({"address": A}, name="a", healthCheck={}, whenAllGatewaysDown=policy)
        plan = make_plan([first, resolved("b", B)], HERE, node=NODE, down={_target(A)})

        path = NextHops.via(pack_address(expected), ETH0) if expected else BLACKHOLE_IPV4
        assert paths(plan.desired) == {key("192.0.2.1"): path}


def test_blackhole_is_of_the_family() -> None:
    """IPv6 packets are dropped as well, and it takes no source address to do so."""
    some = _object(
        {"address": "fd00::9"}, destinations=["2001:db8::1"], whenAllGatewaysDown="Blackhole", source="fd00::77"
    )

    assert paths(make_plan([some], HERE).desired) == {key("2001:db8::1"): BLACKHOLE_IPV6}


def test_failover_takes_keys_from_the_last_plan() -> None:
    """A failover changes the next hops; the keys stay the same object."""
    before = make_plan([TIERS], HERE, node=NODE)
    after = make_plan([TIERS], HERE, before, node=NODE, down={_target(A), _target(B)})

    ((_, was),) = before.desired
    ((path, now),) = after.desired
    assert now is was
    assert now == keys("192.0.2.1")
    assert path == NextHops.via(pack_address(C), ETH0)
