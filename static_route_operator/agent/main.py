"""The agent of one node: watches and lists objects, reconciles routes, and decides at the end whether they stay."""

import asyncio
import contextlib
import logging

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
from static_route_operator.node.hostlock import HostLock
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
from static_route_operator.supervision import run_until, stop_on_signals

logger = logging.getLogger(__name__)

# Seconds for one request of the shutdown decision: a lost one must leave time for others.
SHUTDOWN_TIMEOUT = 2.0


async def run(settings: ClusterSettings) -> None:
    """Run until SIGTERM or SIGINT.

    Raises:
        SettingsError: a setting can't be used.
    """
    if not settings.node_name:
        raise SettingsError("--node-name (NODE_HOSTNAME) is not set; in the DaemonSet it comes from spec.nodeName")
    stop = stop_on_signals()
    metrics = Metrics()
    lock = HostLock(f"agent of node {settings.node_name}, DaemonSet {settings.namespace}/{settings.daemonset}")
    try:
        if await _wait_for_host(lock, settings, metrics, stop):
            await _run(settings, metrics, stop)
    finally:
        lock.release()


async def _wait_for_host(lock: HostLock, settings: ClusterSettings, metrics: Metrics, stop: asyncio.Event) -> bool:
    """Wait until no other engine keeps the routes of this host; return False if an event is set before.

    During a rolling update with a surge the agent before this one still runs. While it does, this one is alive and not
    ready; where the other serves the same port, it also answers the probes of this one.
    """
    if (holder := await lock.take()) is None:
        return True
    server = HttpServer(metrics, lambda: False, obstacle=lambda: f"another engine keeps the routes: {holder}")
    async with contextlib.AsyncExitStack() as last:
        last.push_async_callback(server.stop)
        if settings.http_port:
            with contextlib.suppress(SettingsError):
                await server.start(settings.http_address, settings.http_port)
        return await lock.acquire(stop)


async def _run(settings: ClusterSettings, metrics: Metrics, stop: asyncio.Event) -> None:
    inventory = Inventory()
    protected = Protected(settings.protected, settings.claim_grace_seconds)
    api = Api()
    addresses = Addresses(api, protected, settings.namespace)
    confirmation = Confirmation.of(
        settings, inventory, metrics, server=lambda: _endpoint(api), protected=lambda: protected.reported
    )
    _recall(confirmation, inventory, protected)

    def node_state() -> NodeRouteState | None:
        node = inventory.node
        # Report nothing until all objects are known: a missing row would read as "not selected", and an unconfirmed
        # change has no outcome yet.
        if node is None or not inventory.complete or not reconciler.synced or confirmation.open:
            return None
        return NodeRouteState(node.name, node.uid, reconciler.rows, reconciler.gateways)

    staged = default_rollout(settings.rollout) is not None
    watch = Watch(settings.node_name, inventory, metrics, staged=staged)
    writer = NodeStateWriter(Api(WRITE_TIMEOUT), node_state, watch.counts, metrics)
    reconciler = Reconciler(
        inventory,
        metrics,
        protected=lambda: protected.protection,
        on_rows=writer.wake,
        confirmation=confirmation,
        resync=settings.resync_seconds,
    )
    planner = Planner(inventory, reconciler)
    dry_runs = DryRuns(inventory, reconciler, planner)
    listing = Listing(api, inventory, watch, metrics, settings.list_seconds)
    # A new Node, or an empty first list, changes no row, so the writer listens to the inventory too.
    inventory.on_change.connect(reconciler.wake, writer.wake, dry_runs.wake)
    protected.on_change.connect(reconciler.wake)
    watch.on_relist.connect(listing.request, confirmation.look_again)
    server = HttpServer(
        metrics, lambda: reconciler.synced, Introspection(inventory, reconciler).handlers, planner.answer
    )

    async def watch_cluster() -> None:
        # Load the protected addresses first, so no StaticRoute is planned without them.
        await addresses.load()
        watch.start()
        await asyncio.gather(addresses.keep_current(), addresses.watch())

    async def shut_down() -> None:
        await _shut_down(settings, inventory, reconciler, confirmation)

    async with contextlib.AsyncExitStack() as last:
        if settings.http_port:
            await server.start(settings.http_address, settings.http_port, settings.metrics_address)
        last.push_async_callback(server.stop)
        last.push_async_callback(watch.stop)
        last.push_async_callback(confirmation.stop)
        logger.info("Agent of node %s started", settings.node_name)
        jobs = (reconciler.run(), listing.run(), watch_cluster(), writer.run(), confirmation.run(), dry_runs.run())
        await run_until(stop, jobs, shut_down)


def _endpoint(api: Api) -> Endpoint | None:
    """Return the API server as an endpoint that the node must reach; None without credentials."""
    server = api.server()
    return server and TcpEndpoint("API server", server.host, server.port, context=server.context)


def _recall(confirmation: Confirmation, inventory: Inventory, protected: Protected) -> None:
    """Restore the state that the last agent of this node kept."""
    known = confirmation.recall()
    inventory.remember(known.node, known.routes)
    for source, what in known.protected.items():
        protected.put(source, what)
    if known.routes:
        logger.info(
            "The last known good versions of %d StaticRoutes are in force until the API server answers",
            len(known.routes),
        )


async def _shut_down(
    settings: ClusterSettings, inventory: Inventory, reconciler: Reconciler, confirmation: Confirmation
) -> None:
    """Decide whether the routes stay, and act on it."""
    decision = ShutdownDecision.KEEP
    if settings.daemonset:
        labels = inventory.node.labels if inventory.node else {}
        decision = await decide(Api(SHUTDOWN_TIMEOUT).get, settings.namespace, settings.daemonset, labels)
    if decision is ShutdownDecision.REMOVE:
        logger.info("Stopping: %d routes removed", await reconciler.remove_all())
        await confirmation.forget()
        return
    await confirmation.conclude()
    logger.info("Stopping: routes stay%s", "" if settings.daemonset else " (the name of the DaemonSet is not set)")
