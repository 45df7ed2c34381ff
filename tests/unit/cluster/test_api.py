"""Where the API server is, and with what credentials."""

import kopf
import pytest

from static_route_operator.cluster.api import log_in

INFO = kopf.ConnectionInfo(server="https://kubernetes.default.svc", token="t")  # noqa: S106  no secret


@pytest.mark.parametrize(
    ("host", "port", "server"),
    [("10.96.0.1", "6443", "https://10.96.0.1:6443"), ("fd00::1", None, "https://[fd00::1]:443")],
)
def test_address_in_a_pod_is_the_kubelets(
    monkeypatch: pytest.MonkeyPatch, host: str, port: str | None, server: str
) -> None:
    """In a pod the API server is reached by the address that the kubelet gave, without any name server."""
    monkeypatch.setattr(kopf, "login_with_service_account", lambda **_: INFO)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", host)
    monkeypatch.delenv("KUBERNETES_SERVICE_PORT", raising=False)
    if port:
        monkeypatch.setenv("KUBERNETES_SERVICE_PORT", port)

    info = log_in(kopf.OperatorSettings())

    assert (info.server, info.token) == (server, "t")


def test_without_a_service_account_the_kubeconfig_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Outside of a pod the user's kubeconfig is used as it is."""
    monkeypatch.setattr(kopf, "login_with_service_account", lambda **_: None)
    monkeypatch.setattr(kopf, "login_with_kubeconfig", lambda **_: INFO)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1")

    assert log_in(kopf.OperatorSettings()) is INFO


def test_without_any_credentials_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a service account nor a kubeconfig: the error says what was looked for."""
    monkeypatch.setattr(kopf, "login_with_service_account", lambda **_: None)
    monkeypatch.setattr(kopf, "login_with_kubeconfig", lambda **_: None)

    with pytest.raises(kopf.LoginError, match="neither a service account nor a kubeconfig"):
        log_in(kopf.OperatorSettings())
