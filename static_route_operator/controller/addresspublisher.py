"""How the controller tells all agents which addresses of the cluster no route may capture: see `clusteraddresses`."""

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

# Seconds between looks at what the watch doesn't tell: the API server's endpoints, and the CIDRs of Services.
EVERY = 15.0
# Each write goes to all nodes, with all addresses: seconds between two, and for each node in addition, so that with
# 5000 nodes it is a few MB/s for the API server while nodes come and go, whatever their pace.
PAUSE = 1.0
PAUSE_PER_NODE = 0.01


class AddressPublisher:
    """Keeps the ConfigMap true, and writes it only when the addresses have changed.

    Args:
        api: the API server.
        overview: knows the nodes.
        namespace: of the operator.
    """

    def __init__(self, api: Client, overview: ClusterState, namespace: str) -> None:
        self._api = api
        self._overview = overview
        self._path = f"/api/v1/namespaces/{namespace}/configmaps/{NAME}"
        self._written: dict[str, str] | None = None
        self._wake = asyncio.Event()
        overview.on_members.connect(self._wake.set)

    async def run(self) -> None:
        """Look and write until cancelled."""
        backoff = Backoff(FIRST_BACKOFF, LAST_BACKOFF)
        while True:
            try:
                await asyncio.sleep(await self._tell())
            except ApiError as error:
                logger.warning("The addresses of the cluster can't be told to the agents: %s", error)
                await asyncio.sleep(next(backoff))
                continue
            backoff.reset()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), EVERY)

    async def _tell(self) -> float:
        """Write what has changed; seconds until there may be another write."""
        if not self._overview.members.complete:
            return PAUSE
        self._wake.clear()
        services = await self._get(SERVICE_CIDRS)
        cidrs = [cidr for each in services.get("items") or () for cidr in (each.get("spec") or {}).get("cidrs") or ()]
        endpoints = endpoint_addresses(await self._get(KUBERNETES_ENDPOINTS))
        members = self._overview.members.items.values()
        data = make_data([each.addresses for each in members], cidrs, endpoints)
        if self._written is None:
            # What an earlier controller wrote.
            self._written = (await self._get(self._path)).get("data") or {}
        if data == self._written:
            return 0.0
        await self._api.patch(self._path, {"data": data}, content_type=MERGE_PATCH)
        self._written = data
        return PAUSE + PAUSE_PER_NODE * len(members)

    async def _get(self, path: str) -> dict[str, Any]:
        """An object or a list; empty when there is none: Kubernetes before 1.33 has no CIDRs of Services."""
        try:
            return await self._api.get(path)
        except ApiError as error:
            if error.status == 404:
                return {}
            raise
