"""Metrics as they are scraped."""

import re
from pathlib import Path

import pytest
from prometheus_client import generate_latest

from static_route_operator import __version__
from static_route_operator.api.noderoutestate import RowState
from static_route_operator.observability.metrics import ApiMetrics, ControllerMetrics, Metrics, ObservedGateway
from static_route_operator.routing.routes import Action

ROOT = Path(__file__).resolve().parents[3]


def _samples(metrics: ApiMetrics) -> dict[str, float]:
    lines = generate_latest(metrics.registry).decode().splitlines()
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))}


API_NAMES = {
    "build_info": "info",
    "watch_restarts_total": "counter",
    "watch_running": "gauge",
    "watch_last_event_timestamp_seconds": "gauge",
    "lists_total": "counter",
    "last_list_timestamp_seconds": "gauge",
}
AGENT_NAMES = API_NAMES | {
    "desired_routes": "gauge",
    "installed_routes": "gauge",
    "failed_routes": "gauge",
    "conflicting_routes": "gauge",
    "flapping_routes": "gauge",
    "newly_protected_routes": "gauge",
    "objects": "gauge",
    "static_routes": "gauge",
    "synced": "gauge",
    "last_success_timestamp_seconds": "gauge",
    "operations_total": "counter",
    "operation_failures_total": "counter",
    "operations_duration_seconds": "histogram",
    "reconcile_duration_seconds": "histogram",
    "reconcile_errors_total": "counter",
    "consecutive_reconcile_errors": "gauge",
    "unreadable_messages_total": "counter",
    "drift_total": "counter",
    "drift_repairs_total": "counter",
    "monitor_overflows_total": "counter",
    "rollbacks_total": "counter",
    "gateway_up": "gauge",
    "gateway_rtt_seconds": "gauge",
    "gateway_probes_total": "counter",
    "gateway_probe_losses_total": "counter",
    "gateway_flaps_total": "counter",
    "gateway_held_until_timestamp_seconds": "gauge",
    "state_writes_total": "counter",
}
CONTROLLER_NAMES = API_NAMES | {
    "controller_nodes": "gauge",
    "controller_objects": "gauge",
    "nodes_with_wrong_addresses": "gauge",
    "status_writes_total": "counter",
    "events_total": "counter",
}
# As every Prometheus client names them.
PROCESS_NAMES = {
    "process_cpu_seconds_total": "counter",
    "process_max_fds": "gauge",
    "process_open_fds": "gauge",
    "process_resident_memory_bytes": "gauge",
    "process_start_time_seconds": "gauge",
    "process_virtual_memory_bytes": "gauge",
}
PROCESSES = {"agent": (Metrics(), AGENT_NAMES), "controller": (ControllerMetrics(), CONTROLLER_NAMES)}


@pytest.mark.parametrize("process", PROCESSES)
def test_names_are_stable(process: str) -> None:
    """Dashboards and alerts find every metric under its name, and each metric is listed here."""
    metrics, names = PROCESSES[process]

    own = {f"static_route_operator_{name}": kind for name, kind in names.items()}
    assert {name: kind for name, kind, _ in metrics.describe()} == own | PROCESS_NAMES


@pytest.mark.parametrize("process", PROCESSES)
def test_reference_lists_every_metric(process: str) -> None:
    """People find each metric, with its meaning, on the reference page."""
    metrics, _ = PROCESSES[process]
    reference = (ROOT / "docs/reference.md").read_text()
    (section,) = re.findall(rf"^## Metrics of `{process}`$(.*?)(?=^## |\Z)", reference, re.MULTILINE | re.DOTALL)

    assert re.findall(r"^\| `(\w+)` \| (\w+) \| (.*) \|$", section, re.MULTILINE) == metrics.describe()


def test_version_is_a_label() -> None:
    """The metrics have the version that runs."""
    assert _samples(Metrics())[f'static_route_operator_build_info{{version="{__version__}"}}'] == 1


def test_values_are_shown() -> None:
    """Counted and set values come out, by label where there is one."""
    metrics = Metrics()
    metrics.installed_routes.set(5)
    metrics.drift.inc()
    metrics.operations.labels("add").inc(3)
    with metrics.reconcile_duration.time():
        pass

    samples = _samples(metrics)
    assert samples["static_route_operator_installed_routes"] == 5
    assert samples["static_route_operator_drift_total"] == 1
    assert samples['static_route_operator_operations_total{action="add"}'] == 3
    assert samples["static_route_operator_reconcile_duration_seconds_count"] == 1


