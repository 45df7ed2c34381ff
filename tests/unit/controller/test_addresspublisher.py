"""The times and contents of the published addresses, in virtual time."""

import asyncio
from typing import Any, cast

import pytest

from static_route_operator.api.clusteraddresses import NAME, NodeAddresses
from static_route_operator.api.nodeselector import Node
from static_route_operator.cluster.api import KUBERNETES_ENDPOINTS
from static_route_operator.controller.addresspublisher import INTERVAL, SERVICE_CIDRS, AddressPublisher
from static_route_operator.controller.client import Client
from static_route_operator.controller.clusterstate import ClusterState
from static_route_operator.controller.summaries import NodeInfo
from static_route_operator.errors import ApiError
from static_route_operator.observability.metrics import ControllerMetrics
from static_route_operator.routing.prefixes import pack_prefix
from tests.unit import virtual_time
from tests.unit.cluster.fakeapi import FakeApi

CONFIG_MAP = f"/api/v1/namespaces/ours/configmaps/{NAME}"


class Cluster(FakeApi):
    """An API server with its own endpoints and the CIDRs of Services.

    Attributes:
        endpoints: addresses of the API server; None for an error.
        services: CIDRs of Services; None for a Kubernetes without the resource.
        stored: data of the ConfigMap; None without one.
    """

    endpoints: list[str] | None
    services: list[str] | None
    stored: dict[str, str] | None

    def __init__(self, *refusals: int | None) -> None:
        super().__init__(*refusals)
        self.endpoints = ["203.0.113.5"]
        self.services = ["10.96.0.0/12"]
        self.stored = {}

    async def patch(self, path: str, body: Any, *, content_type: str) -> dict[str, Any]:
        """As `Client.patch`."""
        await super().patch(path, body, content_type=content_type)
        self.stored = (self.stored or {}) | body["data"]
        return {}

    async def get(self, path: str) -> dict[str, Any]:
        """As `Client.get`."""
        if path == SERVICE_CIDRS:
            if self.services is None:
                raise ApiError(f"GET {path}", 404, "the server could not find the requested resource")
            return {"items": [{"spec": {"cidrs": self.services}}]}
        if path == CONFIG_MAP:
            if self.stored is None:
                raise ApiError(f"GET {path}", 404, "not found")
            return {"data": dict(self.stored)} if self.stored else {}
        assert path == KUBERNETES_ENDPOINTS
        if self.endpoints is None:
            raise ApiError(f"GET {path}", 503, "as set")
        return {"endpoints": [{"addresses": self.endpoints}]}

    def written(self) -> list[tuple[str, str, str]]:
        """Return nodes, Services and API servers of each write."""
        for path, _, content_type in self.patches:
            assert path == f"{CONFIG_MAP}?fieldManager=static-route-operator-controller&force=true"
            assert content_type == "application/apply-patch+yaml"
        written = [body["data"] for _, body, _ in self.patches]
        joined = [{key: " ".join(lines.split()) for key, lines in data.items()} for data in written]
        return [(data["nodes"], data["services"], data["apiServers"]) for data in joined]


def _put(state: ClusterState, *addresses: str) -> None:
    for address in addresses:
        node = NodeInfo(Node(address), address, ready=True, addresses=NodeAddresses((pack_prefix(address),)))
        state.nodes.put(address, node, 1)


async def _start(
    cluster: Cluster, state: ClusterState, warnings: list[tuple[str, str]] | None = None
) -> asyncio.Task[None]:
    def warn(node: NodeInfo, text: str) -> None:
        if warnings is not None:
            warnings.append((node.name, text))

    publisher = AddressPublisher(cast("Client", cluster), state, "ours", ControllerMetrics(), warn)
    _put(state, "10.0.0.2")
    task = asyncio.create_task(publisher.run())
    await asyncio.sleep(60)
    assert cluster.patches == [], "before all nodes are known, some would be left out"
    state.nodes.replace({"10.0.0.2": 1}, 1)
    await asyncio.sleep(60)
    return task


def test_addresses_are_written_when_they_change_and_at_rest_never() -> None:
    """A new node, a deleted node, other endpoints and other Services each cause a write; rest causes none."""
    cluster = Cluster()

    async def play() -> None:
        state = ClusterState()
        task = await _start(cluster, state)
        _put(state, "10.0.0.3", "10.0.0.4")
        await asyncio.sleep(2 * INTERVAL)
        state.nodes.remove("10.0.0.2")
        await asyncio.sleep(2 * INTERVAL)
        cluster.endpoints = ["203.0.113.6"]
        await asyncio.sleep(2 * INTERVAL)
        cluster.services = None
        await asyncio.sleep(3600)
        task.cancel()

    virtual_time.run(play())

    assert cluster.written() == [
        ("10.0.0.2", "10.96.0.0/12", "203.0.113.5"),
        ("10.0.0.2 10.0.0.3 10.0.0.4", "10.96.0.0/12", "203.0.113.5"),
        ("10.0.0.3 10.0.0.4", "10.96.0.0/12", "203.0.113.5"),
        ("10.0.0.3 10.0.0.4", "10.96.0.0/12", "203.0.113.6"),
        ("10.0.0.3 10.0.0.4", "", "203.0.113.6"),
    ]


