"""The interface on which a gateway is a neighbour of this node, and the words about gateways that are none."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from static_route_operator.api.gateways import Gateway
from static_route_operator.api.noderoutestate import Reason, RowState
from static_route_operator.planning.adjacency import belongs_here, find_next_hop
from static_route_operator.planning.guards import Issue
from static_route_operator.planning.plan import make_plan
from static_route_operator.routing.facts import Address, Facts, Link, Network
from static_route_operator.routing.foreign import Lookup
from static_route_operator.routing.kernelroute import ANYCAST, BROADCAST, LOCAL, PROTOCOL_KERNEL, PROTOCOL_RA, UNICAST
from static_route_operator.routing.nexthops import NextHop
from static_route_operator.routing.prefixes import contains, host_prefix, pack_address, pack_prefix
from tests.unit.builders import resolved

LO, ETH0, ETH1, PPP0, BR0, RED = range(1, 7)
LINKS = {
    LO: Link(LO, "lo"),
    ETH0: Link(ETH0, "eth0"),
    ETH1: Link(ETH1, "eth1", ("enp1s0", "a-name-that-is-longer-than-fifteen-characters")),
    PPP0: Link(PPP0, "ppp0", arp=False, point_to_point=True),
    BR0: Link(BR0, "br0", kind="bridge"),
    RED: Link(RED, "red", kind="vrf"),
}
GATEWAY = "10.1.0.5"


def _address(index: int, text: str, **more: Any) -> Address:
    prefix = pack_prefix(text.rpartition("/")[0])
    peer = pack_address(more.pop("peer")) if "peer" in more else prefix[:-1]
    return Address(index, prefix[:-1], int(text.rpartition("/")[2]), peer, **more)


ADDRESSES = (
    _address(ETH0, "10.0.0.2/24"),
    _address(ETH1, "10.1.0.2/24"),
    _address(ETH0, "fd00::2/64"),
    _address(ETH1, "fd00:1::2/64"),
)


def _node(
    lookups: dict[str, Lookup] | None = None,
    addresses: tuple[Address, ...] = ADDRESSES,
    **links: Any,
) -> Facts:
    """Return a node with two Ethernets and a modem; ``links`` are changes of links by name."""
    changed = {index: replace(link, **links.get(link.name, {})) for index, link in LINKS.items()}
    return Facts(Network(changed, addresses), {pack_address(text): each for text, each in (lookups or {}).items()})


def _device(length: int, interface: int, **more: Any) -> Lookup:
    """Return a look-up that ends at a route without a gateway."""
    return Lookup(length, interface, on_link=True, local=False, ours=False, **more)


def _via(length: int, interface: int, gateway: str) -> Lookup:
    return Lookup(length, interface, on_link=False, local=False, ours=False, gateway=pack_address(gateway))


def _own(kind: str = LOCAL, length: int = 32) -> Lookup:
    return Lookup(length, LO, on_link=False, local=True, ours=False, kind=kind)


def _kind(kind: str) -> Lookup:
    return Lookup(0, 0, on_link=False, local=False, ours=False, kind=kind)


def _gateway(text: str = GATEWAY, **more: Any) -> Gateway:
    return Gateway(pack_address(text), **more)


def _message(found: NextHop | Issue) -> str:
    assert isinstance(found, Issue)
    assert (found.state, found.reason) == (RowState.FAILED, Reason.GATEWAY_UNREACHABLE)
    return found.message


@pytest.mark.parametrize(
    ("text", "lookup", "addresses"),
    [
        (GATEWAY, _device(24, ETH1), ADDRESSES),
        ("fd00:1::5", _device(64, ETH1), ADDRESSES),
        (GATEWAY, _device(8, ETH1), (_address(ETH1, "10.1.0.2/24", prefix_route=False),)),
        (GATEWAY, _device(32, ETH1), (_address(ETH1, "192.0.2.2/32"),)),
        (GATEWAY, _device(32, PPP0), (_address(PPP0, "10.9.0.1/32", peer=GATEWAY),)),
        (GATEWAY, _device(31, ETH1), (_address(ETH1, "10.1.0.4/31"),)),
        ("2001:db8::5", _device(128, ETH1), ()),
        ("2001:db8::5", _device(64, ETH1, protocol=PROTOCOL_KERNEL), ()),
        ("2001:db8::5", _device(64, ETH1, protocol=PROTOCOL_RA), ()),
    ],
    ids=[
        "subnet",
        "IPv6",
        "noprefixroute",
        "host route",
        "peer",
        "/31",
        "IPv6 host",
        "declared",
        "advertised",
    ],
)
def test_neighbour_is_found_on_its_interface(text: str, lookup: Lookup, addresses: tuple[Address, ...]) -> None:
    """A gateway is a neighbour if the kernel leads straight to it by a route about it, or its subnet."""
    node = _node({text: lookup}, addresses)

    assert find_next_hop(_gateway(text), node) == NextHop(pack_address(text), lookup.interface)


@pytest.mark.parametrize(
    ("text", "lookup"),
    [
        (GATEWAY, _device(0, PPP0)),
        (GATEWAY, _device(1, PPP0)),
        (GATEWAY, _device(8, PPP0, protocol=PROTOCOL_KERNEL)),
        ("fd00:1::5", _device(0, PPP0, protocol=PROTOCOL_RA)),
        ("fd00:1::5", _device(3, PPP0)),
        (GATEWAY, _device(25, ETH0)),
    ],
    ids=["default", "half", "broad", "IPv6 default", "IPv6 broad", "narrower"],
)
def test_any_other_route_without_a_gateway_leads_elsewhere(text: str, lookup: Lookup) -> None:
    """A route that is not about the gateway does not reach it, whether or not its subnet's interface is up."""
    for state in ({}, {"up": False}):
        message = _message(find_next_hop(_gateway(text), _node({text: lookup}, eth1=state)))

        assert message.startswith(f"gateway {text} is on {'10.1.0.0/24' if '.' in text else 'fd00:1::/64'} of eth1, ")
        assert f"on {LINKS[lookup.interface].name}" in message
        assert "set interface: " in message


