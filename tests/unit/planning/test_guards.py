"""Gateways that can't work on a node, and destinations that would cut it off."""

from collections.abc import Iterable
from dataclasses import replace

import pytest

from static_route_operator.api.noderoutestate import Reason, RowState
from static_route_operator.planning.guards import Rejection, default_refusals, refusals, source_problem
from static_route_operator.routing.facts import Address, Facts, Link, Network
from static_route_operator.routing.foreign import ForeignRib, Lookup
from static_route_operator.routing.keys import TABLE_LOCAL, prefix_of
from static_route_operator.routing.nexthops import BLACKHOLE_IPV4, NextHop, NextHops
from static_route_operator.routing.prefixes import pack_address, pack_prefix, unpack_prefix
from static_route_operator.routing.rules import Rule
from tests.unit.builders import ETH0, facts, key, keys, make_key, pack, protection

TUN0 = 9
LOCAL = Lookup(32, 1, on_link=False, local=True, ours=False)
BY_DEFAULT_ROUTE = Lookup(0, ETH0, on_link=False, local=False, ours=False)


def _refused(node: Facts, *destinations: str, gateways: tuple[str, ...] = ("10.0.0.1",)) -> dict[str, str]:
    found = refusals(keys(*destinations), node, [pack_address(gateway) for gateway in gateways])
    return {unpack_prefix(prefix_of(key)): each.why for each in found for key in each.keys}


def test_no_destinations_are_no_problem() -> None:
    """An object of which nothing is left asks no questions."""
    assert _refused(facts(protected={"10.9.9.9": "API server"})) == {}


@pytest.mark.parametrize("destination", ["10.0.0.0/24", "10.0.0.128/25", "10.0.0.7", "10.0.0.1"])
def test_parts_of_a_connected_subnet_are_refused(destination: str) -> None:
    """A connected subnet, or a part of it, is reached directly and never through a gateway."""
    refused = _refused(facts(), destination)

    (why,) = refused.values()
    assert why.startswith(("is in 10.0.0.0/24, a subnet that eth0", "would capture the gateway"))


def test_own_address_outside_its_subnets_is_refused() -> None:
    """An address of this node is refused also where its subnet does not cover it (a point-to-point peer)."""
    node = facts(addresses={"172.16.0.9": "tun0"})

    assert _refused(node, "172.16.0.9", "172.16.0.8") == {"172.16.0.9/32": "is this node's own address on tun0"}


@pytest.mark.parametrize("destination", ["10.0.0.0/8", "10.0.0.0/23", "10.0.1.0/24", "9.255.255.255/32", "10.0.1.0/32"])
def test_broader_and_neighbouring_prefixes_are_accepted(destination: str) -> None:
    """A prefix broader than a connected subnet, or next to it, changes nothing for the subnet and is accepted."""
    assert _refused(facts(), destination) == {}


OTHERS = {"10.0.0.0/24": "", "172.20.0.0/16": "10.0.0.3", "0.0.0.0/0": "10.0.0.3"}
PROTECTED = facts(protected={"172.20.0.1": "API server"}, others=OTHERS)


@pytest.mark.parametrize("destination", ["172.20.0.1/32", "172.20.0.0/24", "172.20.0.0/17", "172.20.0.0/16"])
def test_capturing_a_protected_address_is_refused(destination: str) -> None:
    """A prefix that would win against the route to a protected address is refused, also one of equal length."""
    assert _refused(PROTECTED, destination) == {destination: "would capture 172.20.0.1 (API server)"}


@pytest.mark.parametrize("destination", ["172.16.0.0/12", "172.20.0.0/15", "172.20.0.2/32", "172.20.1.0/24"])
def test_what_leaves_a_protected_address_alone_is_accepted(destination: str) -> None:
    """A broader prefix loses against the route there is, and others do not hold the address."""
    assert _refused(PROTECTED, destination) == {}


@pytest.mark.parametrize("others", [{}, {"0.0.0.0/0": "10.0.0.3"}], ids=["without a route", "by the default route"])
@pytest.mark.parametrize("destination", ["172.20.0.1/32", "172.16.0.0/12", "128.0.0.0/2"])
def test_any_prefix_captures_what_only_a_weak_route_leads_to(others: dict[str, str], destination: str) -> None:
    """If a protected address uses the default route, every prefix that holds the address counts."""
    node = facts(protected={"172.20.0.1": "API server"}, others=others)

    assert list(_refused(node, destination)) == [destination]


def test_route_that_leads_where_packets_go_already_is_accepted() -> None:
    """A route with the next hop that a protected address has today changes nothing; with a source of its own it may.

    A blackhole and unknown next hops are refused too.
    """
    some, node = keys("172.20.0.1"), facts(protected={"172.20.0.1": "API server"}, others={"172.16.0.0/12": "10.0.0.3"})
    same, other = (NextHops.via(pack_address(gateway), ETH0) for gateway in ("10.0.0.3", "10.0.0.1"))

    assert not list(refusals(some, node, [], same))
    for path in (other, same._replace(source=pack_address("10.0.0.2")), BLACKHOLE_IPV4, None):
        assert [each.keys for each in refusals(some, node, [], path)] == [some]


