"""Requests of the controller: address, credentials and errors."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import certifi
import pytest
import pytest_asyncio
from aiohttp import web
from kubernetes.aio.config import incluster_config, kube_config

from static_route_operator.controller.client import Client
from static_route_operator.errors import ApiError

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Server:
    """An API server that records its requests.

    Args:
        directory: directory for the kubeconfig.

    Attributes:
        kubeconfig: a kubeconfig.
        token: the only token that the server accepts.
        requests: method, path, content type and body of each accepted request.
        ports: the client's port of each request.
    """

    def __init__(self, directory: Path) -> None:
        self.kubeconfig = directory / "kubeconfig"
        self.token = "first"  # noqa: S105  no secret
        self.requests: list[tuple[str, str, str, Any]] = []
        self.ports: list[int] = []
        self._runner: web.AppRunner | None = None

    async def start(self) -> str:
        """Start, or move to another port; return the URL."""
        await self.stop()
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(application)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        """Stop."""
        if self._runner is not None:
            await self._runner.cleanup()

    def configure(self, url: str) -> None:
        """Write the kubeconfig."""
        config = {
            "current-context": "c",
            "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
            "clusters": [{"name": "k", "cluster": {"server": url}}],
            "users": [{"name": "u", "user": {"token": self.token}}],
        }
        self.kubeconfig.write_text(json.dumps(config))

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        self.ports.append(request.transport.get_extra_info("peername")[1])
        if request.headers.get("Authorization", "").lower() != f"bearer {self.token}":
            return web.json_response({"message": "who are you?"}, status=401)
        text = await request.text()
        self.requests.append((request.method, request.path_qs, request.content_type, json.loads(text or "null")))
        if request.path == "/refused":
            return web.json_response({"message": "not\n  yours"}, status=403)
        if request.path == "/broken":
            return web.Response(text="{")
        return web.json_response({"kind": "X", "accept": request.headers["Accept"]}, status=201)


@pytest_asyncio.fixture
async def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Server]:
    """Return a server that the user's kubeconfig names."""
    found = Server(tmp_path)
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.setattr(kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", str(found.kubeconfig))
    found.configure(await found.start())
    yield found
    await found.stop()


@pytest_asyncio.fixture
async def client() -> AsyncIterator[Client]:
    """Return a client."""
    found = Client()
    yield found
    await found.close()


async def test_requests_are_sent_whole_over_one_connection(server: Server, client: Client) -> None:
    """A request has its query, kind of patch and body as given; the answer is the object."""
    assert await client.get("/x", accept="application/json;as=Table") == {
        "kind": "X",
        "accept": "application/json;as=Table",
    }
    assert (await client.patch("/x?force=true", {"a": 1}, content_type="application/apply-patch+yaml"))["kind"] == "X"
    await client.patch("/x", {"status": {"a": None}}, content_type="application/merge-patch+json")
    await client.patch("/x", [{"op": "remove"}], content_type="application/json-patch+json")

    assert [method for method, *_ in server.requests] == ["GET", "PATCH", "PATCH", "PATCH"]
    assert [rest for _, *rest in server.requests[1:]] == [
        ["/x?force=true", "application/apply-patch+yaml", {"a": 1}],
        ["/x", "application/merge-patch+json", {"status": {"a": None}}],
        ["/x", "application/json-patch+json", [{"op": "remove"}]],
    ]
    assert len(set(server.ports)) == 1


async def test_an_error_has_the_status_and_the_text(server: Server, client: Client) -> None:
    """A refusal has its HTTP status and the server's words; an unreadable answer counts as none."""
    with pytest.raises(ApiError, match=r'^PATCH /refused: HTTP 403: {"message": "not.*yours"}$') as refused:
        await client.patch("/refused?force=true", [], content_type="application/json-patch+json")
    with pytest.raises(ApiError, match=r"^GET /broken: no answer: ") as broken:
        await client.get("/broken")

    assert (refused.value.status, broken.value.status) == (403, None)


async def test_a_server_that_moves_is_found_again(server: Server, client: Client) -> None:
    """A refused connection is an error of one request; the next request reads the kubeconfig again."""
    await client.get("/x")
    server.configure(await server.start())

    with pytest.raises(ApiError) as error:
        await client.get("/x")
    assert error.value.status is None
    assert (await client.get("/x"))["kind"] == "X"


async def test_a_new_token_is_read_after_a_401(server: Server, client: Client) -> None:
    """A token that the server no longer accepts is an error of one request."""
    await client.get("/x")
    url = server.kubeconfig.read_text().partition('"server": "')[2].partition('"')[0]
    server.token = "second"  # noqa: S105  no secret
    server.configure(url)

    with pytest.raises(ApiError, match="HTTP 401"):
        await client.get("/x")
    assert (await client.get("/x"))["kind"] == "X"


async def test_without_credentials_the_error_says_so(client: Client, tmp_path: Path, server: Server) -> None:
    """Neither a service account nor a kubeconfig: requests fail until there is one."""
    text = server.kubeconfig.read_text()
    server.kubeconfig.unlink()
    with pytest.raises(ApiError, match=r"^GET /x: no answer: .*kube-config"):
        await client.get("/x")

    server.kubeconfig.write_text(text)
    assert (await client.get("/x"))["kind"] == "X"


async def test_a_pod_uses_its_service_account(
    server: Server, client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a pod the address is the one that the kubelet gives, without any name server, whatever a kubeconfig says."""
    token, authority = tmp_path / "token", tmp_path / "ca.crt"
    token.write_text("pods")
    authority.write_text(certifi.contents())
    monkeypatch.setattr(incluster_config, "SERVICE_TOKEN_FILENAME", str(token))
    monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", str(authority))
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "::1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "1")

    with pytest.raises(ApiError, match=r"\[?::1\]?:1\b"):
        await client.get("/x")
    assert server.requests == []
