"""Requests to the API server: address, credentials and content."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import kopf
import pytest
from aiohttp import web

from static_route_operator.cluster.api import Api, log_in
from static_route_operator.errors import ApiError

INFO = kopf.ConnectionInfo(server="https://kubernetes.default.svc", token="t")  # noqa: S106  no secret


@pytest.mark.parametrize(
    ("host", "port", "server"),
    [("10.96.0.1", "6443", "https://10.96.0.1:6443"), ("fd00::1", None, "https://[fd00::1]:443")],
)
def test_address_in_a_pod_is_the_kubelets(
    monkeypatch: pytest.MonkeyPatch, host: str, port: str | None, server: str
) -> None:
    """In a pod the agent uses the address from the kubelet, without any name server."""
    monkeypatch.setattr(kopf, "login_with_service_account", lambda **_: INFO)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", host)
    monkeypatch.delenv("KUBERNETES_SERVICE_PORT", raising=False)
    if port:
        monkeypatch.setenv("KUBERNETES_SERVICE_PORT", port)

    info = log_in(kopf.OperatorSettings())

    assert (info.server, info.token) == (server, "t")


def test_without_a_service_account_the_kubeconfig_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Outside of a pod the user's kubeconfig is used unchanged."""
    monkeypatch.setattr(kopf, "login_with_service_account", lambda **_: None)
    monkeypatch.setattr(kopf, "login_with_kubeconfig", lambda **_: INFO)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1")

    assert log_in(kopf.OperatorSettings()) is INFO


def test_without_any_credentials_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a ServiceAccount and a kubeconfig the error names both."""
    monkeypatch.setattr(kopf, "login_with_service_account", lambda **_: None)
    monkeypatch.setattr(kopf, "login_with_kubeconfig", lambda **_: None)

    with pytest.raises(kopf.LoginError, match="neither a service account nor a kubeconfig"):
        log_in(kopf.OperatorSettings())


@pytest.mark.parametrize(
    ("server", "host", "port", "tls"),
    [
        ("https://10.96.0.1", "10.96.0.1", 443, True),
        ("https://[fd00::1]:6443", "fd00::1", 6443, True),
        ("https://Kubernetes.Default.svc/path", "kubernetes.default.svc", 443, True),
        ("http://127.0.0.1", "127.0.0.1", 80, False),
        ("http://127.0.0.1:8001/", "127.0.0.1", 8001, False),
    ],
)
def test_api_server_is_reached_at_its_url(
    monkeypatch: pytest.MonkeyPatch, server: str, host: str, port: int, tls: bool
) -> None:
    """Address, port and TLS follow the URL; a missing port is the default of the scheme."""
    monkeypatch.setattr(kopf, "login_with_service_account", lambda **_: None)
    monkeypatch.setattr(kopf, "login_with_kubeconfig", lambda **_: kopf.ConnectionInfo(server=server))

    found = Api().server()

    assert found is not None
    assert (found.host, found.port, found.context is not None) == (host, port, tls)


@contextlib.asynccontextmanager
async def _serving(
    answer: Callable[[web.Request], Awaitable[web.StreamResponse]], monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[None]:
    """Serve the API server's answers."""
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        info = kopf.ConnectionInfo(server=f"http://127.0.0.1:{runner.addresses[0][1]}")
        monkeypatch.setattr(kopf, "login_with_service_account", lambda **_: None)
        monkeypatch.setattr(kopf, "login_with_kubeconfig", lambda **_: info)
        yield
    finally:
        await runner.cleanup()


async def test_patch_is_sent_whole_and_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    """A patch has its query, content type and body; the result is the object, created (201) or changed (200)."""
    seen = []

    async def answer(request: web.Request) -> web.Response:
        seen.append((request.method, request.path_qs, request.content_type, await request.json()))
        if request.path == "/refused":
            return web.json_response({"message": "not yours"}, status=403)
        return web.json_response({"kind": "X"}, status=201)

    async with _serving(answer, monkeypatch):
        api = Api()

        assert await api.patch("/x?force=true", {"a": 1}, content_type="application/apply-patch+yaml") == {"kind": "X"}
        with pytest.raises(ApiError, match=r"PATCH /refused: HTTP 403: .*not yours"):
            await api.patch("/refused?force=true", [], content_type="application/json-patch+json")

    assert seen == [
        ("PATCH", "/x?force=true", "application/apply-patch+yaml", {"a": 1}),
        ("PATCH", "/refused?force=true", "application/json-patch+json", []),
    ]


async def test_watch_yields_events_as_they_come(monkeypatch: pytest.MonkeyPatch) -> None:
    """A watch names the object, yields each event, however the lines are cut, and ends when the API server ends it."""
    asked = []

    async def answer(request: web.Request) -> web.StreamResponse:
        asked.append((request.path, dict(request.query)))
        response = web.StreamResponse()
        await response.prepare(request)
        for part in (b'{"type": "ADDED"', b', "object": {}}\n{"type": "MODIFIED"}\n{"ty', b'pe": "BOOKMARK"}\n'):
            await response.write(part)
        return response

    async with _serving(answer, monkeypatch):
        events = [event async for event in Api().watch("/things", "one", seconds=7, most=100)]

    assert [event["type"] for event in events] == ["ADDED", "MODIFIED", "BOOKMARK"]
    ((path, query),) = asked
    assert path == "/things"
    assert query["fieldSelector"] == "metadata.name=one"
    assert (query["timeoutSeconds"], query["resourceVersion"]) == ("7", "0")


@pytest.mark.parametrize("body", [b"x" * 5000, b"[]\n", b"nonsense\n", b'{"type": "ERROR", "object": {"code": 410}}\n'])
async def test_watch_gives_up_what_it_can_not_use(body: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """A watch with an endless line, an error or no JSON ends with an error of the request."""

    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(body=body)

    async with _serving(answer, monkeypatch):
        with pytest.raises(ApiError, match="GET /things"):
            _ = [event async for event in Api().watch("/things", "one", seconds=7, most=1000)]


@pytest.mark.parametrize("body", [b"{" + b" " * 5000 + b"}", b"[]", b"nonsense"])
async def test_answer_is_bounded_before_it_is_parsed(body: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """An object that is larger than expected, or none, is an error of the request, and nothing of it is kept."""

    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(body=body)

    async with _serving(answer, monkeypatch):
        with pytest.raises(ApiError, match="GET /thing"):
            await Api().get("/thing", most=1000)