def test_parts_of_a_protected_prefix_are_refused_with_what_they_hold() -> None:
    """A part of a prefix is named with it, and with the address that it holds where that is known too."""
    protected = {"10.96.0.0/12": "Services", "10.96.0.1": "API server", "10.98.0.0/16": "listed twice"}
    node = facts(protected=protected, others={"0.0.0.0/0": "10.0.0.3"})

    assert _refused(
        node, "10.96.0.0/24", "10.97.0.0/16", "10.99.0.7", "10.96.0.0/12", "10.0.0.0/8", "10.112.0.0/12"
    ) == {
        "10.96.0.0/24": "would capture 10.96.0.1 (API server)",
        "10.97.0.0/16": "is in 10.96.0.0/12 (Services)",
        "10.99.0.7/32": "is in 10.96.0.0/12 (Services)",
        "10.96.0.0/12": "would capture 10.96.0.0/12 (Services)",
        "10.0.0.0/8": "would capture 10.96.0.0/12 (Services)",
    }


def test_what_this_node_delivers_to_itself_is_captured_by_nothing() -> None:
    """Its own addresses, and those that IPVS gives it, are looked up before main."""
    local = [pack([make_key("10.96.0.0/31", TABLE_LOCAL, 0), make_key("10.96.0.2/32", TABLE_LOCAL, 0)])]
    protected = protection(dict.fromkeys(["10.96.0.1", "10.96.0.2", "10.96.0.3"], "Service"))
    node = replace(facts(others={}), protected=protected, foreign=ForeignRib({}, local))

    found = {
        one: each.why
        for each in refusals(keys("10.96.0.0/31", "10.96.0.2", "10.96.0.0/30"), node, [])
        for one in each.keys
    }

    assert found == {key("10.96.0.0/30"): "would capture 10.96.0.3 (Service)"}


def test_protected_address_of_the_other_family_does_not_matter() -> None:
    """IPv6 destinations can't capture IPv4 addresses."""
    assert _refused(PROTECTED, "fd01::/16", gateways=("fd00::1",)) == {}


def test_gateway_is_not_captured_by_any_object() -> None:
    """A destination that holds a gateway in use is refused: the gateway would be looked for behind itself."""
    on_link = Lookup(16, ETH0, on_link=True, local=False, ours=False)
    node = facts(lookups={"10.9.0.1": on_link})

    refused = _refused(node, "10.9.0.1", "10.9.0.0/24", "10.9.0.0/16", "10.8.0.0/14", gateways=("10.9.0.1",))

    why = "would capture the gateway 10.9.0.1 itself"
    assert refused == {"10.9.0.1/32": why, "10.9.0.0/24": why, "10.9.0.0/16": why}


def test_only_the_destinations_concerned_are_refused() -> None:
    """Among thousands of destinations exactly those that do harm are refused."""
    harmless = [f"198.18.{third}.{fourth}" for third in range(20) for fourth in range(250)]

    refused = _refused(PROTECTED, *harmless, "10.0.0.9", "172.20.0.1", "10.0.0.77")

    assert sorted(refused) == ["10.0.0.77/32", "10.0.0.9/32", "172.20.0.1/32"]


def test_source_is_an_address_of_the_node() -> None:
    """A source is one of the node's addresses, or one that the kernel takes for its own; without one all is well."""
    node = facts(lookups={"10.5.0.7": LOCAL, "10.9.9.9": BY_DEFAULT_ROUTE})

    for text in ("10.0.0.2", "fd00::2", "10.5.0.7"):
        assert source_problem(pack_address(text), node) is None
    assert source_problem(b"", node) is None
    for text in ("10.9.9.9", "10.0.0.3", "fd00::3"):
        problem = source_problem(pack_address(text), node)
        assert problem is not None
        assert (problem.state, problem.reason) == (RowState.FAILED, Reason.SOURCE_NOT_ON_NODE)
        assert problem.message == f"source {text} is not an address of this node"


ANY, ANY_IPV6 = pack_prefix("0.0.0.0/0"), pack_prefix("::/0")
HARMFUL = ("10.0.0.0/8", "10.0.0.0/25", "10.0.0.2/32", "172.16.0.0/12", "172.20.0.1/32", "10.0.0.1/32")


def _refused_in(table: int, rules: tuple[Rule, ...], *destinations: str) -> dict[str, str]:
    node = facts(protected={"172.20.0.1": "API server"}, others=OTHERS, rules=rules)
    some = pack(make_key(each, table, 0) for each in destinations)
    found = refusals(some, node, [pack_address("10.0.0.1")])
    return {unpack_prefix(prefix_of(key)): each.why for each in found for key in each.keys}


