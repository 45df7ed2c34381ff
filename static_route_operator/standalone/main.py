"""The engine of a node without Kubernetes, fed from a directory of manifests."""

import asyncio
import contextlib
import hashlib
import logging
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from static_route_operator.api.nodeselector import Node
from static_route_operator.errors import ManifestError
from static_route_operator.node.dryruns import DryRuns
from static_route_operator.node.hostlock import HostHeldError, HostLock
from static_route_operator.node.introspection import Introspection
from static_route_operator.node.inventory import Inventory
from static_route_operator.node.planner import Planner
from static_route_operator.node.protected import Protected
from static_route_operator.node.reconciler import Reconciler
from static_route_operator.node.rollback.confirmation import Confirmation
from static_route_operator.node.state.snapshot import Snapshot
from static_route_operator.observability.metrics import StandaloneMetrics
from static_route_operator.routing.nexthops import PROTOCOL
from static_route_operator.routing.protection import Protection
from static_route_operator.settings import Settings, StandaloneSettings
from static_route_operator.standalone.manifests import ManifestDirectory
from static_route_operator.standalone.watch import DirectoryWatch
from static_route_operator.supervision import AROUND, in_daemon_thread, run_until, stop_on_signals

logger = logging.getLogger(__name__)

_Confirmations = Callable[[Inventory, StandaloneMetrics], Confirmation]

# Seconds to wait for another engine to end, as in a restart. Its last changes may have to be confirmed first.
HOST_PATIENCE = 15.0
# Seconds for which nothing may change in the directory before routes are removed.
QUIET = 1.0
# Seconds after which a read of the directory counts as one that may never end.
READ_PATIENCE = 10.0


@dataclass(frozen=True, slots=True)
class _Host:
    """The parts of the engine, and what the last run left."""

    inventory: Inventory
    metrics: StandaloneMetrics
    confirmation: Confirmation
    reconciler: Reconciler
    remembered: Snapshot


def _start(settings: Settings, labels: Mapping[str, str], confirmation_of: _Confirmations) -> _Host:
    metrics = StandaloneMetrics()
    inventory = Inventory()
    protected = Protected(settings.protected, settings.claim_grace_seconds)

    def look_at_protected() -> Protection:
        protected.look_again()
        return protected.protection

    confirmation = confirmation_of(inventory, metrics)
    # The directory supplies the objects but not which versions were rolled back; restore those.
    remembered = confirmation.recall()
    reconciler = Reconciler(
        inventory,
        metrics,
        protected=look_at_protected,
        confirmation=confirmation,
        resync=settings.resync_seconds,
    )
    inventory.on_change.connect(reconciler.wake)
    inventory.set_node(Node(settings.node_name or socket.gethostname(), labels))
    return _Host(inventory, metrics, confirmation, reconciler, remembered)


def _start_in(
    directory: Path, settings: StandaloneSettings, labels: Mapping[str, str], *, check: bool
) -> tuple[_Host, ManifestDirectory]:
    """Start the engine for a directory; `check` lets it roll back changes."""

    def confirmation(inventory: Inventory, metrics: StandaloneMetrics) -> Confirmation:
        return Confirmation.of(settings, inventory, metrics, state_name=_state_name(directory), check=check)

    host = _start(settings, labels, confirmation)
    manifests = ManifestDirectory(
        directory,
        host.inventory,
        confirmed=[route for route, _ in host.remembered.routes],
        rolled_back=host.remembered.rolled_back,
        quiet=QUIET if check else 0.0,
        clock=time.monotonic,
    )
    return host, manifests


def _state_name(directory: Path) -> str:
    """Return a name for the state of a directory, as it was named: where its links lead to may change."""
    path = str(directory.absolute())
    return f"run-{hashlib.blake2b(path.encode(errors='surrogateescape'), digest_size=8).hexdigest()}"


