"""The metrics, each with its unit in its name and no label per destination."""

from collections.abc import Callable, Collection, Iterable, Iterator
from typing import NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

from static_route_operator import __version__
from static_route_operator.api.noderoutestate import RowState

PREFIX = "static_route_operator"

# Seconds: from a run without changes to one with 100,000 of them.
_DURATIONS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class ApiMetrics:
    """What agents and the controller alike count of the API server, in a registry of their own."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        Info(f"{PREFIX}_build", "Version of the program.", registry=self._registry).info({"version": __version__})
        self.watch_restarts = self._counter(
            "watch_restarts", "Times that the watch of the API server ended and was started anew."
        )
        self.watch_running = self._gauge("watch_running", "1 while the watch of the API server runs.")
        self.watch_last_event = self._gauge(
            "watch_last_event_timestamp_seconds", "When the watch of the API server last told anything, in Unix time."
        )
        self.lists = self._counter("lists", "Complete lists of objects asked of the API server.", ("result",))
        self.last_list = self._gauge(
            "last_list_timestamp_seconds", "When a complete list of objects was last taken in, in Unix time."
        )

    def _gauge(self, name: str, text: str, labels: tuple[str, ...] = ()) -> Gauge:
        return Gauge(f"{PREFIX}_{name}", text, labels, registry=self._registry)

    def _counter(self, name: str, text: str, labels: tuple[str, ...] = ()) -> Counter:
        return Counter(f"{PREFIX}_{name}", text, labels, registry=self._registry)

    def _duration(self, name: str, text: str) -> Histogram:
        return Histogram(f"{PREFIX}_{name}_duration_seconds", text, registry=self._registry, buckets=_DURATIONS)

    def describe(self) -> list[tuple[str, str, str]]:
        """Name, type and description of every metric."""
        families = sorted(self._registry.collect(), key=lambda family: family.name)
        suffixes = {"counter": "_total", "info": "_info"}
        return [(each.name + suffixes.get(each.type, ""), each.type, each.documentation) for each in families]

    def exposition(self) -> bytes:
        """All of them in the Prometheus text format."""
        return generate_latest(self._registry)


class ObservedGateway(NamedTuple):
    """What is measured of a gateway.

    Attributes:
        gateway: its address.
        interface: name of the interface by which it is probed.
        check: how, in words.
        up: False when it does not answer.
        rtt: round-trip time in seconds; None while it does not answer.
        sent: probes that were sent and judged.
        lost: those of them that were not answered as they should, in time.
        flaps: how often it went from up to down.
    """

    gateway: str
    interface: str
    check: str
    up: bool
    rtt: float | None
    sent: int
    lost: int
    flaps: int


class _Gateways(Collector):
    """The gateways as they are when somebody asks."""

    def __init__(self) -> None:
        self.source: Callable[[], Iterable[ObservedGateway]] = tuple

    def collect(self) -> Iterator[Metric]:
        """The same series for each gateway; no round-trip time while it does not answer."""
        labels = ("gateway", "interface", "check")
        up = GaugeMetricFamily(
            f"{PREFIX}_gateway_up", "0 when a gateway that is probed does not answer.", labels=labels
        )
        rtt = GaugeMetricFamily(
            f"{PREFIX}_gateway_rtt_seconds", "Smoothed round-trip time of the probes of a gateway.", labels=labels
        )
        sent = CounterMetricFamily(f"{PREFIX}_gateway_probes", "Probes of a gateway.", labels=labels)
        lost = CounterMetricFamily(
            f"{PREFIX}_gateway_probe_losses", "Probes that were not answered as they should, in time.", labels=labels
        )
        flaps = CounterMetricFamily(
            f"{PREFIX}_gateway_flaps", "Times that a gateway went from up to down.", labels=labels
        )
        # One series for each: checks that differ in what is not shown are not told apart.
        for each in {one[:3]: one for one in self.source()}.values():
            up.add_metric(each[:3], float(each.up))
            if each.rtt is not None:
                rtt.add_metric(each[:3], each.rtt)
            sent.add_metric(each[:3], each.sent)
            lost.add_metric(each[:3], each.lost)
            flaps.add_metric(each[:3], each.flaps)
        yield from (up, rtt, sent, lost, flaps)


class Metrics(ApiMetrics):
    """All metrics of one agent."""

    def __init__(self) -> None:
        super().__init__()
        gauge, counter = self._gauge, self._counter
        self.wanted_routes = gauge("wanted_routes", "Routes that should be in this node's kernel.")
        self.present_routes = gauge("present_routes", "Routes of this program known to be in this node's kernel.")
        self.failed_routes = gauge(
            "failed_routes", "Routes that the kernel refused, conflicts with foreign ones included."
        )
        self.conflicting_routes = gauge(
            "conflicting_routes", "Routes whose place in the kernel a route of another program holds."
        )
        self.contested_routes = gauge(
            "contested_routes", "Routes that another program removes or replaces again and again."
        )
        self.objects = gauge("objects", "StaticRoutes known to this agent, for this node or not.")
        self._static_routes = gauge("static_routes", "StaticRoutes that select this node, by state.", ("state",))
        self.count_states(())
        self.synced = gauge("synced", "1 once a complete list was taken in and applied.")
        self.last_success = gauge(
            "last_success_timestamp_seconds", "When the kernel was last found or made as wanted, in Unix time."
        )
        self.operations = counter("operations", "Changes of routes asked of the kernel.", ("action",))
        self.operation_failures = counter("operation_failures", "Changes of routes that the kernel refused.")
        self.operations_duration = self._duration(
            "operations", "Time from the first of a run's changes of routes to the last answer of the kernel."
        )
        self.reconcile_duration = self._duration(
            "reconcile", "Time from the start of a run to its last answer of the kernel."
        )
        self.reconcile_errors = counter("reconcile_errors", "Runs that failed as a whole and were tried again.")
        self.drift = counter("drift", "Routes of this program that somebody else changed or removed.")
        self.drift_repairs = counter("drift_repairs", "Routes that were put back after another program took them away.")
        self.monitor_overflows = counter("monitor_overflows", "Times that notifications of the kernel were lost.")
        self.rollbacks = counter("rollbacks", "Versions of StaticRoutes undone since they cut this node off.")
        self._gateways = _Gateways()
        self._registry.register(self._gateways)
        self.state_writes = counter("state_writes", "Writes of this node's NodeRouteState.", ("result",))

    def watch_gateways(self, source: Callable[[], Iterable[ObservedGateway]]) -> None:
        """Ask there for the gateways whenever metrics are read."""
        self._gateways.source = source

    def count_states(self, states: Collection[RowState]) -> None:
        """Take in the states of the StaticRoutes that select this node; one that none is in is shown too, as 0."""
        for state in RowState:
            self._static_routes.labels(state.value).set(sum(each is state for each in states))


class ControllerMetrics(ApiMetrics):
    """All metrics of the controller."""

    def __init__(self) -> None:
        super().__init__()
        self.nodes = self._gauge("controller_nodes", "Nodes known to the controller.")
        self.objects = self._gauge("controller_objects", "StaticRoutes known to the controller.")
        self.status_writes = self._counter("status_writes", "Writes of a StaticRoute's status.", ("result",))
        self.events = self._counter("events", "Writes of Events about StaticRoutes.", ("result",))