@pytest.mark.parametrize(
    ("lookup", "links", "words"),
    [
        (
            _device(0, PPP0),
            {"eth1": {"up": False}},
            (
                "is on 10.1.0.0/24 of eth1, which is down: bring it up (ip link set eth1 up); this node would send"
                " to it by 0.0.0.0/0 on ppp0, and routes through it do not follow (set interface: ppp0 in spec.gateways"
                " if it is a neighbour there)"
            ),
        ),
        (
            _device(24, ETH1),
            {"eth1": {"carrier": False}},
            "is on eth1, which has no carrier: look at the cable or at the other end of the link",
        ),
        (
            _device(24, ETH1),
            {"eth1": {"master": BR0}},
            (
                "is on eth1, which is a port of the bridge br0: answers arrive on br0, so move the node's address from"
                " eth1 to br0"
            ),
        ),
        (
            _via(0, ETH0, "10.0.0.1"),
            {"eth1": {"master": RED}},
            "is on 10.1.0.0/24 of eth1, which is in the VRF red: gateways inside of VRFs are not supported",
        ),
        (_device(32, RED), {}, "is on red, a VRF: gateways inside of VRFs are not supported"),
        (_device(64, LO), {}, "is on 10.1.0.0/24 of eth1, but this node would send to it by "),
        (
            None,
            {},
            (
                "is on 10.1.0.0/24 of eth1, but this node has no route to it: add the route (ip route add 10.1.0.0/24"
                " dev eth1), or set interface: eth1 in spec.gateways"
            ),
        ),
        (
            _via(0, ETH0, "10.0.0.1"),
            {},
            (
                "is on 10.1.0.0/24 of eth1, but this node would send to it by 0.0.0.0/0 via 10.0.0.1 on eth0: remove"
                " that route, or set interface: eth1 in spec.gateways"
            ),
        ),
        (
            _kind("unreachable"),
            {},
            (
                "is on 10.1.0.0/24 of eth1, but this node's route to it is of the type unreachable: remove that route,"
                " or set interface: eth1 in spec.gateways"
            ),
        ),
    ],
    ids=["down", "no carrier", "bridge port", "VRF port", "VRF", "lo", "no route", "other route", "unreachable"],
)
def test_words_say_where_the_gateway_is_and_what_to_do(
    lookup: Lookup | None, links: dict[str, Any], words: str
) -> None:
    """The message names the subnet of the gateway, where packets would go instead, and the remedy."""
    if lookup and lookup.interface == LO:
        lookup = lookup._replace(prefix_length=16)
    node = _node({GATEWAY: lookup} if lookup else {}, **links)

    assert _message(find_next_hop(_gateway(), node)).startswith(f"gateway {GATEWAY} {words}")


