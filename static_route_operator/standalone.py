"""The same engine without Kubernetes: fed from a directory of manifests."""

import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from watchfiles import awatch

from static_route_operator.forecaster import Forecaster
from static_route_operator.inventory import Inventory
from static_route_operator.manifests import ManifestDirectory
from static_route_operator.observability.http import HttpServer
from static_route_operator.observability.metrics import Metrics
from static_route_operator.planning.facts import Node
from static_route_operator.planning.protection import Protection
from static_route_operator.planning.routes import PROTOCOL
from static_route_operator.protected import Protected
from static_route_operator.reconciler import Reconciler
from static_route_operator.settings import Settings

logger = logging.getLogger(__name__)

# Files that are written together are read together. Milliseconds.
DEBOUNCE = 100


def _start(settings: Settings, labels: Mapping[str, str]) -> tuple[Inventory, Reconciler, Metrics]:
    metrics = Metrics()
    inventory = Inventory()
    protected = Protected(settings.protected)

    def look_at_protected() -> Protection:
        protected.look_at_resolver()
        return protected.protection

    reconciler = Reconciler(inventory, metrics, protected=look_at_protected, resync=settings.resync_seconds)
    inventory.on_change = reconciler.wake
    inventory.set_node(Node(settings.node_name or socket.gethostname(), labels))
    return inventory, reconciler, metrics


async def apply_once(
    directory: Path, settings: Settings, labels: Mapping[str, str]
) -> tuple[dict[str, Any], list[str]]:
    """Make the kernel what the manifests want, once.

    Returns:
        The report of the reconciler, and what was wrong with the manifests.
    """
    inventory, reconciler, _ = _start(settings, labels)
    manifests = ManifestDirectory(directory, inventory)
    manifests.load()
    await reconciler.run_to_end()
    return reconciler.report(), manifests.problems


async def forecast(question: Mapping[str, Any], settings: Settings, labels: Mapping[str, str]) -> dict[str, Any]:
    """What manifests would do on this host, as far as that is known without a process that keeps its routes.

    See `Forecaster.answer`.
    """
    inventory, reconciler, _ = _start(settings, labels)
    try:
        return await Forecaster(inventory, reconciler).answer(question)
    finally:
        reconciler.close()


async def run(directory: Path, settings: Settings, labels: Mapping[str, str]) -> None:
    """Keep the kernel what the manifests want, until SIGTERM or SIGINT. The routes stay."""
    inventory, reconciler, metrics = _start(settings, labels)
    manifests = ManifestDirectory(directory, inventory)
    stop = asyncio.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(signum, stop.set)
    forecaster = Forecaster(inventory, reconciler)
    server = HttpServer(metrics, lambda: reconciler.synced, reconciler.questions, forecaster.answer)
    if settings.http_port:
        await server.start(settings.http_address, settings.http_port, settings.metrics_address)
    tasks = [asyncio.create_task(reconciler.run()), asyncio.create_task(_watch(directory, manifests, stop))]
    stopped = asyncio.create_task(stop.wait())
    try:
        done, _ = await asyncio.wait([*tasks, stopped], return_when=asyncio.FIRST_COMPLETED)
        for task in done & set(tasks):
            if not stop.is_set():
                task.result()
    finally:
        routes = len(reconciler.report()["routes"])
        for task in (*tasks, stopped):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        await server.stop()
    if routes:
        logger.info(
            "Stopped; %d routes stay in the kernel. To remove them: empty %s and run with --once,"
            " or `ip route flush proto %d` and `ip -6 route flush proto %d`",
            routes,
            directory,
            PROTOCOL,
            PROTOCOL,
        )


async def _watch(directory: Path, manifests: ManifestDirectory, stop: asyncio.Event) -> None:
    # awatch begins to watch before it first waits, and this comes after: nothing written in between is missed.
    asyncio.get_running_loop().call_soon(manifests.load)
    async for _ in awatch(directory, stop_event=stop, debounce=DEBOUNCE, step=DEBOUNCE // 2, recursive=False):
        manifests.load()
