"""How an agent learns the addresses that the cluster is reached by: it asks now and then, and is told in between."""

import asyncio
import logging
import random
from collections.abc import Mapping

from static_route_operator.api.clusteraddresses import NAME, parse_data
from static_route_operator.cluster.api import Api
from static_route_operator.errors import ApiError
from static_route_operator.node.protected import Protected, pack_all

logger = logging.getLogger(__name__)

# Seconds between looks at the addresses of the API server as this node resolves them.
EVERY = 600.0
# And from one that failed to the next. Seconds.
AGAIN = 30.0
# Seconds between looks at the host's DNS servers.
RESOLVER_EVERY = 60.0


class Addresses:
    """Tells what is protected of the API server and the cluster.

    Args:
        api: the API server.
        protected: told what was found.
        namespace: of the operator.
    """

    def __init__(self, api: Api, protected: Protected, namespace: str) -> None:
        self._api = api
        self._protected = protected
        self._path = f"/api/v1/namespaces/{namespace}/configmaps/{NAME}"

    async def look(self) -> None:
        """Ask for all of it once, before the first StaticRoute is known.

        The watch would tell it too, but maybe later than the StaticRoute that must be refused because of it.
        """
        await asyncio.gather(self._look_at_api_server(), self._look_at_cluster())

    async def keep_current(self) -> None:
        """Ask now and then, for ever; what the controller tells comes by the watch."""
        clock = asyncio.get_running_loop().time
        due = clock() + EVERY
        while True:
            await asyncio.sleep(min(RESOLVER_EVERY, max(due - clock(), 0)) * random.uniform(0.8, 1.2))  # noqa: S311  jitter, no secret
            self._protected.look_at_resolver()
            if clock() >= due:
                due = clock() + (EVERY if await self._look_at_api_server() else AGAIN)

    def take(self, data: Mapping[str, str]) -> None:
        """Take in what the controller says."""
        found: dict[bytes, str] = {}
        for what, texts in parse_data(data).items():
            found |= pack_all(what, texts)
        self._protected.put("cluster", found)

    async def _look_at_api_server(self) -> bool:
        try:
            found = await self._api.addresses()
        except (ApiError, OSError) as error:
            logger.debug("The API server's addresses can't be asked for: %s", error)
            return False
        self._protected.put("API server", pack_all("API server", found))
        return True

    async def _look_at_cluster(self) -> None:
        try:
            body = await self._api.get(self._path)
        except ApiError as error:
            level = logging.WARNING if error.status in {403, 404} else logging.DEBUG
            logger.log(level, "The cluster's addresses are not protected until the controller tells them: %s", error)
        else:
            self.take(body.get("data") or {})