@pytest.mark.parametrize(
    ("text", "lookup", "words"),
    [
        ("192.168.7.1", _via(0, ETH0, "10.0.0.1"), ""),
        ("192.168.7.1", None, ""),
        (
            "192.168.7.1",
            _via(0, ETH0, "192.168.7.1"),
            ", but this node would send to it by 0.0.0.0/0 via 192.168.7.1 on eth0: set onLink: true",
        ),
        (
            "192.168.7.1",
            _device(0, PPP0),
            (
                ", and this node would send to it by 0.0.0.0/0 on ppp0: set interface: ppp0 in spec.gateways if it is a"
                " neighbour there"
            ),
        ),
    ],
    ids=["router", "no route", "gateway of the default route", "device"],
)
def test_gateway_on_no_subnet_is_told(text: str, lookup: Lookup | None, words: str) -> None:
    """A gateway that no subnet holds is told with the subnets that there are, and with the device that leads on."""
    node = _node({text: lookup} if lookup else {})

    message = _message(find_next_hop(_gateway(text), node))
    assert (
        message == f"gateway {text} is not on any subnet of this node (10.0.0.0/24 on eth0, 10.1.0.0/24 on eth1){words}"
    )
    assert not belongs_here(_gateway(text), node)
    assert belongs_here(_gateway(), node)


def test_noprefixroute_is_named() -> None:
    """A subnet to which the kernel has made no route says why there is none."""
    node = _node({}, (_address(ETH1, "10.1.0.2/24", prefix_route=False),))

    message = _message(find_next_hop(_gateway(), node))
    assert message.startswith(
        f"gateway {GATEWAY} is on 10.1.0.0/24 of eth1, where the node's address has noprefixroute, but this node has no"
        " route to it: add the route (ip route add 10.1.0.0/24 dev eth1)"
    )


def test_without_an_address_of_the_family() -> None:
    """A node without IPv6 says so."""
    message = _message(find_next_hop(_gateway("fd00::1"), _node({}, ADDRESSES[:2])))
    assert message == "gateway fd00::1 is not on any subnet of this node (it has no subnet of this address family)"


@pytest.mark.parametrize(
    ("text", "lookup", "words"),
    [
        ("10.0.0.2", _own(), "this node's own address on eth0"),
        ("10.0.0.2", None, "this node's own address on eth0"),
        ("10.0.0.255", _own(BROADCAST), "the broadcast address of 10.0.0.0/24 of eth0"),
        ("10.0.0.0", _own(BROADCAST), "the network address of 10.0.0.0/24 of eth0"),
        (
            "fd00::",
            _own(ANYCAST, 128),
            "the anycast address of all routers on fd00::/64 of eth0, and this node is one of them",
        ),
        ("fd77::", _own(ANYCAST, 128), "an anycast address of this node (ip route show table local)"),
        ("10.77.0.1", _own(), "a local address of this node (ip route show table local)"),
        (
            "10.20.0.9",
            _own(LOCAL, 24),
            "in 10.20.0.0/24, all of which this node takes for its own addresses (ip route show table local)",
        ),
    ],
    ids=["own", "not looked up", "broadcast", "network", "anycast", "other anycast", "local route", "local prefix"],
)
@pytest.mark.parametrize("interface", ["", "eth1"])
def test_own_address_is_no_gateway(text: str, lookup: Lookup | None, words: str, interface: str) -> None:
    """Whatever the gateway's options, packets to this node's own address go nowhere else."""
    node = _node({text: lookup} if lookup else {})

    for on_link in (False, True):
        found = find_next_hop(_gateway(text, interface=interface), node, on_link=on_link)
        assert found == Issue(RowState.REFUSED, Reason.GATEWAY_IS_THIS_NODE, f"gateway {text} is {words}")


