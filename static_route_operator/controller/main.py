"""The program `controller`: watches the cluster and writes the status and the Events of each StaticRoute.

No route depends on the controller: agents neither wait for it nor send it requests. Only a roll-out in stages needs it.
"""

import asyncio
import contextlib
import logging

from static_route_operator.api import GROUP, VERSION
from static_route_operator.api.noderoutestate import PLURAL as STATES
from static_route_operator.api.rollout import default_rollout
from static_route_operator.cluster.listing import Listing
from static_route_operator.controller.addresspublisher import AddressPublisher
from static_route_operator.controller.client import STATICROUTES, Client
from static_route_operator.controller.clusterstate import ClusterState
from static_route_operator.controller.events import EventRecorder
from static_route_operator.controller.finalizer import FinalizerRemover
from static_route_operator.controller.statuswriter import StatusWriter
from static_route_operator.controller.watch import ControllerWatch
from static_route_operator.observability.http import HttpServer
from static_route_operator.observability.metrics import ControllerMetrics
from static_route_operator.settings import ControllerSettings
from static_route_operator.supervision import run_until, stop_on_signals

logger = logging.getLogger(__name__)

# Seconds in which changes are collected.
COALESCE = 0.2


class Controller:
    """The loop that passes the roll-up of each changed StaticRoute to the status writer.

    Args:
        state: source of the roll-ups.
        writer: writer of the statuses.
        recorder: recorder of Events; forgets deleted objects.
        metrics: numbers of objects and nodes.
    """

    def __init__(
        self, state: ClusterState, writer: StatusWriter, recorder: EventRecorder, metrics: ControllerMetrics
    ) -> None:
        self._state = state
        self._writer = writer
        self._recorder = recorder
        self._metrics = metrics
        self._wake = asyncio.Event()
        state.on_change.connect(self._wake.set)

    async def run(self) -> None:
        """Work until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await self._wake.wait()
            started = loop.time()
            if self._state.complete:
                self._wake.clear()
                await self._roll_up()
            # Reports of thousands of nodes use at most half of the time of the event loop.
            await asyncio.sleep(max(COALESCE, loop.time() - started))

    async def _roll_up(self) -> None:
        summaries = self._state.summaries.items
        self._writer.retain(summaries)
        self._recorder.retain(summaries)
        self._metrics.objects.set(len(summaries))
        self._metrics.nodes.set(len(self._state.nodes.items))
        for summary in self._state.take_changed():
            self._writer.offer(summary, self._state.roll_up(summary))
            # Let other tasks run: with thousands of nodes each roll-up takes milliseconds.
            await asyncio.sleep(0)


async def run(settings: ControllerSettings) -> None:
    """Run until SIGTERM or SIGINT.

    Raises:
        SettingsError: a setting is invalid.
    """
    stop = stop_on_signals()
    metrics = ControllerMetrics()
    state = ClusterState()
    server = HttpServer(metrics, lambda: state.complete)
    client = Client()
    recorder = EventRecorder(client, metrics)
    writer = StatusWriter(client, state, metrics, recorder.record)
    remover = FinalizerRemover(client)
    watch = ControllerWatch(state, metrics, default_rollout(settings.rollout))
    watch.on_finalizers.connect(remover.check)
    listings = [
        Listing(client, kind, watch, metrics, settings.list_seconds, path=path)
        for kind, path in (
            (state.summaries, STATICROUTES),
            (state.states, f"/apis/{GROUP}/{VERSION}/{STATES}"),
            (state.nodes, "/api/v1/nodes"),
        )
    ]
    controller = Controller(state, writer, recorder, metrics)
    publisher = AddressPublisher(client, state, settings.namespace, metrics, recorder.warn_node)
    watch.on_relist.connect(*(listing.request for listing in listings))
    async with contextlib.AsyncExitStack() as last:
        if settings.http_port:
            await server.start(settings.http_address, settings.http_port)
        last.push_async_callback(server.stop)
        last.push_async_callback(client.close)
        watch.start()
        last.push_async_callback(watch.stop)
        last.push_async_callback(remover.stop)
        logger.info("Controller started")
        jobs = [controller.run(), writer.run(), recorder.run(), publisher.run()]
        await run_until(stop, [*jobs, *(listing.run() for listing in listings)])
        logger.info("Stopping")
