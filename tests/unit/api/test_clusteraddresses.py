"""The controller's message to all agents about the cluster's addresses, and the bounds of each claim in it."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from static_route_operator.api.clusteraddresses import (
    KINDS,
    LARGEST_DATA,
    MOST_ADDRESSES,
    MOST_PER_NODE,
    POD_CIDR,
    SERVICE_CIDR,
    NodeAddresses,
    bounded,
    make_data,
    pack_claim,
    parse_data,
)
from static_route_operator.errors import InvalidAddressesError, InvalidPrefixError
from static_route_operator.routing.prefixes import pack_prefix, unpack_prefix


def _pack(*texts: str) -> tuple[bytes, ...]:
    return tuple(pack_prefix(text) for text in texts)


def _node(*addresses: str, external: tuple[str, ...] = (), pods: tuple[str, ...] = ()) -> NodeAddresses:
    return NodeAddresses(_pack(*addresses), _pack(*external), _pack(*pods))


def _named(*nodes: NodeAddresses) -> dict[str, NodeAddresses]:
    return {f"node{number}": node for number, node in enumerate(nodes)}


def _data(*nodes: NodeAddresses, services: tuple[str, ...] = (), servers: tuple[str, ...] = ()) -> dict[str, str]:
    data, left_out = make_data(_named(*nodes), _pack(*services), _pack(*servers))
    assert not left_out
    return data


def _body(addresses: object, pods: object = ()) -> dict[str, Any]:
    return {"status": {"addresses": addresses}, "spec": {"podCIDRs": pods}}


def _internal(*texts: object) -> list[dict[str, object]]:
    return [{"type": "InternalIP", "address": text} for text in texts]


def test_data_says_what_each_address_is() -> None:
    """The written addresses are read back, with their descriptions."""
    nodes = [
        _node("10.0.0.2", "fd00::2", external=("203.0.113.9",), pods=("10.244.0.0/24",)),
        _node("10.0.0.3", pods=("10.244.1.0/24",)),
    ]
    data = _data(*nodes, services=("10.96.0.0/12", "fd96::/108"), servers=("203.0.113.5",))

    assert {what: claims.prefixes for what, claims in parse_data(data).items()} == {
        "InternalIP of a node": _pack("10.0.0.2", "10.0.0.3", "fd00::2"),
        "ExternalIP of a node": _pack("203.0.113.9"),
        "pods of the cluster": _pack("10.244.0.0/23"),
        "Services of the cluster": _pack("10.96.0.0/12", "fd96::/108"),
        "API server": _pack("203.0.113.5"),
    }


def test_data_does_not_depend_on_the_order() -> None:
    """The same addresses in another order are no change, so nothing is written."""
    nodes = [_node(f"10.0.0.{n}", pods=(f"10.244.{n}.0/24", f"fd44:0:0:{n}::/64")) for n in (4, 2, 9)]

    assert _data(*nodes, services=("10.1.0.0/16", "10.2.0.0/16")) == _data(
        *nodes[::-1], services=("10.2.0.0/16", "10.1.0.0/16")
    )


def test_thousands_of_nodes_fit_into_one_object() -> None:
    """Adjacent pod CIDRs become one, none of them broad, and 5,000 nodes stay below the bounds of the list."""
    nodes = [
        _node(
            f"10.0.{n >> 8}.{n & 255}",
            f"fd00::{n:x}",
            external=(f"203.0.{n >> 8}.{n & 255}", f"2001:db8::{n:x}"),
            pods=(f"10.{128 + (n >> 8)}.{n & 255}.0/24", f"fd44:0:{n >> 8:x}:{n & 255:x}::/64"),
        )
        for n in range(5_120)
    ]
    data = _data(*nodes, services=("10.96.0.0/12",))

    assert data["pods"].split()[:2] == ["10.128.0.0/12", "10.144.0.0/14"]
    assert sum(map(len, data.values())) < LARGEST_DATA
    assert len(parse_data(data)["InternalIP of a node"].prefixes) == 10_240


@pytest.mark.parametrize(
    "body", [{}, {"status": None, "spec": None}, {"status": {"addresses": None}, "spec": {}}, _body("x", 5)]
)
def test_node_without_addresses_has_none(body: dict[str, Any]) -> None:
    """A Node that has only just been registered is no error."""
    assert NodeAddresses.parse(body) == NodeAddresses()


def test_internal_and_external_addresses_of_a_node_count() -> None:
    """The addresses by which a node is reached are kept apart; its name is none."""
    addresses = [
        {"type": "Hostname", "address": "node1"},
        {"type": "InternalIP", "address": "10.0.0.2"},
        {"type": "ExternalIP", "address": "203.0.113.9"},
        {"type": "InternalDNS", "address": "10.0.0.7"},
    ]

    assert NodeAddresses.parse(_body(addresses, ["10.244.0.0/24"])) == _node(
        "10.0.0.2", external=("203.0.113.9",), pods=("10.244.0.0/24",)
    )


WRONG = """
    0.0.0.0/0 0.0.0.0/32 10.0.0.0/8 10.0.0.1/31 ::/0 :: ::1 127.0.0.1 224.0.0.1 ff02::1 255.255.255.255
    169.254.169.254 fe80::1 fe80::1%eth0 ::ffff:10.0.0.1 10.0.0.1/ 10.0.0.1/032x 10.0.0.1/-1 10.0.0.1/33 node1
