"""The program's own requests to the API server: few, and each on a new connection.

An old connection may work on long after a token, a role or a route has gone; a new one shows the current state.
"""

import asyncio
import contextlib
import dataclasses
import ipaddress
import json
import os
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import aiohttp
import kopf

from static_route_operator.errors import ApiError

SERVICE_HOST = "KUBERNETES_SERVICE_HOST"
SERVICE_PORT = "KUBERNETES_SERVICE_PORT"

KUBERNETES_ENDPOINTS = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes"

# Seconds for a new connection. Even a busy API server accepts connections at once.
CONNECT_TIMEOUT = 10.0
# Seconds for writes that thousands of nodes send, or receive, at the same time: as long as the API server itself works
# on a request. A client that gives up earlier and repeats the request makes a busy server do the same work twice.
WRITE_TIMEOUT = 60.0
# Seconds without a byte on a watch: the API server sends bookmarks about every minute.
SILENCE = 150.0

# Bytes of an answer: the metadata of 100,000 objects; and of an EndpointSlice, which has 1,000 endpoints at the most.
LARGEST_LIST = 64 << 20
LARGEST_SLICE = 2 << 20


def log_in(settings: kopf.OperatorSettings) -> kopf.ConnectionInfo:
    """Return address and credentials of the API server: of the pod's ServiceAccount, else of the user's kubeconfig.

    In a pod the address comes from the kubelet. Kopf would use a DNS name, but a pod with host networking does not use
    the cluster's DNS, and routing must not depend on DNS.

    Raises:
        kopf.LoginError: neither exists.
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
    """The address of the API server.

    Attributes:
        host: IP address or DNS name.
        port: TCP port.
        context: factory of the TLS context; None for a server without TLS.
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

    async def get(self, path: str, *, accept: str = "application/json", most: int = LARGEST_LIST) -> dict[str, Any]:
        """Get an object or a list.

        Args:
            path: path of the object or list, with its query.
            accept: media type of the answer.
            most: bytes that are read before the answer is refused.

        Raises:
            ApiError: the API server refused, or did not answer, or answered too much.
        """
        return await self._request("GET", path, {"Accept": accept}, most=most)

    async def watch(self, path: str, name: str, *, seconds: float, most: int) -> AsyncIterator[dict[str, Any]]:
        """Yield the events of one object, first that of its present state; end after a time.

        The request starts from the API server's cache and names the object, so it costs little on both sides.

        Args:
            path: path of the kind in the object's namespace.
            name: name of the object.
            seconds: time after which the API server ends the watch.
            most: bytes of an event that are read before the watch is given up.

        Raises:
            ApiError: the API server refused, or did not answer, or sent too much; or nothing came for too long.
        """
        query = f"watch=1&fieldSelector=metadata.name={name}&resourceVersion=0&allowWatchBookmarks=true"
        limits = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT, sock_read=SILENCE)
        async with self._answer("GET", f"{path}?{query}&timeoutSeconds={seconds:.0f}", {}, limits=limits) as answer:
            async for line in _lines(answer.content, most):
                event = json.loads(line)
                if not isinstance(event, dict) or event.get("type") == "ERROR":
                    raise ApiError(f"GET {path}", None, excerpt(line.decode(errors="replace")))
                yield event

    async def patch(self, path: str, body: Any, *, content_type: str) -> dict[str, Any]:
        """Patch or apply an object.

        Args:
            path: path of the object, with the query that the type of patch needs.
            body: the patch.
            content_type: the type of patch.

        Returns:
            The patched object.

        Raises:
            ApiError: the API server refused, or did not answer: then the patch may have been applied or not.
        """
        return await self._request("PATCH", path, {"Content-Type": content_type}, json.dumps(body))

    async def _request(
        self, method: str, path: str, headers: Mapping[str, str], data: str = "", *, most: int = LARGEST_LIST
    ) -> dict[str, Any]:
        async with self._answer(method, path, headers, data, limits=self._timeout) as answer:
            text = await _read(answer.content, most)
            body = json.loads(text)
            if isinstance(body, dict):
                return body
        raise ApiError(f"{method} {path}", None, excerpt(text.decode(errors="replace")))

    @contextlib.asynccontextmanager
    async def _answer(
        self, method: str, path: str, headers: Mapping[str, str], data: str = "", *, limits: aiohttp.ClientTimeout
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send a request; the body of this context reads the answer, and its errors are those of the request.

        Raises:
            ApiError: the API server refused, did not answer, or its answer can't be read.
        """
        request = f"{method} {path.partition('?')[0]}"
        try:
            info = log_in(self._settings)
            connector = aiohttp.TCPConnector(ssl=info.as_ssl_context(), force_close=True)
            async with (
                aiohttp.ClientSession(connector=connector, timeout=limits, headers=info.as_http_headers()) as session,
                session.request(method, info.server.rstrip("/") + path, headers=headers, data=data or None) as answer,
            ):
                if not answer.ok:
                    raise ApiError(request, answer.status, excerpt(await answer.text()))
                yield answer
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError, kopf.LoginError) as error:
            text = "timed out" if isinstance(error, TimeoutError) else type(error).__name__
            raise ApiError(request, None, str(error) or text) from error

    def server(self) -> Server | None:
        """Return the address to which new connections go; None without credentials."""
        try:
            info = log_in(self._settings)
        except kopf.LoginError:
            return None
        url = urlsplit(info.server)
        https = url.scheme == "https"
        return Server(url.hostname or "", url.port or (443 if https else 80), info.as_ssl_context if https else None)

    async def addresses(self) -> list[object]:
        """Return all addresses of the API server: configured, resolved, and behind its Service."""
        found: list[object] = [host] if (host := os.environ.get(SERVICE_HOST)) else []
        try:
            host = urlsplit(log_in(self._settings).server).hostname
        except kopf.LoginError:
            host = None
        if host:
            found += await _resolve(host)
        try:
            slices = await self.get(KUBERNETES_ENDPOINTS, most=LARGEST_SLICE)
        except ApiError as error:
            if error.status not in {403, 404}:
                raise
        else:
            found += endpoint_addresses(slices)
        return found


def endpoint_addresses(endpoint_slice: Mapping[str, Any]) -> list[object]:
    """Return the addresses in an EndpointSlice, in order."""
    endpoints = endpoint_slice.get("endpoints") or ()
    return [address for endpoint in endpoints for address in endpoint.get("addresses") or ()]


def excerpt(text: str) -> str:
    """Return the start of an answer, on one line."""
    return " ".join(text.split())[:300]


async def _resolve(host: str) -> list[str]:
    try:
        return [str(ipaddress.ip_address(host))]
    except ValueError:
        answers = await asyncio.get_running_loop().getaddrinfo(host, None)
        return sorted({str(sockaddr[0]) for *_, sockaddr in answers})


async def _read(stream: aiohttp.StreamReader, most: int) -> bytes:
    """Return the rest of a stream.

    Raises:
        ValueError: it has more bytes than that.
    """
    found = bytearray()
    async for chunk in stream.iter_any():
        found += chunk
        if len(found) > most:
            raise ValueError(f"the answer has more than {most} bytes")
    return bytes(found)


async def _lines(stream: aiohttp.StreamReader, most: int) -> AsyncIterator[bytes]:
    """Yield the lines of a stream.

    Raises:
        ValueError: a line has more bytes than that.
    """
    found = bytearray()
    async for chunk in stream.iter_any():
        found += chunk
        while (end := found.find(b"\n")) >= 0:
            yield bytes(found[:end])
            del found[: end + 1]
        if len(found) > most:
            raise ValueError(f"an event has more than {most} bytes")
