"""Publication of the addresses that no route may capture, to all agents: see `clusteraddresses`."""

import asyncio
import contextlib
import logging
from typing import Any

from static_route_operator.api.clusteraddresses import NAME, make_data
from static_route_operator.cluster.api import KUBERNETES_ENDPOINTS, endpoint_addresses
from static_route_operator.cluster.engine import FIRST_BACKOFF, LAST_BACKOFF
from static_route_operator.controller.client import MERGE_PATCH, Client
from static_route_operator.controller.clusterstate import ClusterState
from static_route_operator.errors import ApiError
from static_route_operator.supervision import Backoff

logger = logging.getLogger(__name__)

SERVICE_CIDRS = "/apis/networking.k8s.io/v1/servicecidrs"

# Seconds between requests for the API server's endpoints and the CIDRs of Services, which are not watched.
INTERVAL = 15.0
# Seconds between writes, and additional seconds per node: each write goes to every node with all addresses. With 5000
# nodes the API server then sends a few MB/s, however fast nodes come and go.
PAUSE = 1.0
PAUSE_PER_NODE = 0.01


class AddressPublisher:
    """Writer of the ConfigMap with the addresses of the cluster. An unchanged ConfigMap is not written.

    Args:
        client: the API server.
        state: source of the nodes.
        namespace: namespace of the operator.
    """

    def __init__(self, client: Client, state: ClusterState, namespace: str) -> None:
        self._client = client
        self._state = state
        self._path = f"/api/v1/namespaces/{namespace}/configmaps/{NAME}"
        self._written: dict[str, str] | None = None
        self._wake = asyncio.Event()
        state.on_nodes.connect(self._wake.set)

    async def run(self) -> None:
        """Publish changes until cancelled."""
        backoff = Backoff(FIRST_BACKOFF, LAST_BACKOFF)
        while True:
            try:
                await asyncio.sleep(await self._publish())
            except ApiError as error:
                logger.warning("Can't publish the addresses of the cluster to the agents: %s", error)
                await asyncio.sleep(next(backoff))
                continue
            backoff.reset()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), INTERVAL)

    async def _publish(self) -> float:
        """Write the addresses if they have changed; return the seconds until the next write is allowed."""
        if not self._state.nodes.complete:
            return PAUSE
        self._wake.clear()
        services = await self._get(SERVICE_CIDRS)
        cidrs = [cidr for each in services.get("items") or () for cidr in (each.get("spec") or {}).get("cidrs") or ()]
        endpoints = endpoint_addresses(await self._get(KUBERNETES_ENDPOINTS))
        nodes = self._state.nodes.items.values()
        data = make_data([each.addresses for each in nodes], cidrs, endpoints)
        if self._written is None:
            # An earlier controller may have written the same.
            self._written = (await self._get(self._path)).get("data") or {}
        if data == self._written:
            return 0.0
        await self._client.patch(self._path, {"data": data}, content_type=MERGE_PATCH)
        self._written = data
        return PAUSE + PAUSE_PER_NODE * len(nodes)

    async def _get(self, path: str) -> dict[str, Any]:
        """Return an object or a list; empty if it does not exist, as the CIDRs of Services before Kubernetes 1.33."""
        try:
            return await self._client.get(path)
        except ApiError as error:
            if error.status == 404:
                return {}
            raise
