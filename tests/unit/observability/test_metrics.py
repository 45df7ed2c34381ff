"""Metrics as they are scraped."""

import re

import pytest

from static_route_operator import __version__
from static_route_operator.observability.metrics import Metrics, ObservedGateway


def _samples(metrics: Metrics) -> dict[str, float]:
    lines = metrics.exposition().decode().splitlines()
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))}


def test_names_are_stable() -> None:
    """Dashboards and alerts find every metric under its name, from the start and with its unit in it."""
    families = re.findall(r"^# TYPE (\S+) (\S+)$", Metrics().exposition().decode(), re.MULTILINE)

    names = {name: kind for name, kind in families if not name.endswith("_created")}
    expected = {
        "build_info": "gauge",
        "wanted_routes": "gauge",
        "present_routes": "gauge",
        "failed_routes": "gauge",
        "objects": "gauge",
        "synced": "gauge",
        "last_success_timestamp_seconds": "gauge",
        "operations_total": "counter",
        "operation_failures_total": "counter",
        "reconcile_duration_seconds": "histogram",
        "reconcile_errors_total": "counter",
        "drift_total": "counter",
        "monitor_overflows_total": "counter",
        "watch_restarts_total": "counter",
        "lists_total": "counter",
    }
    assert names.items() >= {f"static_route_operator_{name}": kind for name, kind in expected.items()}.items()
    assert all(name.startswith("static_route_operator_") for name in names)


def test_version_is_a_label() -> None:
    """Which version runs where can be asked of the metrics."""
    assert _samples(Metrics())[f'static_route_operator_build_info{{version="{__version__}"}}'] == 1


def test_values_are_shown() -> None:
    """What is counted and set comes out, by label where there is one."""
    metrics = Metrics()
    metrics.present_routes.set(5)
    metrics.drift.inc()
    metrics.operations.labels("add").inc(3)
    with metrics.reconcile_duration.time():
        pass

    samples = _samples(metrics)
    assert samples["static_route_operator_present_routes"] == 5
    assert samples["static_route_operator_drift_total"] == 1
    assert samples['static_route_operator_operations_total{action="add"}'] == 3
    assert samples["static_route_operator_reconcile_duration_seconds_count"] == 1


def test_agents_do_not_share_metrics() -> None:
    """Two agents in one process (as in tests) count apart."""
    first, second = Metrics(), Metrics()
    first.drift.inc()

    assert _samples(second)["static_route_operator_drift_total"] == 0


@pytest.mark.parametrize("row", Metrics().describe(), ids=lambda row: row[0])
def test_every_metric_is_described_under_its_name(row: tuple[str, str, str]) -> None:
    """The reference page names each metric as it is scraped, with a description."""
    name, kind, text = row
    scraped = Metrics().exposition().decode()

    assert f"# HELP {name} {text}\n" in scraped
    assert kind in {"gauge", "counter", "histogram", "info"}
    assert text.endswith(".")


def test_gateways_are_asked_for_when_metrics_are_read() -> None:
    """Each gateway that is probed has its health, and its round-trip time as soon as there is one."""
    metrics = Metrics()
    found = [
        ObservedGateway("10.0.0.1", "eth0", "ICMP every 1 s", up=True, rtt=0.002),
        ObservedGateway("10.0.0.3", "eth0", "ICMP every 1 s", up=False, rtt=None),
    ]
    metrics.watch_gateways(lambda: found)

    samples = {
        name.replace("static_route_operator_", ""): value
        for name, value in _samples(metrics).items()
        if "gateway_" in name
    }
    first, second = (
        f'{{check="ICMP every 1 s",gateway="{each}",interface="eth0"}}' for each in ("10.0.0.1", "10.0.0.3")
    )
    assert samples == {f"gateway_up{first}": 1, f"gateway_up{second}": 0, f"gateway_rtt_seconds{first}": 0.002}
    found.clear()
    assert not any("gateway_" in name for name in _samples(metrics))
