"""Requests to the API server: address, credentials and content."""

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


async def test_patch_is_sent_whole_and_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    """A patch has its query, content type and body; the result is the object, created (201) or changed (200)."""
    seen = []

    async def answer(request: web.Request) -> web.Response:
        seen.append((request.method, request.path_qs, request.content_type, await request.json()))
        if request.path == "/refused":
            return web.json_response({"message": "not yours"}, status=403)
        return web.json_response({"kind": "X"}, status=201)

    application = web.Application()
    application.router.add_route("*", "/{path}", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        info = kopf.ConnectionInfo(server=f"http://127.0.0.1:{port}")
        monkeypatch.setattr(kopf, "login_with_service_account", lambda **_: None)
        monkeypatch.setattr(kopf, "login_with_kubeconfig", lambda **_: info)
        api = Api()

        assert await api.patch("/x?force=true", {"a": 1}, content_type="application/apply-patch+yaml") == {"kind": "X"}
        with pytest.raises(ApiError, match=r"PATCH /refused: HTTP 403: .*not yours"):
            await api.patch("/refused?force=true", [], content_type="application/json-patch+json")
    finally:
        await runner.cleanup()

    assert seen == [
        ("PATCH", "/x?force=true", "application/apply-patch+yaml", {"a": 1}),
        ("PATCH", "/refused?force=true", "application/json-patch+json", []),
    ]
