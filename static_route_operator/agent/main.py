"""The agent of one node: watch, list, reconcile; and at the end, find out whether the routes should stay."""

import asyncio
import contextlib
import logging
import signal
from collections.abc import Callable

from static_route_operator.agent.addresses import Addresses
from static_route_operator.agent.nodestate import NodeStateWriter
from static_route_operator.agent.shutdown import ShutdownDecision, decide
from static_route_operator.agent.watch import Watch
from static_route_operator.api.noderoutestate import NodeRouteState
from static_route_operator.api.rollout import default_rollout
from static_route_operator.cluster.api import WRITE_TIMEOUT, Api
from static_route_operator.cluster.listing import Listing
from static_route_operator.errors import SettingsError
from static_route_operator.node.dryruns import DryRuns
from static_route_operator.node.introspection import Introspection
from static_route_operator.node.inventory import Inventory
from static_route_operator.node.planner import Planner
from static_route_operator.node.protected import Protected
from static_route_operator.node.reconciler import Reconciler
from static_route_operator.node.rollback.confirmation import Confirmation
from static_route_operator.node.rollback.endpoints import Endpoint, TcpEndpoint
from static_route_operator.observability.http import HttpServer
from static_route_operator.observability.metrics import Metrics
from static_route_operator.settings import ClusterSettings

logger = logging.getLogger(__name__)

# One question at departure must not use up the time for all. Seconds.
DEPARTURE_TIMEOUT = 2.0


async def run(settings: ClusterSettings) -> None:
    """Run until SIGTERM or SIGINT.

    Raises:
        SettingsError: a setting can't be used.
    """
    if not settings.node_name:
        raise SettingsError("--node-name (NODE_HOSTNAME) is not set; in the DaemonSet it comes from spec.nodeName")
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, stop.set)
    metrics = Metrics()
    inventory = Inventory()
    protected = Protected(settings.protected)
    api = Api()
    addresses = Addresses(api, protected, settings.namespace)
    confirmation = Confirmation.of(
        settings, inventory, metrics, server=lambda: _endpoint(api), protected=lambda: protected.reported
    )
    _recall(confirmation, inventory, protected)

    def node_state() -> NodeRouteState | None:
        node = inventory.node
        # While something is not known yet, a row that is missing would be a lie; and so would one of a trial's outcome.
        if node is None or not inventory.complete or not reconciler.synced or confirmation.open:
            return None
        return NodeRouteState(node.name, node.uid, reconciler.rows, reconciler.gateways)

    staged = default_rollout(settings.rollout) is not None
    watch = Watch(settings.node_name, inventory, metrics, settings.namespace, staged=staged)
    writer = NodeStateWriter(Api(WRITE_TIMEOUT), node_state, watch.reach, metrics)
    reconciler = Reconciler(
        inventory,
        metrics,
        protected=lambda: protected.protection,
        on_rows=writer.wake,
        confirmation=confirmation,
        resync=settings.resync_seconds,
    )

    protected.on_change = reconciler.wake
    watch.on_addresses = addresses.take
    planner = Planner(inventory, reconciler)
    dry_runs = DryRuns(inventory, reconciler, planner)
    # Of a new Node, or of a first list without any StaticRoute, no row would tell the writer.
    inventory.on_change = _all(reconciler.wake, writer.wake, dry_runs.wake)
    server = HttpServer(
        metrics, lambda: reconciler.synced, Introspection(inventory, reconciler).handlers, planner.answer
    )
    if settings.http_port:
        await server.start(settings.http_address, settings.http_port, settings.metrics_address)
    listing = Listing(api, inventory, watch, metrics, settings.list_seconds)
    watch.on_relist = _all(listing.request, confirmation.look_again)
    stopped = loop.create_task(stop.wait())

    async def watch_cluster() -> None:
        # Else a StaticRoute might be known before what it must not capture.
        await addresses.look()
        watch.start()
        await addresses.keep_current()

    jobs = (reconciler.run(), listing.run(), watch_cluster(), writer.run(), confirmation.run(), dry_runs.run())
    tasks = [loop.create_task(job) for job in jobs]
    logger.info("Agent of node %s started", settings.node_name)
    try:
        done, _ = await asyncio.wait([*tasks, stopped], return_when=asyncio.FIRST_COMPLETED)
        for task in done - {stopped}:
            # None of them ends by itself: this raises what went wrong.
            task.result()
        await _depart(settings, inventory, reconciler, confirmation)
    finally:
        for task in (*tasks, stopped):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        await confirmation.stop()
        await watch.stop()
        await server.stop()


def _all(*actions: Callable[[], None]) -> Callable[[], None]:
    """All of these as one."""

    def call() -> None:
        for action in actions:
            action()

    return call


def _endpoint(api: Api) -> Endpoint | None:
    """Return the API server as an endpoint that the node must reach; None without credentials."""
    server = api.server()
    return server and TcpEndpoint("API server", server.host, server.port, context=server.context)


def _recall(confirmation: Confirmation, inventory: Inventory, protected: Protected) -> None:
    """Begin with what was last known."""
    known = confirmation.recall()
    inventory.remember(known.node, known.routes)
    for source, what in known.protected.items():
        protected.put(source, what)
    if known.routes:
        logger.info("%d last known good StaticRoutes are in force until the API server tells", len(known.routes))


async def _depart(
    settings: ClusterSettings, inventory: Inventory, reconciler: Reconciler, confirmation: Confirmation
) -> None:
    verdict = ShutdownDecision.KEEP
    if settings.daemonset:
        labels = inventory.node.labels if inventory.node else {}
        verdict = await decide(Api(DEPARTURE_TIMEOUT).get, settings.namespace, settings.daemonset, labels)
    if verdict is ShutdownDecision.REMOVE:
        logger.info("Stopping; %d routes removed", await reconciler.remove_all())
        await confirmation.forget()
        return
    await confirmation.conclude()
    logger.info("Stopping; routes stay%s", "" if settings.daemonset else " (no DaemonSet to ask about)")