def test_own_address_in_a_vrf() -> None:
    """An address in a VRF is this node's own too."""
    node = _node({GATEWAY: _device(24, ETH1)}, (*ADDRESSES, _address(PPP0, f"{GATEWAY}/32")), ppp0={"master": RED})

    found = find_next_hop(_gateway(), node)
    assert isinstance(found, Issue)
    assert found.message == f"gateway {GATEWAY} is this node's own address on ppp0, in the VRF red"


@pytest.mark.parametrize("flag", ["tentative", "duplicate"])
def test_address_that_is_not_in_use_may_be_the_gateways(flag: str) -> None:
    """IPv6 does not use an address that another node has: that other node is the gateway."""
    node = _node({"fd00:1::5": _device(64, ETH1)}, (*ADDRESSES, _address(ETH1, "fd00:1::5/64", **{flag: True})))

    assert isinstance(find_next_hop(_gateway("fd00:1::5"), node), NextHop)


@pytest.mark.parametrize("name", ["eth1", "enp1s0", "a-name-that-is-longer-than-fifteen-characters"])
def test_named_interface_needs_no_subnet(name: str) -> None:
    """With an interface, by any of its names, the subnets do not count; the kernel is told where it can't know."""
    elsewhere = find_next_hop(_gateway("192.168.7.1", interface=name), _node({"192.168.7.1": _device(0, PPP0)}))
    assert elsewhere == NextHop(pack_address("192.168.7.1"), ETH1, on_link=True)

    here = find_next_hop(_gateway(interface=name), _node({GATEWAY: _device(24, ETH1)}))
    assert here == NextHop(pack_address(GATEWAY), ETH1)


@pytest.mark.parametrize(
    ("name", "links", "words"),
    [
        ("eth7", {}, "eth7, which this node does not have (it has eth0, eth1, ppp0, br0, red)"),
        ("eth1", {"eth1": {"up": False}}, "eth1, which is down: bring it up (ip link set eth1 up)"),
        ("eth1", {"eth1": {"carrier": False}}, "eth1, which has no carrier: "),
        ("eth1", {"eth1": {"master": BR0}}, "eth1, which is a port of the bridge br0: "),
        ("eth1", {"eth1": {"master": RED}}, "eth1, which is in the VRF red: "),
        ("lo", {}, "lo, the loopback interface, on which there are no neighbours"),
        ("red", {}, "red, a VRF: "),
    ],
)
def test_named_interface_that_leads_nowhere(name: str, links: dict[str, Any], words: str) -> None:
    """An interface that can't lead to a gateway is told with the reason."""
    message = _message(find_next_hop(_gateway(interface=name), _node({GATEWAY: _device(24, ETH1)}, **links)))
    assert message.startswith(f"gateway {GATEWAY} is on {words}")


def test_on_link_gateway_is_where_the_node_would_send_to_it() -> None:
    """With onLink a gateway is usable that the node reaches somehow: on the interface of that route."""
    for lookup in (_via(0, ETH0, "10.0.0.1"), _device(0, PPP0), _device(24, ETH1)):
        found = find_next_hop(_gateway(), _node({GATEWAY: lookup}), on_link=True)
        assert found == NextHop(pack_address(GATEWAY), lookup.interface, on_link=True)


