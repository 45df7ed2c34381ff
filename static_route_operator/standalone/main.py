"""The engine of a node without Kubernetes, fed from a directory of manifests."""

import asyncio
import contextlib
import logging
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
from static_route_operator.supervision import run_until, stop_on_signals

logger = logging.getLogger(__name__)

# Milliseconds in which changes of files are collected: files written together are read together.
DEBOUNCE = 100


@dataclass(frozen=True, slots=True)
class _Host:
    """The parts of the engine."""

    inventory: Inventory
    metrics: Metrics
    confirmation: Confirmation
    reconciler: Reconciler


def _start(settings: Settings, labels: Mapping[str, str], *, provisional: bool = False) -> _Host:
    metrics = Metrics()
    inventory = Inventory()
    protected = Protected(settings.protected, settings.claim_grace_seconds)

    def look_at_protected() -> Protection:
        protected.look_again()
        return protected.protection

    confirmation = Confirmation.of(settings, inventory, metrics) if provisional else Confirmation(inventory, metrics)
    # The directory supplies the objects but not which versions were rolled back; restore those.
    confirmation.recall()
    reconciler = Reconciler(
        inventory,
        metrics,
        protected=look_at_protected,
        confirmation=confirmation,
        resync=settings.resync_seconds,
    )
    inventory.on_change.connect(reconciler.wake)
    inventory.set_node(Node(settings.node_name or socket.gethostname(), labels))
    return _Host(inventory, metrics, confirmation, reconciler)


async def apply_once(
    directory: Path, settings: Settings, labels: Mapping[str, str]
) -> tuple[dict[str, Any], list[str]]:
    """Bring the kernel to what the manifests ask for, once.

    Returns:
        The result of `Introspection.routes`, and the problems of the manifests.
    """
    host = _start(settings, labels)
    reconciler, manifests = host.reconciler, ManifestDirectory(directory, host.inventory)
    manifests.load()
    await DryRuns(host.inventory, reconciler, Planner(host.inventory, reconciler)).plan()
    await reconciler.run_to_end()
    return Introspection(host.inventory, reconciler).routes(), manifests.problems


async def forecast(question: Mapping[str, Any], settings: Settings, labels: Mapping[str, str]) -> dict[str, Any]:
    """Predict the changes that manifests would make on this host, where no process keeps the routes.

    See `Planner.answer`.
    """
    host = _start(settings, labels)
    try:
        return await Planner(host.inventory, host.reconciler).answer(question)
    finally:
        host.reconciler.close()


async def run(directory: Path, settings: Settings, labels: Mapping[str, str]) -> None:
    """Keep the kernel at what the manifests ask for until SIGTERM or SIGINT. The routes stay."""
    from static_route_operator.observability.http import HttpServer  # noqa: PLC0415  takes 0.2 s; needed here alone

    stop = stop_on_signals()
    host = _start(settings, labels, provisional=True)
    reconciler, confirmation = host.reconciler, host.confirmation
    manifests = ManifestDirectory(directory, host.inventory)
    planner = Planner(host.inventory, reconciler)
    dry_runs = DryRuns(host.inventory, reconciler, planner)
    host.inventory.on_change.connect(dry_runs.wake)
    server = HttpServer(
        host.metrics, lambda: reconciler.synced, Introspection(host.inventory, reconciler).handlers, planner.answer
    )
    async with contextlib.AsyncExitStack() as last:
        if settings.http_port:
            await server.start(settings.http_address, settings.http_port, settings.metrics_address)
        last.push_async_callback(server.stop)
        last.push_async_callback(confirmation.stop)
        jobs = (reconciler.run(), confirmation.run(), dry_runs.run(), _watch(directory, manifests, stop))
        await run_until(stop, jobs, confirmation.conclude)
    if routes := len(reconciler.installed):
        logger.info(
            "Stopped; %d routes stay in the kernel. To remove them: empty %s and run with --once,"
            " or `ip route flush proto %d` and `ip -6 route flush proto %d`",
            routes,
            directory,
            PROTOCOL,
            PROTOCOL,
        )


async def _watch(directory: Path, manifests: ManifestDirectory, stop: asyncio.Event) -> None:
    from watchfiles import awatch  # noqa: PLC0415  needed here alone

    # awatch watches from before its first wait, and the first load follows that wait: no change in between is missed.
    asyncio.get_running_loop().call_soon(manifests.load)
    async for _ in awatch(directory, stop_event=stop, debounce=DEBOUNCE, step=DEBOUNCE // 2, recursive=False):
        manifests.load()