"""


@pytest.mark.parametrize(
    "claim",
    [
        *WRONG.split(),
        "x" * 100_000,
        "",
        " ",
        "10.0.0.1\n0.0.0.0/0",
        "\x1b[31m",
        "\u0661\u0660.0.0.1",
        None,
        5,
        ["10.0.0.1"],
        {},
    ],
)
def test_wrong_claim_is_dropped_and_told_and_the_others_count(claim: object) -> None:
    """An address that no node can have is dropped, with a short printable reason; the node's other addresses count."""
    found = NodeAddresses.parse(_body(_internal("10.0.0.2", claim, "fd00::2")))

    assert found.internal == _pack("10.0.0.2", "fd00::2")
    (problem,) = found.problems
    assert problem.isprintable()
    assert len(problem) < 200


@pytest.mark.parametrize(
    "claim", ["0.0.0.0/0", "10.0.0.0/8", "10.244.0.0/19", "fd00::/16", "fd00::/59", "127.0.0.0/24", "::/64"]
)
def test_broad_pod_range_is_dropped(claim: str) -> None:
    """A pod range far broader than a node needs, or of special addresses, is dropped and told."""
    found = NodeAddresses.parse(_body(_internal("10.0.0.2"), [claim, "10.244.0.0/20"]))

    assert found.pod_cidrs == _pack("10.244.0.0/20")
    assert found.problems[0].startswith(f"podCIDRs: '{claim}' is")


def test_a_node_claims_few_addresses() -> None:
    """Of a node that claims thousands of addresses the first few count, and the rest is not even read."""
    addresses = _internal(*(f"203.0.{n >> 8}.{n & 255}" for n in range(60_000)))
    pods = [f"10.{n >> 8}.{n & 255}.0/24" for n in range(60_000)]
    found = NodeAddresses.parse(_body(addresses, pods))

    assert (len(found.internal), len(found.pod_cidrs)) == (MOST_PER_NODE, 2)
    assert len(found.problems) == 2


def test_wrong_claims_have_few_problems() -> None:
    """However many wrong claims a node makes, the text about them stays short."""
    found = NodeAddresses.parse(_body(_internal(*["x"] * 60_000)))

    assert sum(map(len, found.problems)) < 10_000


