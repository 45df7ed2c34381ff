"""The metrics, each with its unit in its name and no label per destination."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import NamedTuple

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from static_route_operator import __version__
from static_route_operator.api.noderoutestate import RowState
from static_route_operator.routing.routes import Action

PREFIX = "static_route_operator"

# Values of the label `result` that exist from the start. An error of the API server has its HTTP status instead.
RESULTS = ("ok", "no answer")

# Seconds: from a run without changes to one with 100,000 of them.
_DURATIONS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)

# A `_created` series beside each counter and histogram would be a third of all series; process_start_time_seconds says
# as much. The library knows this switch for the whole process only.
disable_created_metrics()  # type: ignore[no-untyped-call]  # the library has no annotation


class ApiMetrics:
    """Metrics of a process and of its connection to the API server, which agents and the controller share.

    Attributes:
        registry: the metrics of this instance alone; several agents in one process (as in tests) count apart.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        Info(f"{PREFIX}_build", "Version of the program.", registry=self.registry).info({"version": __version__})
        self.watch_restarts = self._counter(
            "watch_restarts", "Times that the watch of the API server ended and was restarted."
        )
        self.watch_running = self._gauge("watch_running", "1 while the watch of the API server runs, else 0.")
        self.watch_last_event = self._gauge(
            "watch_last_event_timestamp_seconds", "Unix time of the last event from the watch of the API server."
        )
        self.lists = self._counter(
            "lists",
            "Complete lists of objects requested from the API server, by result: `ok`, the HTTP status of an error, or"
            " `no answer`.",
            result=RESULTS,
        )
        self.last_list = self._gauge(
            "last_list_timestamp_seconds", "Unix time of the last complete list of objects received."
        )

    def _gauge(self, name: str, text: str, labels: tuple[str, ...] = ()) -> Gauge:
        return Gauge(f"{PREFIX}_{name}", text, labels, registry=self.registry)

    def _counter(self, name: str, text: str, **labels: tuple[str, ...]) -> Counter:
        """Create a counter, with 0 for each known value of its label.

        A series that first appears with the value 1 has no increase: an alert on the first failure would not fire.
        """
        counter = Counter(f"{PREFIX}_{name}", text, tuple(labels), registry=self.registry)
        for label, values in labels.items():
            for value in values:
                counter.labels(**{label: value})
        return counter

    def _duration(self, name: str, text: str) -> Histogram:
        return Histogram(f"{PREFIX}_{name}_duration_seconds", text, registry=self.registry, buckets=_DURATIONS)

    def describe(self) -> list[tuple[str, str, str]]:
        """Return name, type and description of every metric."""
        families = sorted(self.registry.collect(), key=lambda family: family.name)
        suffixes = {"counter": "_total", "info": "_info"}
        return [(each.name + suffixes.get(each.type, ""), each.type, each.documentation) for each in families]


class ObservedGateway(NamedTuple):
    """Measurements of one gateway.

    Attributes:
        gateway: address.
        interface: name of the interface through which the gateway is probed.
        check: description of the health check, such as ``ICMP every 1 s``.
        up: True while the gateway answers, False while it is down; None before the first result.
        rtt: round-trip time in seconds; None while the gateway does not answer.
        sent: probes sent whose result is known.
        lost: probes among them without a correct answer in time.
        flaps: changes from up to down.
        held_until: Unix time until which a gateway that flaps stays down; 0 without a hold-down.
    """

    gateway: str
    interface: str
    check: str
    up: bool | None
    rtt: float | None
    sent: int
    lost: int
    flaps: int
    held_until: float = 0.0


class _Gateways(Collector):
    """Collector that reads the gateways at scrape time."""

    def __init__(self) -> None:
        self.source: Callable[[], Iterable[ObservedGateway]] = tuple

    def collect(self) -> Iterator[Metric]:
        """Yield the same series for each gateway; a gateway that does not answer has no round-trip time."""
        labels = ("gateway", "interface", "check")
        up = GaugeMetricFamily(
            f"{PREFIX}_gateway_up",
            "1 while a probed gateway answers, 0 while it is down; none before the first result.",
            labels=labels,
        )
        rtt = GaugeMetricFamily(
            f"{PREFIX}_gateway_rtt_seconds", "Smoothed round-trip time of the probes to a gateway.", labels=labels
        )
        sent = CounterMetricFamily(f"{PREFIX}_gateway_probes", "Probes sent to a gateway.", labels=labels)
        lost = CounterMetricFamily(
            f"{PREFIX}_gateway_probe_losses", "Probes to a gateway without a correct answer in time.", labels=labels
        )
        flaps = CounterMetricFamily(f"{PREFIX}_gateway_flaps", "Changes of a gateway from up to down.", labels=labels)
        held = GaugeMetricFamily(
            f"{PREFIX}_gateway_held_until_timestamp_seconds",
            "Unix time until which a gateway that failed again and again stays down even if it answers; 0 without a"
            " hold-down.",
            labels=labels,
        )
        # Checks that differ only in fields without a label would make duplicate series: the last one counts.
        for each in {one[:3]: one for one in self.source()}.values():
            if each.up is not None:
                up.add_metric(each[:3], float(each.up))
            if each.rtt is not None:
                rtt.add_metric(each[:3], each.rtt)
            sent.add_metric(each[:3], each.sent)
            lost.add_metric(each[:3], each.lost)
            flaps.add_metric(each[:3], each.flaps)
            held.add_metric(each[:3], each.held_until)
        yield from (up, rtt, sent, lost, flaps, held)


