"""The form in which objects are kept."""

import pytest

from static_route_operator.api.nodeselector import Node
from static_route_operator.node.rollback.unconfirmed import UnconfirmedChange, Undone
from static_route_operator.node.state.snapshot import (
    Snapshot,
    SnapshotError,
    pack_snapshot,
    pack_trials,
    unpack_snapshot,
    unpack_trials,
)
from static_route_operator.routing.prefixes import pack_prefix
from tests.unit.builders import route

ON_NODES = {"nodeSelectorTerms": [{"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a", "b"]}]}]}
ROUTES = (
    route(destinations=["192.0.2.0/24", "198.51.100.7"]),
    route("ipv6", "fd00::1", ["2001:db8::/32", "2001:db8:1::1"], metric=7, table=100),
    route("partly", destinations=["192.0.2.1", "nonsense", "127.0.0.1"], generation=9),
    route("nothing", destinations=["nonsense"]),
    route(
        "all",
        None,
        ["192.0.2.0/24"],
        gateways=[
            {"address": "10.0.0.1", "weight": 3, "nodeSelector": ON_NODES},
            {"address": "10.0.0.2", "priority": 1, "interface": "eth1"},
        ],
        healthCheck={"type": "HTTP", "port": 80, "path": "/x", "interval": "100ms"},
        whenAllGatewaysDown="Blackhole",
        nodeSelector=ON_NODES,
        priority=5,
        excludes=["192.0.2.128/25"],
        mtu=1400,
        source="10.0.0.2",
        onLink=True,
    ),
)


def test_snapshot() -> None:
    """Every field of every object comes back, with its resource version, and all else that is kept."""
    snapshot = Snapshot(
        Node("node1", {"zone": "a"}, "uid-node1"),
        tuple((each, number) for number, each in enumerate(ROUTES)),
        {"API server": {pack_prefix("10.0.0.10"): "API server", pack_prefix("fd00::/64"): "pods"}, "cluster": {}},
        (Undone("uid-nat", "nat", 3, "f00", "undone since …"),),
    )

    back = unpack_snapshot(pack_snapshot(snapshot))

    assert back == snapshot
    assert [each.manifest for each, _ in back.routes] == [each.manifest for each in ROUTES]


def test_nothing() -> None:
    """That nothing is known can be kept too."""
    assert unpack_snapshot(pack_snapshot(Snapshot())) == Snapshot()


def test_trials() -> None:
    """An unconfirmed change comes back with the version before it."""
    trials = [UnconfirmedChange(ROUTES[0], ROUTES[1]), UnconfirmedChange(ROUTES[4])]

    assert unpack_trials(pack_trials(trials)) == trials


@pytest.mark.parametrize("payload", [b"", b"{}\n", b"[]\n", b"{", b'{"node": 1, "routes": [{}]}\n'])
def test_what_is_none(payload: bytes) -> None:
    """Something else, though it is whole, is refused and breaks nothing."""
    for unpack in (unpack_snapshot, unpack_trials):
        with pytest.raises(SnapshotError):
            unpack(payload)


def test_size() -> None:
    """A hundred thousand destinations take little more than their keys."""
    large = route(
        destinations=[f"{100 + number // 65536}.{number // 256 % 256}.{number % 256}.1" for number in range(100_000)]
    )

    assert len(pack_snapshot(Snapshot(routes=((large, 1),)))) < len(large.keys.packed) + 1000
