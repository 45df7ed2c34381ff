"""The agent's few own requests to the API server, each on a new connection.

A new one each time, since the answers must be about now: the watch may live on through an old connection long after a
token, a role or a route has gone.
"""

import asyncio
import dataclasses
import ipaddress
import json
import os
import ssl
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import aiohttp
import kopf

from static_route_operator.errors import ApiError

SERVICE_HOST = "KUBERNETES_SERVICE_HOST"
SERVICE_PORT = "KUBERNETES_SERVICE_PORT"

KUBERNETES_ENDPOINTS = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes"

# An API server that can be reached at all takes connections at once, however long it takes to answer. Seconds.
CONNECT_TIMEOUT = 10.0
# For what is written at the same time by, or sent to, thousands of nodes: as long as the API server itself works on a
# request. Whoever gives up earlier and sends it again makes one that is busy do the same work twice, until it gets
# nothing done at all. Seconds.
WRITE_TIMEOUT = 60.0


def log_in(settings: kopf.OperatorSettings) -> kopf.ConnectionInfo:
    """Address and credentials of the API server: of the pod's service account, else of the user's kubeconfig.

    In a pod the address is the one the kubelet gives, not the name that Kopf would use: under host networking the
    cluster's DNS is not asked, and must not be needed to route.

    Raises:
        kopf.LoginError: there are none.
    """
    info = kopf.login_with_service_account(settings=settings)
    if info is not None and (host := os.environ.get(SERVICE_HOST)):
        name = f"[{host}]" if ":" in host else host
        info = dataclasses.replace(info, server=f"https://{name}:{os.environ.get(SERVICE_PORT, '443')}")
    if info is None:
        info = kopf.login_with_kubeconfig(settings=settings)
    if info is None:
        raise kopf.LoginError("neither a service account nor a kubeconfig was found")
    return info


class Server(NamedTuple):
    """The API server's end of a connection.

    Attributes:
        host: address or name.
        port: of the server.
        context: makes the context for TLS; None where the server speaks none.
    """

    host: str
    port: int
    context: Callable[[], ssl.SSLContext] | None


class Api:
    """Requests to the API server.

    Args:
        timeout: seconds for one request, connecting included.
    """

    def __init__(self, timeout: float = 10.0) -> None:
        self._timeout = aiohttp.ClientTimeout(total=timeout, sock_connect=CONNECT_TIMEOUT)
        self._settings = kopf.OperatorSettings()

    async def get(self, path: str, *, accept: str = "application/json") -> dict[str, Any]:
        """One object or list.

        Raises:
            ApiError: the API server said no, or nothing.
        """
        return await self._request("GET", path, {"Accept": accept})

    async def patch(self, path: str, body: Any, *, content_type: str) -> dict[str, Any]:
        """Change an object, or apply it.

        Args:
            path: of the object, with the query that the kind of patch needs.
            body: the patch, as JSON.
            content_type: the kind of patch.

        Returns:
            The object as it is now.

        Raises:
            ApiError: the API server said no, or nothing: then it may have been done or not.
        """
        return await self._request("PATCH", path, {"Content-Type": content_type}, json.dumps(body))

    async def _request(self, method: str, path: str, headers: Mapping[str, str], data: str = "") -> dict[str, Any]:
        what = f"{method} {path.partition('?')[0]}"
        try:
            info = log_in(self._settings)
            connector = aiohttp.TCPConnector(ssl=info.as_ssl_context(), force_close=True)
            async with (
                aiohttp.ClientSession(
                    connector=connector, timeout=self._timeout, headers=info.as_http_headers()
                ) as session,
                session.request(method, info.server.rstrip("/") + path, headers=headers, data=data or None) as answer,
            ):
                if not answer.ok:
                    raise ApiError(what, answer.status, excerpt(await answer.text()))
                body: dict[str, Any] = await answer.json()
                return body
        except (aiohttp.ClientError, TimeoutError, OSError, kopf.LoginError) as error:
            raise ApiError(what, None, str(error) or type(error).__name__) from error

    def server(self) -> Server | None:
        """Return where new connections to the API server go; None without credentials."""
        try:
            info = log_in(self._settings)
        except kopf.LoginError:
            return None
        url = urlsplit(info.server)
        https = url.scheme == "https"
        return Server(url.hostname or "", url.port or (443 if https else 80), info.as_ssl_context if https else None)

    async def addresses(self) -> set[str]:
        """The addresses that the API server is known by: as configured, resolved, and those behind its Service."""
        found = {host} if (host := os.environ.get(SERVICE_HOST)) else set()
        try:
            host = urlsplit(log_in(self._settings).server).hostname
        except kopf.LoginError:
            host = None
        if host:
            found |= await _resolve(host)
        try:
            slices = await self.get(KUBERNETES_ENDPOINTS)
        except ApiError as error:
            if error.status not in {403, 404}:
                raise
        else:
            found |= endpoint_addresses(slices)
        return found


def endpoint_addresses(endpoint_slice: Mapping[str, Any]) -> set[str]:
    """The addresses in an EndpointSlice."""
    endpoints = endpoint_slice.get("endpoints") or ()
    return {address for endpoint in endpoints for address in endpoint.get("addresses") or ()}


def excerpt(text: str) -> str:
    """Return the start of an answer, on one line."""
    return " ".join(text.split())[:300]


async def _resolve(host: str) -> set[str]:
    try:
        return {str(ipaddress.ip_address(host))}
    except ValueError:
        answers = await asyncio.get_running_loop().getaddrinfo(host, None)
        return {str(sockaddr[0]) for *_, sockaddr in answers}