class _Unreadable(Collector):
    """Collector that reads the numbers of unreadable messages at scrape time."""

    def __init__(self) -> None:
        self.source: Callable[[], Mapping[str, int]] = dict

    def collect(self) -> Iterator[Metric]:
        """Yield a series for each kind of message."""
        found = CounterMetricFamily(
            f"{PREFIX}_unreadable_messages",
            "Messages that were passed over because they could not be read or were not from the kernel, by kind.",
            labels=("kind",),
        )
        for kind, number in sorted(self.source().items()):
            found.add_metric((kind,), number)
        yield found


class Metrics(ApiMetrics):
    """All metrics of one agent."""

    def __init__(self) -> None:
        super().__init__()
        gauge, counter = self._gauge, self._counter
        self.desired_routes = gauge("desired_routes", "Routes that this node should have.")
        self.installed_routes = gauge("installed_routes", "Routes of this program that are in this node's kernel.")
        self.failed_routes = gauge(
            "failed_routes", "Routes that the kernel refused, including conflicts with routes of other programs."
        )
        self.conflicting_routes = gauge(
            "conflicting_routes",
            "Routes that can't be installed because a route of another program has the same destination, table and"
            " metric, or that are installed while packets take another program's route.",
        )
        self.flapping_routes = gauge(
            "flapping_routes", "Routes that another program removes or replaces again and again."
        )
        self.newly_protected_routes = gauge(
            "newly_protected_routes",
            "Routes that stay in force although an address of the cluster has become known that they capture.",
        )
        self.objects = gauge("objects", "StaticRoutes known to this agent, including those for other nodes.")
        self._static_routes = gauge("static_routes", "StaticRoutes that select this node, by state.", ("state",))
        self.count_states(())
        self.synced = gauge("synced", "1 after a complete list of objects was received and applied, else 0.")
        self.last_success = gauge(
            "last_success_timestamp_seconds", "Unix time of the last run that left the kernel as desired."
        )
        self.operations = counter(
            "operations",
            "Changes of routes requested from the kernel, by action.",
            action=tuple(each.value for each in Action),
        )
        self.operation_failures = counter("operation_failures", "Changes of routes that the kernel refused.")
        self.operations_duration = self._duration(
            "operations", "Time from the first change of routes in a run to the kernel's last answer."
        )
        self.reconcile_duration = self._duration(
            "reconcile", "Time from the start of a run to the kernel's last answer."
        )
        self.reconcile_errors = counter("reconcile_errors", "Runs that failed as a whole and were repeated.")
        self.consecutive_reconcile_errors = gauge(
            "consecutive_reconcile_errors", "Runs that have failed as a whole since the last one that did not."
        )
        self._unreadable = _Unreadable()
        self.registry.register(self._unreadable)
        self.drift = counter("drift", "Routes of this program that another program changed or removed.")
        self.drift_repairs = counter(
            "drift_repairs", "Routes that were restored after another program changed or removed them."
        )
        self.monitor_overflows = counter(
            "monitor_overflows", "Times that the kernel dropped notifications; all routes are read again each time."
        )
        self.rollbacks = counter(
            "rollbacks", "Versions of StaticRoutes that were rolled back because they cut this node off."
        )
        self._gateways = _Gateways()
        self.registry.register(self._gateways)
        self.state_writes = counter(
            "state_writes",
            "Writes of this node's NodeRouteState, by result: `ok`, the HTTP status of an error, or `no answer`.",
            result=RESULTS,
        )

    def watch_gateways(self, source: Callable[[], Iterable[ObservedGateway]]) -> None:
        """Set the callback that supplies the gateways at scrape time."""
        self._gateways.source = source

    def watch_unreadable(self, source: Callable[[], Mapping[str, int]]) -> None:
        """Set the callback that supplies the numbers of unreadable messages, by kind, at scrape time."""
        self._unreadable.source = source

    def count_states(self, states: Collection[RowState]) -> None:
        """Set the number of StaticRoutes in each state; a state without any is 0."""
        for state in RowState:
            self._static_routes.labels(state.value).set(sum(each is state for each in states))


class StandaloneMetrics(Metrics):
    """All metrics of a process that takes StaticRoutes from files."""

    def __init__(self) -> None:
        super().__init__()
        self.manifest_problems = self._gauge(
            "manifest_problems",
            "Problems of the manifests of `run`: files that are not in force as they are, or a directory that can't be"
            " read.",
        )


class ControllerMetrics(ApiMetrics):
    """All metrics of the controller."""

    def __init__(self) -> None:
        super().__init__()
        self.nodes = self._gauge("controller_nodes", "Nodes known to the controller.")
        self.objects = self._gauge("controller_objects", "StaticRoutes known to the controller.")
        self.status_writes = self._counter(
            "status_writes",
            "Writes of a StaticRoute's status, by result: `ok`, the HTTP status of an error, or `no answer`.",
            result=RESULTS,
        )
        self.wrong_claims = self._gauge(
            "nodes_with_wrong_addresses", "Nodes that claim addresses or pod ranges which are not protected therefore."
        )
        self.events = self._counter(
            "events",
            "Writes of Events, by result: `ok`, the HTTP status of an error, or `no answer`.",
            result=RESULTS,
        )
