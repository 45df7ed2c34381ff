"""The agent of one node: watch, list, reconcile; and at the end, find out whether the routes should stay."""

import asyncio
import contextlib
import logging
import random
import signal
from collections.abc import Iterable, Iterator

from static_route_operator.api.noderoutestate import NodeRouteState
from static_route_operator.cluster.api import WRITE_TIMEOUT, Api
from static_route_operator.cluster.departure import Verdict, decide
from static_route_operator.cluster.listing import Listing
from static_route_operator.cluster.nodestate import NodeStateWriter
from static_route_operator.cluster.watch import Watch
from static_route_operator.errors import ApiError, InvalidPrefixError, SettingsError
from static_route_operator.inventory import Inventory
from static_route_operator.observability.http import HttpServer
from static_route_operator.observability.metrics import Metrics
from static_route_operator.prefixes import pack_address
from static_route_operator.reconciler import Reconciler
from static_route_operator.settings import ClusterSettings

logger = logging.getLogger(__name__)

# Link-local or not, it is reached by whatever route there is, and identity and boot data come from it.
METADATA_SERVICE = {"169.254.169.254": "metadata service", "fd00:ec2::254": "metadata service"}

# Seconds between looks at the addresses of the API server.
ADDRESSES_EVERY = 600.0
# And from one that failed to the next. Seconds.
ADDRESSES_AGAIN = 30.0

# One question at departure must not use up the time for all. Seconds.
DEPARTURE_TIMEOUT = 2.0


class Protected:
    """The addresses that no route may capture, kept current.

    Args:
        configured: further addresses, separated by commas.

    Attributes:
        addresses: packed addresses, with what each is.

    Raises:
        SettingsError: one of the configured is not an address.
    """

    def __init__(self, configured: str) -> None:
        self._fixed = {pack_address(text): what for text, what in METADATA_SERVICE.items()}
        for text in filter(None, (part.strip() for part in configured.split(","))):
            try:
                self._fixed[pack_address(text)] = "protected by a setting"
            except InvalidPrefixError as error:
                raise SettingsError(f"--protected: {error}; give addresses separated by commas") from error
        self.addresses: dict[bytes, str] = dict(self._fixed)

    async def keep_current(self, api: Api, reconciler: Reconciler) -> None:
        """Ask for the API server's addresses now and then, for ever."""
        while True:
            pause = ADDRESSES_EVERY
            try:
                found = await api.addresses()
            except (ApiError, OSError) as error:
                pause = ADDRESSES_AGAIN
                logger.debug("The API server's addresses can't be asked for: %s", error)
            else:
                addresses = self._fixed | dict.fromkeys(_packed(found), "API server")
                if addresses != self.addresses:
                    self.addresses = addresses
                    reconciler.wake()
            await asyncio.sleep(pause * random.uniform(0.8, 1.2))  # noqa: S311  jitter, no secret


def _packed(texts: Iterable[str]) -> Iterator[bytes]:
    for text in texts:
        try:
            yield pack_address(text)
        except InvalidPrefixError as error:
            logger.warning("An address of the API server can't be protected: %s", error)


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

    def node_state() -> NodeRouteState | None:
        node = inventory.node
        # While something is not known yet, a row that is missing would be a lie.
        if node is None or not inventory.complete or not reconciler.synced:
            return None
        return NodeRouteState(node.name, node.uid, reconciler.rows, reconciler.gateways)

    watch = Watch(settings.node_name, inventory, metrics)
    writer = NodeStateWriter(Api(WRITE_TIMEOUT), node_state, watch.reach, metrics)
    reconciler = Reconciler(
        inventory,
        metrics,
        protected=lambda: protected.addresses,
        on_rows=writer.wake,
        resync=settings.resync_seconds,
    )

    def changed() -> None:
        reconciler.wake()
        # Of a new Node, or of a first list without any StaticRoute, no row would tell.
        writer.wake()

    inventory.on_change = changed
    server = HttpServer(metrics, lambda: reconciler.synced, reconciler.questions)
    if settings.http_port:
        await server.start(settings.http_address, settings.http_port, settings.metrics_address)
    listing = Listing(api, inventory, watch, metrics, settings.list_seconds)
    watch.on_relist = listing.request
    watch.start()
    stopped = loop.create_task(stop.wait())
    jobs = (reconciler.run(), listing.run(), protected.keep_current(api, reconciler), writer.run())
    tasks = [loop.create_task(job) for job in jobs]
    logger.info("Agent of node %s started", settings.node_name)
    try:
        done, _ = await asyncio.wait([*tasks, stopped], return_when=asyncio.FIRST_COMPLETED)
        for task in done - {stopped}:
            # None of them ends by itself: this raises what went wrong.
            task.result()
        await _depart(settings, inventory, reconciler)
    finally:
        for task in (*tasks, stopped):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        await watch.stop()
        await server.stop()


async def _depart(settings: ClusterSettings, inventory: Inventory, reconciler: Reconciler) -> None:
    if not settings.daemonset:
        logger.info("Stopping; routes stay (no DaemonSet to ask about)")
        return
    labels = inventory.node.labels if inventory.node else {}
    verdict = await decide(Api(DEPARTURE_TIMEOUT).get, settings.namespace, settings.daemonset, labels)
    if verdict is Verdict.KEEP:
        logger.info("Stopping; routes stay")
        return
    logger.info("Stopping; %d routes removed", await reconciler.remove_all())