@given(
    st.recursive(st.none() | st.integers() | st.text(), lambda some: st.lists(some) | st.dictionaries(st.text(), some))
)
def test_no_claim_is_an_error(anything: object) -> None:
    """Whatever a list of claims holds, what is kept is bounded, and nothing is raised."""
    for broadest in (POD_CIDR, SERVICE_CIDR):
        assert all(prefix[-1] >= 12 for prefix in bounded(anything, 5, broadest).prefixes)
    NodeAddresses.parse(_body(anything, anything))


def test_range_is_taken_with_host_bits() -> None:
    """A CNI may write a pod range with host bits set; the range is meant."""
    assert unpack_prefix(pack_claim("10.244.3.1/24", POD_CIDR)) == "10.244.3.0/24"
    with pytest.raises(InvalidPrefixError, match="not a single address"):
        pack_claim("10.244.3.1/24")


def test_greediest_node_is_left_out_not_the_newest() -> None:
    """When the list is full, the nodes that claim most are left out, and a node with one address joins."""
    honest = {f"honest{n}": _node(f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}") for n in range(MOST_ADDRESSES - 100)}
    greedy = {
        f"greedy{g}": _node(*(f"203.0.{g}.{n}" for n in range(1, 17)), pods=(f"100.64.{g}.0/24",)) for g in range(100)
    }
    data, left_out = make_data({**greedy, **honest, "newest": _node("10.99.0.1")}, [], [])

    assert "10.99.0.1" in data["nodes"].split()
    assert len(left_out) >= 90
    assert all(name.startswith("greedy") for name in left_out)
    parse_data(data)


def test_nodes_can_not_claim_most_of_the_internet() -> None:
    """Thousands of nodes with the broadest pod ranges leave the list within its bounds, and the others in the list."""
    greedy = {f"greedy{n:05}": _node(pods=(f"{n >> 8 & 63 | 64}.{n & 255}.0.0/20",)) for n in range(16_384)}
    data, left_out = make_data({**greedy, "honest": _node("10.0.0.2", pods=("10.244.0.0/24",))}, [], [])

    assert left_out
    assert "honest" not in left_out
    parse_data(data)


GOOD = {"nodes": "10.0.0.2\n", "services": "10.96.0.0/12\n"}


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (None, "no address"),
        ("10.0.0.2", "no address"),
        ({}, "no address"),
        ({"nodes": "", "pods": "\n"}, "no address"),
        ({"nodes": None, "pods": ["10.0.0.0/24"]}, "no address"),
        ({"other": "10.0.0.2"}, "no address"),
        ({"nodes": "0.0.0.0/0"}, "no address"),
        (GOOD | {"apiServers": "1" * (LARGEST_DATA + 1)}, "bytes"),
        (GOOD | {"apiServers": "1.1.1.1\n" * (MOST_ADDRESSES + 1)}, "addresses, more than"),
        (GOOD | {"pods": "".join(f"{n}.{m}.0.0/12\n" for n in range(40, 90) for m in range(0, 256, 16))}, "cover more"),
        (GOOD | {"pods": "".join(f"2001:{n:x}::/48\n" for n in range(5000))}, "cover more"),
    ],
)
def test_list_that_no_cluster_has_is_not_believed(data: object, reason: str) -> None:
    """A list that is empty, or larger than that of any cluster, is refused as a whole, with the reason."""
    with pytest.raises(InvalidAddressesError, match=reason):
        parse_data(data)


@pytest.mark.parametrize("key", [kind.key for kind in KINDS])
@pytest.mark.parametrize("line", ["0.0.0.0/0", "::/0", "8.0.0.0/5", "2000::/3", "224.0.0.1", "fe80::1", "x" * 1000])
def test_each_line_is_bounded_again_by_the_reader(key: str, line: str) -> None:
    """One wrong line is dropped and told; the others count."""
    found = parse_data(GOOD | {key: GOOD.get(key, "") + line + "\n"})

    assert sum(len(claims.prefixes) for claims in found.values()) == 2
    assert sum(len(claims.problems) for claims in found.values()) == 1
