"""The controller: watch everything, put together how each StaticRoute fares, say so in its status and in Events.

No route depends on it: agents neither wait for it nor ask it anything.
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

# What comes within this is looked at together. Seconds.
COALESCE = 0.2


class Controller:
    """Keeps the statuses of all StaticRoutes true.

    Args:
        overview: what is known.
        writer: what writes them.
        recorder: what tells of their transitions.
        metrics: where to count.
    """

    def __init__(
        self, overview: ClusterState, writer: StatusWriter, recorder: EventRecorder, metrics: ControllerMetrics
    ) -> None:
        self._overview = overview
        self._writer = writer
        self._recorder = recorder
        self._metrics = metrics
        self._wake = asyncio.Event()
        overview.on_change.connect(self._wake.set)

    async def run(self) -> None:
        """Work until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await self._wake.wait()
            started = loop.time()
            if self._overview.complete:
                self._wake.clear()
                await self._look()
            # Reports of thousands of nodes keep it busy for at most half of the time.
            await asyncio.sleep(max(COALESCE, loop.time() - started))

    async def _look(self) -> None:
        subjects = self._overview.subjects.items
        self._writer.retain(subjects)
        self._recorder.retain(subjects)
        self._metrics.objects.set(len(subjects))
        self._metrics.nodes.set(len(self._overview.members.items))
        for subject in self._overview.take_changed():
            self._writer.offer(subject, self._overview.roll_up(subject))
            # Others have their turn in between: with thousands of nodes each takes milliseconds.
            await asyncio.sleep(0)


async def run(settings: ControllerSettings) -> None:
    """Run until SIGTERM or SIGINT.

    Raises:
        SettingsError: a setting can't be used.
    """
    stop = stop_on_signals()
    metrics = ControllerMetrics()
    overview = ClusterState()
    server = HttpServer(metrics, lambda: overview.complete)
    client = Client()
    recorder = EventRecorder(client, metrics)
    writer = StatusWriter(client, overview, metrics, recorder.record)
    remover = FinalizerRemover(client)
    survey = ControllerWatch(overview, metrics, default_rollout(settings.rollout))
    survey.on_finalizers.connect(remover.look_at)
    listings = [
        Listing(client, kind, survey, metrics, settings.list_seconds, path=path)
        for kind, path in (
            (overview.subjects, STATICROUTES),
            (overview.states, f"/apis/{GROUP}/{VERSION}/{STATES}"),
            (overview.members, "/api/v1/nodes"),
        )
    ]
    controller = Controller(overview, writer, recorder, metrics)
    book = AddressPublisher(client, overview, settings.namespace)
    survey.on_relist.connect(*(listing.request for listing in listings))
    async with contextlib.AsyncExitStack() as last:
        if settings.http_port:
            await server.start(settings.http_address, settings.http_port)
        last.push_async_callback(server.stop)
        last.push_async_callback(client.close)
        survey.start()
        last.push_async_callback(survey.stop)
        last.push_async_callback(remover.stop)
        logger.info("Controller started")
        jobs = [controller.run(), writer.run(), recorder.run(), book.run(), *(listing.run() for listing in listings)]
        await run_until(stop, jobs)
        logger.info("Stopping")