async def apply_once(
    directory: Path, settings: StandaloneSettings, labels: Mapping[str, str]
) -> tuple[dict[str, Any], list[str]]:
    """Bring the kernel to what the manifests ask for, once.

    Returns:
        The result of `Introspection.routes`, and the problems of the manifests.

    Raises:
        HostHeldError: another engine keeps the routes of this host.
        ManifestError: the directory takes too long to read.
    """
    lock = HostLock(f"`run --once --manifests {directory}`")
    if not await lock.acquire(stop_on_signals(), HOST_PATIENCE):
        raise HostHeldError("ended while another engine kept the routes of this host; nothing was changed")
    try:
        host, manifests = _start_in(directory, settings, labels, check=False)
        reconciler = host.reconciler
        try:
            async with asyncio.timeout(READ_PATIENCE):
                manifests.take(await in_daemon_thread(manifests.read))
        except TimeoutError:
            raise ManifestError(f"{directory}: can't be read within {READ_PATIENCE:g} s") from None
        await DryRuns(host.inventory, reconciler, Planner(host.inventory, reconciler)).plan()
        await reconciler.run_to_end()
        await host.confirmation.stop()
    finally:
        lock.release()
    return Introspection(host.inventory, reconciler).routes(), manifests.problems


async def forecast(question: Mapping[str, Any], settings: Settings, labels: Mapping[str, str]) -> dict[str, Any]:
    """Predict the changes that manifests would make on this host, where no process keeps the routes.

    See `Planner.answer`.
    """
    host = _start(settings, labels, Confirmation)
    try:
        return await Planner(host.inventory, host.reconciler).answer(question)
    finally:
        host.reconciler.close()


async def run(directory: Path, settings: StandaloneSettings, labels: Mapping[str, str]) -> None:
    """Keep the kernel at what the manifests ask for until SIGTERM or SIGINT. The routes stay.

    Raises:
        HostHeldError: another engine keeps the routes of this host.
    """
    from static_route_operator.observability.http import HttpServer  # noqa: PLC0415  takes 0.2 s; needed here alone

    stop = stop_on_signals()
    async with contextlib.AsyncExitStack() as last:
        lock = HostLock(f"`run --manifests {directory}`")
        last.callback(lock.release)
        if not await lock.acquire(stop, HOST_PATIENCE):
            return
        host, manifests = _start_in(directory, settings, labels, check=True)
        reconciler, confirmation = host.reconciler, host.confirmation
        planner = Planner(host.inventory, reconciler)
        dry_runs = DryRuns(host.inventory, reconciler, planner)
        host.inventory.on_change.connect(dry_runs.wake)
        server = HttpServer(
            host.metrics,
            lambda: reconciler.synced,
            Introspection(host.inventory, reconciler).handlers,
            planner.answer,
            obstacle=lambda: _obstacle(manifests),
        )
        if settings.http_port:
            await server.start(settings.http_address, settings.http_port, settings.metrics_address)
        last.push_async_callback(server.stop)
        last.push_async_callback(confirmation.stop)
        follow = _follow(directory, manifests, host.metrics, settings.read_seconds)
        jobs = (reconciler.run(), confirmation.run(), dry_runs.run(), follow)
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


def _obstacle(manifests: ManifestDirectory) -> str:
    """Return the first problem of the manifests, and the number of the others; empty if there is none."""
    if not manifests.problems:
        return ""
    first, *others = manifests.problems
    return first + (f" (and {len(others)} more)" if others else "")


async def _follow(directory: Path, manifests: ManifestDirectory, metrics: StandaloneMetrics, interval: float) -> None:
    """Read the directory at once, after each change, and at an interval, until cancelled."""
    loop = asyncio.get_running_loop()
    due = loop.time()
    async for changed in DirectoryWatch(directory, manifests.lost).ticks():
        if changed or manifests.unsettled or loop.time() >= due:
            await _load(manifests, metrics)
            due = loop.time() + AROUND.of(interval)


async def _load(manifests: ManifestDirectory, metrics: StandaloneMetrics) -> None:
    reading = asyncio.ensure_future(in_daemon_thread(manifests.read))
    await asyncio.wait({reading}, timeout=READ_PATIENCE)
    if not reading.done():
        manifests.stuck(READ_PATIENCE)
        metrics.manifest_problems.set(len(manifests.problems))
    manifests.take(await reading)
    metrics.manifest_problems.set(len(manifests.problems))
