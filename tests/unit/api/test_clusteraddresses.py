"""The controller's message to all agents about the cluster's addresses."""

import pytest

from static_route_operator.api.clusteraddresses import NodeAddresses, make_data, parse_data


def _node(*addresses: str, pods: tuple[str, ...] = ()) -> NodeAddresses:
    return NodeAddresses(addresses, pods)


def test_data_says_what_each_address_is() -> None:
    """The written addresses are read back, with their descriptions."""
    nodes = [_node("10.0.0.2", "fd00::2", pods=("10.244.0.0/24",)), _node("10.0.0.3", pods=("10.244.1.0/24",))]
    data = make_data(nodes, ["10.96.0.0/12", "fd96::/108"], ["203.0.113.5"])

    assert parse_data(data) == {
        "InternalIP of a node": ["10.0.0.2", "10.0.0.3", "fd00::2"],
        "pods of the cluster": ["10.244.0.0/23"],
        "Services of the cluster": ["10.96.0.0/12", "fd96::/108"],
        "API server": ["203.0.113.5"],
    }


def test_data_does_not_depend_on_the_order() -> None:
    """The same addresses in another order are no change, so nothing is written."""
    nodes = [
        _node(f"10.0.0.{number}", pods=(f"10.244.{number}.0/24", f"fd44:0:0:{number}::/64")) for number in (4, 2, 9)
    ]

    assert make_data(nodes, ["b", "a"], ["d", "c"]) == make_data(nodes[::-1], ["a", "b"], ["c", "d"])


def test_thousands_of_nodes_fit_into_one_object() -> None:
    """Adjacent pod CIDRs become one, and 5,000 nodes stay far below the 1 MiB that an object may have."""
    nodes = [_node(f"10.0.{n >> 8}.{n & 255}", pods=(f"10.{128 + (n >> 8)}.{n & 255}.0/24",)) for n in range(5_120)]
    data = make_data(nodes, [], [])

    assert data["pods"].split() == ["10.128.0.0/12", "10.144.0.0/14"]
    assert sum(map(len, data.values())) < 100_000


@pytest.mark.parametrize("body", [{}, {"status": None, "spec": None}, {"status": {"addresses": None}, "spec": {}}])
def test_node_without_addresses_has_none(body: dict[str, None]) -> None:
    """A Node that has only just been registered is no error."""
    assert NodeAddresses.parse(body) == NodeAddresses()


def test_only_internal_addresses_of_a_node_count() -> None:
    """Its name, and the address that it is known by on the Internet, are none that it is reached by."""
    addresses = [
        {"type": "Hostname", "address": "node1"},
        {"type": "InternalIP", "address": "10.0.0.2"},
        {"type": "ExternalIP", "address": "203.0.113.9"},
    ]
    body = {"status": {"addresses": addresses}, "spec": {"podCIDRs": ["10.244.0.0/24"]}}

    assert NodeAddresses.parse(body) == NodeAddresses(("10.0.0.2",), ("10.244.0.0/24",))


def test_data_of_a_new_installation_says_nothing_yet() -> None:
    """The ConfigMap of the manifest is empty until the controller has written it."""
    assert [each for texts in parse_data({}).values() for each in texts] == []
