"""The same engine without Kubernetes: fed from a directory of manifests."""

import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from static_route_operator.api.nodeselector import Node
from static_route_operator.node.dryruns import DryRuns
from static_route_operator.node.introspection import Introspection
from static_route_operator.node.inventory import Inventory
from static_route_operator.node.planner import Planner
from static_route_operator.node.protected import Protected
from static_route_operator.node.reconciler import Reconciler
from static_route_operator.node.rollback.confirmation import Confirmation
from static_route_operator.observability.metrics import Metrics
from static_route_operator.routing.nexthops import PROTOCOL
from static_route_operator.routing.protection import Protection
from static_route_operator.settings import Settings
from static_route_operator.standalone.manifests import ManifestDirectory

logger = logging.getLogger(__name__)

# Files that are written together are read together. Milliseconds.
DEBOUNCE = 100


@dataclass(frozen=True, slots=True)
class _Host:
    """The parts of the engine on this host."""

    inventory: Inventory
    metrics: Metrics
    confirmation: Confirmation
    reconciler: Reconciler


def _start(settings: Settings, labels: Mapping[str, str], *, provisional: bool = False) -> _Host:
    metrics = Metrics()
    inventory = Inventory()
    protected = Protected(settings.protected)

    def look_at_protected() -> Protection:
        protected.look_at_resolver()
        return protected.protection

    confirmation = Confirmation.of(settings, inventory, metrics) if provisional else Confirmation(inventory, metrics)
    # Of the objects the directory tells; of what was undone it does not.
    confirmation.recall()
    reconciler = Reconciler(
        inventory,
        metrics,
        protected=look_at_protected,
        confirmation=confirmation,
        resync=settings.resync_seconds,
    )
    inventory.on_change = reconciler.wake
    inventory.set_node(Node(settings.node_name or socket.gethostname(), labels))
    return _Host(inventory, metrics, confirmation, reconciler)


async def apply_once(
    directory: Path, settings: Settings, labels: Mapping[str, str]
) -> tuple[dict[str, Any], list[str]]:
    """Make the kernel what the manifests want, once.

    Returns:
        What `Introspection.routes` tells, and what was wrong with the manifests.
    """
    host = _start(settings, labels)
    reconciler, manifests = host.reconciler, ManifestDirectory(directory, host.inventory)
    manifests.load()
    await DryRuns(host.inventory, reconciler, Planner(host.inventory, reconciler)).rehearse()
    await reconciler.run_to_end()
    return Introspection(host.inventory, reconciler).routes(), manifests.problems


async def forecast(question: Mapping[str, Any], settings: Settings, labels: Mapping[str, str]) -> dict[str, Any]:
    """What manifests would do on this host, as far as that is known without a process that keeps its routes.

    See `Planner.answer`.
    """
    host = _start(settings, labels)
    try:
        return await Planner(host.inventory, host.reconciler).answer(question)
    finally:
        host.reconciler.close()


async def run(directory: Path, settings: Settings, labels: Mapping[str, str]) -> None:
    """Keep the kernel what the manifests want, until SIGTERM or SIGINT. The routes stay."""
    from static_route_operator.observability.http import HttpServer  # noqa: PLC0415  a fifth of a second, for this alone

    host = _start(settings, labels, provisional=True)
    reconciler, confirmation, metrics = host.reconciler, host.confirmation, host.metrics
    manifests = ManifestDirectory(directory, host.inventory)
    stop = asyncio.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(signum, stop.set)
    planner = Planner(host.inventory, reconciler)
    server = HttpServer(
        metrics, lambda: reconciler.synced, Introspection(host.inventory, reconciler).handlers, planner.answer
    )
    if settings.http_port:
        await server.start(settings.http_address, settings.http_port, settings.metrics_address)
    dry_runs = DryRuns(host.inventory, reconciler, planner)

    def changed() -> None:
        reconciler.wake()
        dry_runs.wake()

    host.inventory.on_change = changed
    jobs = (reconciler.run(), confirmation.run(), dry_runs.run(), _watch(directory, manifests, stop))
    tasks = [asyncio.create_task(job) for job in jobs]
    stopped = asyncio.create_task(stop.wait())
    try:
        done, _ = await asyncio.wait([*tasks, stopped], return_when=asyncio.FIRST_COMPLETED)
        for task in done & set(tasks):
            if not stop.is_set():
                task.result()
        await confirmation.conclude()
    finally:
        routes = len(reconciler.installed)
        for task in (*tasks, stopped):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        await confirmation.stop()
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
    from watchfiles import awatch  # noqa: PLC0415  for this alone

    # awatch begins to watch before it first waits, and this comes after: nothing written in between is missed.
    asyncio.get_running_loop().call_soon(manifests.load)
    async for _ in awatch(directory, stop_event=stop, debounce=DEBOUNCE, step=DEBOUNCE // 2, recursive=False):
        manifests.load()