@pytest.mark.parametrize(
    ("lookup", "words"),
    [
        (None, "may be on any interface: this node has no route to it"),
        (
            Lookup(8, ETH0, on_link=False, local=False, ours=True),
            "may be on any interface: this node's route to it belongs to a StaticRoute, maybe through itself",
        ),
        (
            Lookup(0, 0, on_link=False, local=False, ours=False),
            "may be on any interface: this node's route to it has several next hops",
        ),
        (_kind("blackhole"), "may be on any interface: this node's route to it is of the type blackhole"),
    ],
    ids=["no route", "a route of ours", "multipath", "blackhole"],
)
def test_on_link_gateway_without_one_interface_is_told(lookup: Lookup | None, words: str) -> None:
    """If the interface of an onLink gateway is ambiguous, the message says why."""
    node = _node({GATEWAY: lookup} if lookup else {})
    assert _message(find_next_hop(_gateway(), node, on_link=True)) == f"gateway {GATEWAY} {words}"


_TEXTS = ["10.0.0.7", GATEWAY, "10.0.0.2", "10.9.9.9", "fd00::5", "fd00:1::5", "2001:db8::5"]
_LOOKUPS = st.one_of(
    st.builds(
        Lookup,
        prefix_length=st.sampled_from([0, 1, 8, 16, 24, 31, 32]),
        interface=st.sampled_from([0, *LINKS, 99]),
        on_link=st.booleans(),
        local=st.booleans(),
        ours=st.booleans(),
        kind=st.just(UNICAST),
        gateway=st.just(b""),
        protocol=st.sampled_from([0, 2, 3, 4, 9, 245]),
    ),
    st.builds(_kind, st.sampled_from(["unreachable", "blackhole", "prohibit"])),
    st.builds(_own, st.sampled_from([LOCAL, BROADCAST, ANYCAST]), st.sampled_from([8, 24, 32])),
)
_LINK = st.fixed_dictionaries(
    {"up": st.booleans(), "carrier": st.booleans(), "master": st.sampled_from([0, BR0, RED, 99])}
)


@st.composite
def _nodes(draw: st.DrawFn) -> Facts:
    found = draw(st.dictionaries(st.sampled_from(_TEXTS), _LOOKUPS))
    addresses = draw(st.lists(st.sampled_from(ADDRESSES), unique=True))
    return _node(found, tuple(addresses), **{name: draw(_LINK) for name in ("eth0", "eth1", "ppp0")})


@given(_nodes(), st.sampled_from(["Keep", "Withdraw", "Blackhole"]))
def test_no_plan_has_a_next_hop_on_an_interface_that_does_not_hold_it(node: Facts, policy: str) -> None:
    """Whatever the kernel answers, each next hop is on a live interface that has the gateway's subnet, or its route."""
    objects = [
        resolved(f"r{number}", text, ["192.0.2.1" if "." in text else "2001:db8:1::1"], whenAllGatewaysDown=policy)
        for number, text in enumerate(_TEXTS)
    ]
    plan = make_plan(objects, node)

    for next_hops, _ in plan.desired:
        for hop in next_hops.hops if next_hops.forwards else ():
            lookup = node.lookups[hop.gateway]
            link = node.links.get(hop.interface)
            assert not node.is_own(hop.gateway)
            assert lookup.on_link
            assert lookup.interface == hop.interface
            assert link is None or (link.up and link.carrier and link.index != LO and link.kind != "vrf")
            assert link is None or link.master not in node.links
            holds = any(
                contains(prefix, host_prefix(hop.gateway))
                for each in node.network.addresses
                for prefix in each.prefixes
                if each.interface == hop.interface
            )
            declared = len(hop.gateway) == 16 and lookup.protocol in {2, 9} and lookup.prefix_length > 1
            assert holds or declared or lookup.prefix_length == len(hop.gateway) * 8
    for each in plan.objects:
        if any(problem.reason is Reason.GATEWAY_IS_THIS_NODE for problem in each.problems):
            assert not each.keys
            assert not each.retained
