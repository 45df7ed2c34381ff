"""The times and contents of the published addresses, in virtual time."""

import asyncio
from typing import Any, cast

from static_route_operator.api.clusteraddresses import NAME, NodeAddresses
from static_route_operator.api.nodeselector import Node
from static_route_operator.cluster.api import KUBERNETES_ENDPOINTS
from static_route_operator.controller.addresspublisher import INTERVAL, SERVICE_CIDRS, AddressPublisher
from static_route_operator.controller.client import Client
from static_route_operator.controller.clusterstate import ClusterState
from static_route_operator.controller.summaries import NodeInfo
from static_route_operator.errors import ApiError
from tests.unit import virtual_time
from tests.unit.cluster.fakeapi import FakeApi

CONFIG_MAP = f"/api/v1/namespaces/ours/configmaps/{NAME}"


class Cluster(FakeApi):
    """An API server with its own endpoints and the CIDRs of Services.

    Attributes:
        endpoints: addresses of the API server; None for an error.
        services: CIDRs of Services; None for a Kubernetes without the resource.
        stored: data of the ConfigMap at the start.
    """

    endpoints: list[str] | None
    services: list[str] | None
    stored: dict[str, str]

    def __init__(self, *refusals: int | None) -> None:
        super().__init__(*refusals)
        self.endpoints = ["203.0.113.5"]
        self.services = ["10.96.0.0/12"]
        self.stored = {}

    async def get(self, path: str) -> dict[str, Any]:
        """As `Client.get`."""
        if path == SERVICE_CIDRS:
            if self.services is None:
                raise ApiError(f"GET {path}", 404, "the server could not find the requested resource")
            return {"items": [{"spec": {"cidrs": self.services}}]}
        if path == CONFIG_MAP:
            return {"data": self.stored} if self.stored else {}
        assert path == KUBERNETES_ENDPOINTS
        if self.endpoints is None:
            raise ApiError(f"GET {path}", 503, "as set")
        return {"endpoints": [{"addresses": self.endpoints}]}

    def written(self) -> list[tuple[str, str, str]]:
        """Return nodes, Services and API servers of each write."""
        for path, _, content_type in self.patches:
            assert (path, content_type) == (CONFIG_MAP, "application/merge-patch+json")
        written = [body["data"] for _, body, _ in self.patches]
        joined = [{key: " ".join(lines.split()) for key, lines in data.items()} for data in written]
        return [(data["nodes"], data["services"], data["apiServers"]) for data in joined]


def _put(state: ClusterState, *addresses: str) -> None:
    for address in addresses:
        node = NodeInfo(Node(address), address, ready=True, addresses=NodeAddresses((address,)))
        state.nodes.put(address, node, 1)


async def _start(cluster: Cluster, state: ClusterState) -> asyncio.Task[None]:
    publisher = AddressPublisher(cast("Client", cluster), state, "ours")
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
        second.stored = dict(first.patches[0][1]["data"])
        task = await _start(second, ClusterState())
        assert second.patches == []
        second.endpoints = ["203.0.113.6"]
        await asyncio.sleep(2 * INTERVAL)
        task.cancel()

    virtual_time.run(play())

    assert [servers for *_, servers in second.written()] == ["203.0.113.6"]


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