def test_a_controller_that_starts_writes_only_what_is_new() -> None:
    """A controller that starts and finds the addresses up to date writes none."""
    first, second = Cluster(), Cluster()

    async def play() -> None:
        (await _start(first, ClusterState())).cancel()
        second.stored = dict(first.patches[0][1]["data"]) | {"note": "of an administrator"}
        task = await _start(second, ClusterState())
        assert second.patches == []
        second.endpoints = ["203.0.113.6"]
        await asyncio.sleep(2 * INTERVAL)
        task.cancel()

    virtual_time.run(play())

    assert [servers for *_, servers in second.written()] == ["203.0.113.6"]


@pytest.mark.parametrize("stored", [None, {}, {"nodes": "10.0.0.2\n"}, {"nodes": "0.0.0.0/0\n", "services": "x"}])
def test_changed_list_is_mended_in_the_next_round(stored: dict[str, str] | None) -> None:
    """A ConfigMap that another program deleted, emptied or changed is whole again after one interval."""
    cluster = Cluster()

    async def play() -> None:
        task = await _start(cluster, ClusterState())
        good = dict(cluster.stored or {})
        cluster.stored = stored
        await asyncio.sleep(INTERVAL + 1)
        assert (cluster.stored or {}).items() >= good.items()
        task.cancel()

    virtual_time.run(play())

    assert len(cluster.patches) == 2


def test_claims_of_services_and_endpoints_are_bounded() -> None:
    """Broad ranges and wrong endpoints are dropped, however many there are; the right ones are published."""
    cluster = Cluster()
    cluster.services = [
        "0.0.0.0/0",
        "10.0.0.0/8",
        "10.96.0.0/12",
        "fd96::/108",
        *(f"100.{n}.0.0/16" for n in range(99)),
    ]
    cluster.endpoints = ["0.0.0.0/0", "203.0.113.5", "x" * 1000, *(f"198.51.{n >> 8}.{n & 255}" for n in range(1000))]

    async def play() -> None:
        (await _start(cluster, ClusterState())).cancel()

    virtual_time.run(play())

    ((_, services, servers),) = cluster.written()
    assert services.split()[:1] == ["10.96.0.0/12"]
    assert (len(services.split()), len(servers.split())) == (16, 32)
    assert "203.0.113.5" in servers.split()


def test_nodes_with_wrong_claims_are_warned_seldom() -> None:
    """A node is warned once an hour, and few nodes in each round, however often their claims change."""
    cluster, state = Cluster(), ClusterState()
    warnings: list[tuple[str, str]] = []

    async def play() -> None:
        task = await _start(cluster, state, warnings)
        for minute in range(60):
            for number in range(30):
                claims = NodeAddresses(problems=(f"'{minute}' is not an IP address",) * 5)
                node = NodeInfo(Node(f"bad{number}"), f"bad{number}", ready=True, addresses=claims)
                state.nodes.put(node.name, node, minute + 1)
            await asyncio.sleep(55)
            assert len(warnings) <= 30
        task.cancel()

    virtual_time.run(play())

    assert len({name for name, _ in warnings}) == 30
    assert warnings[0][1].startswith("addresses of this node are not protected from StaticRoutes: '0' is not an IP")
    assert warnings[0][1].endswith("; and 2 more")


def test_an_error_does_not_count_as_empty() -> None:
    """While a request fails, nothing is written; afterwards the missed changes are."""
    cluster = Cluster(500, None, 403)

    async def play() -> None:
        task = await _start(cluster, state := ClusterState())
        cluster.endpoints = None
        _put(state, "10.0.0.3")
        await asyncio.sleep(600)
        assert len(cluster.patches) == 1
        cluster.endpoints = ["203.0.113.5"]
        await asyncio.sleep(60)
        task.cancel()

    virtual_time.run(play())

    assert [nodes for nodes, *_ in cluster.written()] == ["10.0.0.2", "10.0.0.2 10.0.0.3"]


def test_many_changes_are_few_writes() -> None:
    """While 1,000 nodes join within a minute, there is a write every ten seconds, because each goes to all nodes."""
    cluster = Cluster()

    async def play() -> None:
        task = await _start(cluster, state := ClusterState())
        for number in range(1000):
            _put(state, f"10.1.{number >> 8}.{number & 255}")
            await asyncio.sleep(0.06)
        await asyncio.sleep(3 * INTERVAL)
        task.cancel()

    virtual_time.run(play())

    assert 3 <= len(cluster.patches) <= 25
    assert len(cluster.patches[-1][1]["data"]["nodes"].split()) == 1001