@pytest.mark.parametrize(
    "rules",
    [
        (),
        (Rule(priority=10, table=254), Rule(priority=11, table=101)),
        (Rule(priority=10, table=100, source=pack_prefix("10.244.0.0/16")),),
        (Rule(priority=10, table=100, address_size=16),),
    ],
    ids=["no rule", "rules to other tables", "rule for the packets of others", "rule of the other family"],
)
def test_table_that_own_packets_are_not_looked_up_in_takes_everything(rules: tuple[Rule, ...]) -> None:
    """A table that no rule leads the node's own packets to can't cut it off, whatever is in it."""
    assert _refused_in(100, rules, *HARMFUL) == {}


@pytest.mark.parametrize(
    "rule",
    [
        Rule(priority=10, table=100),
        Rule(priority=10, table=100, source=pack_prefix("10.0.0.0/24")),
        Rule(priority=10, table=100, source=pack_prefix("10.0.0.2/32")),
    ],
    ids=["any source", "subnet of the node", "address of the node"],
)
def test_table_that_own_packets_may_be_looked_up_in_is_guarded(rule: Rule) -> None:
    """If a rule may lead the node's own packets there, each prefix with an address that must stay reachable is refused.

    There is no better match in that table, so broad prefixes capture too; the message names the rule.
    """
    refused = _refused_in(100, (Rule(priority=5, table=101), rule), *HARMFUL, "192.0.2.0/24", "172.20.1.0/24")

    assert sorted(refused) == sorted(HARMFUL)
    assert refused["172.16.0.0/12"] == (
        "would capture 172.20.0.1 (API server); policy rule 10 may lead packets that this node sends to table 100"
    )
    assert refused["10.0.0.0/8"].startswith(
        "would capture 10.0.0.0/24, a subnet that eth0 of this node is connected to;"
    )


def test_rules_change_nothing_for_the_main_table() -> None:
    """In main the longest prefix wins, whatever rules lead there."""
    assert _refused_in(254, (Rule(priority=10, table=254),), "10.0.0.0/8", "172.16.0.0/12") == {}


OUTER = "198.51.100.7"
ANYWHERE, BROAD, EXACT = "0.0.0.0/0", "198.51.100.0/24", "198.51.100.7/32"
BY_DEFAULT = Lookup(0, ETH0, on_link=False, local=False, ours=False)


@pytest.mark.parametrize(
    ("lookup", "refused"),
    [
        (None, [ANYWHERE, BROAD, EXACT]),
        (BY_DEFAULT, [ANYWHERE, BROAD, EXACT]),
        (BY_DEFAULT._replace(prefix_length=25), [EXACT]),
        (Lookup(32, ETH0, on_link=False, local=False, ours=True), [EXACT]),
        (Lookup(24, TUN0, on_link=False, local=False, ours=True), [ANYWHERE, BROAD, EXACT]),
        (Lookup(24, 0, on_link=False, local=False, ours=True), [ANYWHERE, BROAD, EXACT]),
    ],
    ids=["no route", "default", "more specific", "another StaticRoute", "looping", "looping in part"],
)
def test_tunnel_does_not_lead_into_itself(lookup: Lookup | None, refused: list[str]) -> None:
    """A key that would capture the outer packets of the tunnel to its gateway is refused, on that way alone."""
    known = facts(lookups={OUTER: lookup} if lookup else {})
    tunnel = Link(TUN0, "tun0", kind="gre", remote=pack_address(OUTER))
    node = replace(known, network=Network({**known.links, TUN0: tunnel}, known.network.addresses))
    some = keys(BROAD, EXACT, "192.0.2.1")
    into, past = NextHop(pack_address("10.9.0.1"), TUN0), NextHop(pack_address("10.0.0.1"), ETH0)

    def refused_keys(found: Iterable[Rejection]) -> list[str]:
        return sorted({unpack_prefix(prefix_of(key)) for each in found for key in each.keys})

    assert refused_keys(refusals(some, node, [], hops=[past, into])) == [each for each in refused if each != ANYWHERE]
    assert refused_keys(default_refusals(keys(ANYWHERE), node, [into])) == [
        each for each in refused if each == ANYWHERE
    ]
    assert {each.why for each in refusals(some, node, [], hops=[into])} == {
        f"would capture {OUTER}, the other end of the tunnel tun0 that leads to the gateway"
    }
    assert not list(refusals(some, node, [], hops=[past]))


def test_source_that_is_no_address_in_use() -> None:
    """A duplicate, and an address that is still checked, are told as such."""
    for flag, words in (("duplicate", "is a duplicate: another node"), ("tentative", "is not in use yet")):
        address = Address(ETH0, pack_address("fd00::7"), 64, pack_address("fd00::7"), **{flag: True})
        problem = source_problem(pack_address("fd00::7"), replace(facts(), network=Network(facts().links, (address,))))
        assert problem is not None
        assert f"source fd00::7 of eth0 {words}" in problem.message


def test_subnet_of_length_0_or_1_captures_nothing() -> None:
    """An address that claims the whole world, or half of it, refuses no destination but itself."""
    node = facts(subnets={"0.0.0.0/0": "ppp0", "128.0.0.0/1": "ppp0"}, addresses={"10.64.64.64": "ppp0"})

    assert _refused(node, "192.0.2.0/24", "10.64.64.64") == {"10.64.64.64/32": "is this node's own address on ppp0"}