@pytest.mark.parametrize("process", PROCESSES)
def test_there_is_no_series_of_creation_times(process: str) -> None:
    """No counter or histogram has a series with the time of its creation beside its own."""
    metrics, _ = PROCESSES[process]

    assert not [name for name in _samples(metrics) if name.partition("{")[0].endswith("_created")]


def test_label_values_exist_from_the_start() -> None:
    """A first failure is an increase from 0, which an alert sees, and not a series that begins with 1."""
    results, actions = ['result="ok"', 'result="no answer"'], [f'action="{each.value}"' for each in Action]
    expected = {
        "agent": [("lists", results), ("state_writes", results), ("operations", actions)],
        "controller": [("lists", results), ("status_writes", results), ("events", results)],
    }
    for metrics, process in ((Metrics(), "agent"), (ControllerMetrics(), "controller")):
        labelled = {name: value for name, value in _samples(metrics).items() if "result=" in name or "action=" in name}
        assert labelled == {
            f"static_route_operator_{name}_total{{{label}}}": 0
            for name, labels in expected[process]
            for label in labels
        }


def test_process_is_measured() -> None:
    """Memory, processor time and open files of a process are there without another exporter."""
    samples = _samples(ControllerMetrics())

    assert samples["process_resident_memory_bytes"] > 1 << 20
    assert samples["process_cpu_seconds_total"] > 0
    assert samples["process_open_fds"] > 0


def test_agents_do_not_share_metrics() -> None:
    """Two agents in one process (as in tests) count apart."""
    first, second = Metrics(), Metrics()
    first.drift.inc()

    assert _samples(second)["static_route_operator_drift_total"] == 0


@pytest.mark.parametrize("row", Metrics().describe(), ids=lambda row: row[0])
def test_every_metric_is_described_under_its_name(row: tuple[str, str, str]) -> None:
    """The reference page names each metric as it is scraped, with a description."""
    name, kind, text = row
    scraped = generate_latest(Metrics().registry).decode()

    assert f"# HELP {name} {text}\n" in scraped
    assert kind in {"gauge", "counter", "histogram", "info"}
    assert text.endswith(".")


def test_gateways_are_asked_for_when_metrics_are_read() -> None:
    """Each gateway that is probed has its health, and its round-trip time as soon as there is one."""
    metrics = Metrics()
    found = [
        ObservedGateway("10.0.0.1", "eth0", "ICMP every 1 s", up=True, rtt=0.002, sent=9, lost=1, flaps=0),
        ObservedGateway(
            "10.0.0.3", "eth0", "ICMP every 1 s", up=False, rtt=None, sent=7, lost=5, flaps=2, held_until=9.0
        ),
    ]
    metrics.watch_gateways(lambda: found)

    samples = {
        name.replace("static_route_operator_gateway_", ""): value
        for name, value in _samples(metrics).items()
        if "gateway_" in name
    }
    first, second = (
        f'{{check="ICMP every 1 s",gateway="{each}",interface="eth0"}}' for each in ("10.0.0.1", "10.0.0.3")
    )
    assert samples == {
        f"up{first}": 1,
        f"rtt_seconds{first}": 0.002,
        f"probes_total{first}": 9,
        f"probe_losses_total{first}": 1,
        f"flaps_total{first}": 0,
        f"held_until_timestamp_seconds{first}": 0,
        f"up{second}": 0,
        f"probes_total{second}": 7,
        f"probe_losses_total{second}": 5,
        f"flaps_total{second}": 2,
        f"held_until_timestamp_seconds{second}": 9,
    }
    found.clear()
    assert not any("gateway_" in name for name in _samples(metrics))


def test_every_state_is_counted() -> None:
    """The number of StaticRoutes in each state is a metric, also for states without any."""
    metrics = Metrics()
    metrics.count_states([RowState.PROGRAMMED, RowState.FAILED, RowState.PROGRAMMED])

    found = {name: value for name, value in _samples(metrics).items() if "static_routes{" in name}
    assert found == {
        f'static_route_operator_static_routes{{state="{state.value}"}}': {"Programmed": 2, "Failed": 1}.get(state, 0)
        for state in RowState
    }
