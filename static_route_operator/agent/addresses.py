"""The addresses of the API server and the cluster, which no route may capture."""

import asyncio
import logging
from collections.abc import Mapping

from static_route_operator.api.clusteraddresses import NAME, parse_data
from static_route_operator.cluster.api import Api
from static_route_operator.errors import ApiError
from static_route_operator.node.protected import Protected, pack_all
from static_route_operator.supervision import AROUND

logger = logging.getLogger(__name__)

# Seconds between requests for the addresses of the API server, as this node resolves them.
INTERVAL = 600.0
# Seconds to the next request after one that failed.
RETRY = 30.0
# Seconds between reads of the host's DNS servers.
RESOLVER_INTERVAL = 60.0


class Addresses:
    """Keeps the protected addresses current: asks the API server at intervals and takes in the controller's ConfigMap.

    Args:
        api: the API server.
        protected: the addresses that no route may capture.
        namespace: namespace of the operator.
    """

    def __init__(self, api: Api, protected: Protected, namespace: str) -> None:
        self._api = api
        self._protected = protected
        self._path = f"/api/v1/namespaces/{namespace}/configmaps/{NAME}"

    async def load(self) -> None:
        """Request all addresses once, before the first StaticRoute is known.

        The watch would deliver the ConfigMap too, but maybe after a StaticRoute that must be refused because of it.
        """
        await asyncio.gather(self._load_api_server(), self._load_cluster())

    async def keep_current(self) -> None:
        """Request the addresses at intervals until cancelled, except the ConfigMap: the watch delivers its changes."""
        clock = asyncio.get_running_loop().time
        due = clock() + INTERVAL
        while True:
            await asyncio.sleep(AROUND.of(min(RESOLVER_INTERVAL, max(due - clock(), 0))))
            self._protected.look_at_resolver()
            if clock() >= due:
                due = clock() + (INTERVAL if await self._load_api_server() else RETRY)

    def take(self, data: Mapping[str, str]) -> None:
        """Take in the data of the controller's ConfigMap."""
        found: dict[bytes, str] = {}
        for what, texts in parse_data(data).items():
            found |= pack_all(what, texts)
        self._protected.put("cluster", found)

    async def _load_api_server(self) -> bool:
        """Request the addresses of the API server; report success."""
        try:
            found = await self._api.addresses()
        except (ApiError, OSError) as error:
            logger.debug("Can't get the API server's addresses: %s", error)
            return False
        self._protected.put("API server", pack_all("API server", found))
        return True

    async def _load_cluster(self) -> None:
        try:
            body = await self._api.get(self._path)
        except ApiError as error:
            level = logging.WARNING if error.status in {403, 404} else logging.DEBUG
            logger.log(
                level, "The cluster's addresses are not protected until the controller has published them: %s", error
            )
        else:
            self.take(body.get("data") or {})
