"""The form in which objects are kept."""

from dataclasses import replace

import pytest

from static_route_operator.api.nodeselector import Node
from static_route_operator.api.resolution import Version
from static_route_operator.node.rollback.unconfirmed import RolledBack, UnconfirmedChange
from static_route_operator.node.state.snapshot import (
    Snapshot,
    SnapshotError,
    pack_journal,
    pack_snapshot,
    unpack_journal,
    unpack_snapshot,
)
from static_route_operator.routing.prefixes import pack_prefix
from tests.unit.builders import keys, resolved

ON_NODES = {"nodeSelectorTerms": [{"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a", "b"]}]}]}
ROUTES = (
    resolved(destinations=["192.0.2.0/24", "198.51.100.7"]),
    resolved("ipv6", "fd00::1", ["2001:db8::/32", "2001:db8:1::1"], metric=7, table=100),
    resolved("partly", destinations=["192.0.2.1", "nonsense", "127.0.0.1"], generation=9),
    resolved("nothing", destinations=["nonsense"]),
    resolved(
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
        (RolledBack(Version("uid-nat", 3, "f00"), "nat", "rolled back because …"),),
    )

    back = unpack_snapshot(pack_snapshot(snapshot))

    assert back == snapshot
    assert [each.spec.manifest for each, _ in back.routes] == [each.spec.manifest for each in ROUTES]


def test_nothing() -> None:
    """That nothing is known can be kept too."""
    assert unpack_snapshot(pack_snapshot(Snapshot())) == Snapshot()


def test_journal() -> None:
    """Unconfirmed changes come back, each with the version before it."""
    changes = [UnconfirmedChange(ROUTES[0], ROUTES[1]), UnconfirmedChange(ROUTES[4])]

    assert unpack_journal(pack_journal(changes)) == changes


def test_revision() -> None:
    """A version comes back with its own keys where these are not those of the spec alone."""
    before = replace(ROUTES[0], keys=keys("203.0.113.0/24"), revision="1")
    after = replace(before, keys=keys("203.0.113.0/24", "203.0.113.7"), revision="2")
    changes = [UnconfirmedChange(after, before), UnconfirmedChange(ROUTES[1])]
    snapshot = Snapshot(routes=((before, 7), (ROUTES[4], 8)), rolled_back=(RolledBack(after.version, "nat", "why"),))

    assert unpack_journal(pack_journal(changes)) == changes
    assert unpack_snapshot(pack_snapshot(snapshot)) == snapshot


@pytest.mark.parametrize("payload", [b"", b"{}\n", b"[]\n", b"{", b'{"node": 1, "routes": [{}]}\n'])
def test_what_is_none(payload: bytes) -> None:
    """Something else, though it is whole, is refused and breaks nothing."""
    for unpack in (unpack_snapshot, unpack_journal):
        with pytest.raises(SnapshotError):
            unpack(payload)


def test_size() -> None:
    """A hundred thousand destinations take little more than their keys."""
    large = resolved(
        destinations=[f"{100 + number // 65536}.{number // 256 % 256}.{number % 256}.1" for number in range(100_000)]
    )

    assert len(pack_snapshot(Snapshot(routes=((large, 1),)))) < len(large.keys.packed) + 1000
