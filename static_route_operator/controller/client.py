"""The controller's requests to the API server, through the official Kubernetes client.

Requests are generic: the client's classes for the core and the Events API load all of its models, 40 MiB and 3 s.
"""

import asyncio
import json
from http import HTTPStatus
from typing import Any, Final

import aiohttp
from kubernetes.aio.client.api_client import ApiClient
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.config import ConfigException, load_incluster_config, load_kube_config

from static_route_operator.api import GROUP, VERSION
from static_route_operator.api.staticroute import PLURAL
from static_route_operator.cluster.api import CONNECT_TIMEOUT, WRITE_TIMEOUT, excerpt
from static_route_operator.errors import ApiError

IDENTITY: Final = "static-route-operator-controller"

STATICROUTES: Final = f"/apis/{GROUP}/{VERSION}/{PLURAL}"

MERGE_PATCH: Final = "application/merge-patch+json"
JSON_PATCH: Final = "application/json-patch+json"
APPLY_PATCH: Final = "application/apply-patch+yaml"

_READ: Final = aiohttp.ClientTimeout(total=10.0, sock_connect=CONNECT_TIMEOUT)
_WRITE: Final = aiohttp.ClientTimeout(total=WRITE_TIMEOUT, sock_connect=CONNECT_TIMEOUT)


class Client:
    """The API server, reached with the pod's service account, else with the user's kubeconfig."""

    def __init__(self) -> None:
        self._client: ApiClient | None = None
        self._lock = asyncio.Lock()

    async def close(self) -> None:
        """Close the connections."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def get(self, path: str, *, accept: str = "application/json") -> dict[str, Any]:
        """Return an object or a list.

        Raises:
            ApiError: the API server refused, or did not answer.
        """
        return await self._request("GET", path, {"Accept": accept}, None, _READ)

    async def patch(self, path: str, body: Any, *, content_type: str) -> dict[str, Any]:
        """Change an object, or apply it, and return the object as it is now.

        Args:
            path: path of the object, with the query that the kind of patch needs.
            body: the patch, as JSON.
            content_type: the kind of patch.

        Raises:
            ApiError: the API server refused, or did not answer; without an answer the change may have been made.
        """
        return await self._request("PATCH", path, {"Content-Type": content_type}, body, _WRITE)

    async def _request(
        self, method: str, path: str, headers: dict[str, str], body: Any, limits: aiohttp.ClientTimeout
    ) -> dict[str, Any]:
        what = f"{method} {path.partition('?')[0]}"
        client = None
        try:
            client = await self._connect()
            request = await client.param_serialize(
                method, path, header_params=headers, body=body, auth_settings=["BearerToken"]
            )
            answer = await client.call_api(*request, _request_timeout=limits)
            text: bytes = await answer.read()
            if 200 <= answer.status < 300:
                found: dict[str, Any] = json.loads(text)
                return found
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError, ConfigException) as error:
            if isinstance(error, (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)):
                await self._discard(client)
            raise ApiError(what, None, str(error) or type(error).__name__) from error
        if answer.status == HTTPStatus.UNAUTHORIZED:
            await self._discard(client)
        raise ApiError(what, answer.status, excerpt(text.decode(errors="replace")))

    async def _connect(self) -> ApiClient:
        """Return the client; make one if there is none."""
        async with self._lock:
            if self._client is None:
                # As for the watch, no proxy from the environment.
                configuration = Configuration(client_session_kwargs={"trust_env": False})
                try:
                    load_incluster_config(configuration)
                except ConfigException:
                    await load_kube_config(client_configuration=configuration, persist_config=False)
                self._client = ApiClient(configuration)
                self._client.user_agent = IDENTITY
            return self._client

    async def _discard(self, client: ApiClient | None) -> None:
        """Make the next request load address, CA and credentials again.

        The package reads a service account's token again, but nothing else: without this a new CA would cut the
        controller off until its restart. Requests in progress fail, and their callers repeat them.
        """
        if client is self._client:
            await self.close()
