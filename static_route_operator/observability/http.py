"""Probes, metrics and the node's routes over HTTP.

An agent serves them on loopback: under host networking all other addresses are the node's.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

from aiohttp import web

from static_route_operator.errors import KernelError, SettingsError, StaticRouteError
from static_route_operator.observability.logs import current_level, set_level
from static_route_operator.observability.metrics import ApiMetrics
from static_route_operator.settings import LEVELS

logger = logging.getLogger(__name__)

# Of a question for a plan, in bytes: more than two of the largest objects that an API server takes. Whoever is on this
# host may ask, and must not use up the memory of a process that has little.
LARGEST_QUESTION = 4 << 20

Question = Callable[..., dict[str, Any]]


class _Level:
    """The level of the log, which whoever is on this host may change while the process runs."""

    def __init__(self) -> None:
        self._before = ""
        self._timer: asyncio.TimerHandle | None = None

    async def show(self, _: web.Request) -> web.Response:
        """What it is."""
        return web.json_response({"level": current_level()})

    async def change(self, request: web.Request) -> web.Response:
        """Make it another one: for so many seconds, or until it is changed again."""
        # The controller serves on all addresses of its pod.
        if request.remote not in {"127.0.0.1", "::1"}:
            return web.Response(text="the level is changed from within the pod only\n", status=403)
        try:
            question = await request.json()
            level, seconds = question["level"], float(question.get("seconds", 0))
        except (ValueError, TypeError, KeyError):
            level, seconds = "", 0.0
        if level not in LEVELS:
            return web.Response(text=f"a level is one of {', '.join(LEVELS)}, for a number of seconds\n", status=400)
        if self._timer is not None:
            self._timer.cancel()
        before, self._timer = self._before or current_level(), None
        self._set(level)
        if seconds > 0:
            self._before = before
            self._timer = asyncio.get_running_loop().call_later(seconds, self._set, before)
        return await self.show(request)

    def _set(self, level: str) -> None:
        self._before = ""
        if level != current_level():
            set_level(level)
            logger.warning("The level of the log is now %s", level)


class HttpServer:
    """Serves ``/healthz``, ``/readyz``, ``/metrics``, and what this process can be asked.

    Args:
        metrics: what /metrics shows.
        ready: whether this process has done its first work; /readyz answers 503 until then.
        questions: by path, what answers with a JSON object; what the path leaves open (``/claims/{address}``) are its
            arguments.
        plan: answers what is posted to /plan, a JSON object.
    """

    def __init__(
        self,
        metrics: ApiMetrics,
        ready: Callable[[], bool],
        questions: Mapping[str, Question] | None = None,
        plan: Callable[[Mapping[str, Any]], Awaitable[dict[str, Any]]] | None = None,
    ) -> None:
        self._metrics = metrics
        self._ready = ready
        self._questions = questions or {}
        self._plan = plan
        self._level = _Level()
        self._runners: list[web.AppRunner] = []

    async def start(self, address: str, port: int, metrics_address: str = "") -> None:
        """Listen.

        Args:
            address: where all is served.
            port: where, too.
            metrics_address: where /metrics alone is served as well, at the same port; nowhere if empty.

        Raises:
            SettingsError: the port is taken, or an address is not this host's.
        """
        app = web.Application(client_max_size=LARGEST_QUESTION)
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/metrics", self._serve_metrics)
        app.router.add_get("/log-level", self._level.show)
        app.router.add_post("/log-level", self._level.change)
        for path, question in self._questions.items():
            app.router.add_get(path, partial(self._answer, question))
        if self._plan is not None:
            app.router.add_post("/plan", self._answer_plan)
        await self._listen(app, address, port, "--http-address, --http-port")
        if metrics_address:
            app = web.Application()
            app.router.add_get("/metrics", self._serve_metrics)
            await self._listen(app, metrics_address, port, "--metrics-address, --http-port")

    async def _listen(self, app: web.Application, address: str, port: int, flags: str) -> None:
        runner = web.AppRunner(app, access_log=None, handle_signals=False)
        self._runners.append(runner)
        await runner.setup()
        try:
            await web.TCPSite(runner, address, port).start()
        except OSError as error:
            await self.stop()
            raise SettingsError(f"{flags}: can't listen on {address}:{port}: {error}") from error

    async def stop(self) -> None:
        """Stop listening."""
        for runner in self._runners:
            await runner.cleanup()
        self._runners.clear()

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

    @staticmethod
    async def _answer(question: Question, request: web.Request) -> web.Response:
        try:
            return web.json_response(question(**request.match_info))
        except StaticRouteError as error:
            return web.Response(text=f"{error}\n", status=400)

    async def _answer_plan(self, request: web.Request) -> web.Response:
        if request.content_type != "application/json" or self._plan is None:
            # No page that a browser on this host shows can send this.
            return web.Response(text="send application/json\n", status=415)
        try:
            return web.json_response(await self._plan(await request.json()))
        except KernelError as error:
            return web.Response(text=f"{error}\n", status=503)
        except (StaticRouteError, ValueError) as error:
            return web.Response(text=f"{error}\n", status=400)
