"""The addresses of the API server and the cluster, which no route may capture."""

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

from static_route_operator.api.clusteraddresses import (
    LARGEST_OBJECT,
    MOST_API_SERVERS,
    NAME,
    bounded,
    parse_data,
)
from static_route_operator.cluster.api import Api
from static_route_operator.cluster.engine import FIRST_BACKOFF
from static_route_operator.errors import ApiError, InvalidAddressesError
from static_route_operator.node.protected import Protected
from static_route_operator.supervision import AROUND, Backoff

logger = logging.getLogger(__name__)

# Seconds between requests for the addresses of the API server, as this node resolves them.
INTERVAL = 600.0
# Seconds to the next request after one that failed.
RETRY = 30.0
# Seconds between looks at the host's DNS servers and the age of claims.
LOOK_INTERVAL = 60.0
# Seconds after which a watch of the ConfigMap begins again: with the newest token and CA, and with the present state,
# whatever the last watch has missed.
WATCH_SECONDS = 3000.0
# Seconds before a later retry of the watch, at most: 5,000 agents without the permission send few requests.
LAST_RETRY = 300.0
# Answers that only a person can change.
_REFUSED = frozenset({401, 403, 404})
# Problems of a list that the log names.
MOST_PROBLEMS = 3


class Addresses:
    """Keeps the protected addresses current: asks the API server at intervals and watches the controller's ConfigMap.

    The ConfigMap is read by its path alone, so that no other namespace can have a part in it, and with one watch: Kopf
    would watch all namespaces. A list that is empty, too large or deleted is not believed, and the last one stays.

    Args:
        api: the API server.
        protected: the addresses that no route may capture.
        namespace: namespace of the operator.
    """

    def __init__(self, api: Api, protected: Protected, namespace: str) -> None:
        self._api = api
        self._protected = protected
        self._path = f"/api/v1/namespaces/{namespace}/configmaps"
        self._problem = ""

    async def load(self) -> None:
        """Request all addresses once, before the first StaticRoute is known.

        The watch would deliver the ConfigMap too, but maybe after a StaticRoute that must be refused because of it.
        """
        await asyncio.gather(self._load_api_server(), self._load_cluster())

    async def keep_current(self) -> None:
        """Look at the addresses at intervals until cancelled, except the ConfigMap: see `watch`."""
        clock = asyncio.get_running_loop().time
        due = clock() + INTERVAL
        while True:
            soon = min(LOOK_INTERVAL, max(due - clock(), 0), max(self._protected.next_look(), 1.0))
            await asyncio.sleep(AROUND.of(soon))
            self._protected.look_again()
            if clock() >= due:
                due = clock() + (INTERVAL if await self._load_api_server() else RETRY)

    async def watch(self) -> None:
        """Take in the ConfigMap whenever it changes, until cancelled."""
        backoff = Backoff(FIRST_BACKOFF, LAST_RETRY)
        while True:
            try:
                seconds = AROUND.of(WATCH_SECONDS)
                async for event in self._api.watch(self._path, NAME, seconds=seconds, most=LARGEST_OBJECT):
                    if event.get("type") in {"ADDED", "MODIFIED"}:
                        backoff.reset()
                        self.take(event.get("object"))
                    elif event.get("type") == "DELETED":
                        self._disbelieve("it was deleted")
            except ApiError as error:
                if error.status in _REFUSED:
                    self._disbelieve(str(error))
                # Most often the API server restarts; the addresses stay as they are.
                logger.debug("The watch of the cluster's addresses begins again: %s", error)
            await asyncio.sleep(next(backoff))

    def take(self, config_map: object) -> None:
        """Take in the controller's ConfigMap, unless it can't be believed."""
        data = config_map.get("data") if isinstance(config_map, Mapping) else None
        try:
            found = parse_data(data)
        except InvalidAddressesError as error:
            self._disbelieve(str(error))
            return
        problems = [problem for claims in found.values() for problem in claims.problems]
        if problems:
            rest = f" and {len(problems) - MOST_PROBLEMS} more" if len(problems) > MOST_PROBLEMS else ""
            logger.warning("Not protected, of the cluster's addresses: %s%s", "; ".join(problems[:MOST_PROBLEMS]), rest)
        self._problem = ""
        self._protected.put("cluster", {prefix: what for what, claims in found.items() for prefix in claims.prefixes})

    def _disbelieve(self, problem: str) -> None:
        """Keep the addresses that are known; say once why, and what is protected."""
        if problem == self._problem:
            return
        self._problem = problem
        if self._protected.knows("cluster"):
            kept = "the addresses that were known before stay protected"
        else:
            kept = "until the controller has published it, other nodes, pods and Services are not protected"
        logger.warning("The list of the cluster's addresses is not used: %s; %s", problem, kept)

    async def _load_api_server(self) -> bool:
        """Request the addresses of the API server; report success."""
        try:
            found = await self._api.addresses()
        except (ApiError, OSError) as error:
            logger.debug("Can't get the API server's addresses: %s", error)
            return False
        claims = bounded(found, MOST_API_SERVERS)
        if claims.problems:
            logger.warning("Not protected (API server): %s", "; ".join(claims.problems[:MOST_PROBLEMS]))
        if claims.prefixes:
            self._protected.put("API server", dict.fromkeys(claims.prefixes, "API server"))
        return True

    async def _load_cluster(self) -> None:
        try:
            body: dict[str, Any] = await self._api.get(f"{self._path}/{NAME}", most=LARGEST_OBJECT)
        except ApiError as error:
            if error.status in _REFUSED:
                self._disbelieve(str(error))
            logger.debug("Can't get the cluster's addresses: %s", error)
        else:
            self.take(body)
