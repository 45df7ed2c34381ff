"""Probes, metrics and the node's routes over HTTP.

An agent serves them on loopback: under host networking all other addresses are the node's.
"""

from collections.abc import Callable
from typing import Any

from aiohttp import web

from static_route_operator.errors import SettingsError
from static_route_operator.observability.metrics import ApiMetrics


class HttpServer:
    """Serves ``/healthz``, ``/readyz``, ``/metrics`` and ``/routes``.

    Args:
        metrics: what /metrics shows.
        ready: whether this process has done its first work; /readyz answers 503 until then.
        report: what /routes shows, as a JSON object; a process without routes has none.
    """

    def __init__(
        self, metrics: ApiMetrics, ready: Callable[[], bool], report: Callable[[], dict[str, Any]] | None = None
    ) -> None:
        self._metrics = metrics
        self._ready = ready
        self._report = report
        self._runner: web.AppRunner | None = None

    async def start(self, address: str, port: int) -> None:
        """Listen.

        Raises:
            SettingsError: the port is taken, or the address is not this host's.
        """
        app = web.Application()
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/metrics", self._serve_metrics)
        if self._report is not None:
            app.router.add_get("/routes", self._routes)
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, address, port).start()
        except OSError as error:
            await self.stop()
            raise SettingsError(f"--http-address, --http-port: can't listen on {address}:{port}: {error}") from error

    async def stop(self) -> None:
        """Stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _healthz(self, _: web.Request) -> web.Response:
        # That this is answered at all shows that the event loop turns.
        return web.Response(text="ok\n")

    async def _readyz(self, _: web.Request) -> web.Response:
        if self._ready():
            return web.Response(text="ok\n")
        return web.Response(text="not ready: no complete list of StaticRoutes has been taken in yet\n", status=503)

    async def _serve_metrics(self, _: web.Request) -> web.Response:
        return web.Response(
            body=self._metrics.exposition(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
        )

    async def _routes(self, _: web.Request) -> web.Response:
        return web.json_response(self._report() if self._report else {})
