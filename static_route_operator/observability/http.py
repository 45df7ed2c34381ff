"""HTTP server for probes, metrics and the node's routes.

An agent serves on loopback: under host networking every other address is the node's own, open to the network.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

from aiohttp import web
from prometheus_client.aiohttp import make_aiohttp_handler

from static_route_operator.errors import KernelError, SettingsError, StaticRouteError
from static_route_operator.observability.logs import current_level, set_level
from static_route_operator.observability.metrics import ApiMetrics
from static_route_operator.settings import LEVELS, LONGEST_LEVEL

logger = logging.getLogger(__name__)

# Bytes of a request for a plan: more than two of the largest objects that an API server accepts. Any user of this host
# may send one, and must not exhaust the memory of an agent, whose limit is low.
LARGEST_QUESTION = 4 << 20

Question = Callable[..., dict[str, Any]]


class _Level:
    """Log level, which any user of this host may change while the process runs."""

    def __init__(self) -> None:
        self._before = ""
        self._timer: asyncio.TimerHandle | None = None

    async def show(self, _: web.Request) -> web.Response:
        """Report the current level."""
        return web.json_response({"level": current_level()})

    async def change(self, request: web.Request) -> web.Response:
        """Set another level, for a number of seconds or until the next change."""
        # The controller serves on all addresses of its pod, which any pod of the cluster can reach.
        if request.remote not in {"127.0.0.1", "::1"}:
            return web.Response(text="the level can only be changed from within the pod\n", status=403)
        try:
            question = await request.json()
            level, seconds = question["level"], float(question.get("seconds", 0))
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
            level, seconds = "", 0.0
        # A comparison with nan is false, too.
        if level not in LEVELS or not 0 <= seconds <= LONGEST_LEVEL:
            return web.Response(
                text=f"send a level, one of {', '.join(LEVELS)}, and optionally up to {LONGEST_LEVEL} seconds\n",
                status=400,
            )
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
            logger.warning("The log level is now %s", level)


class HttpServer:
    """Server of ``/healthz``, ``/readyz``, ``/metrics``, ``/log-level`` and the introspection of this process.

    Args:
        metrics: the metrics that /metrics serves.
        ready: returns True once the first work is done; /readyz answers 503 until then.
        questions: handlers by path, each returning a JSON object; variable parts of a path, as in
            ``/claims/{address}``, are the handler's arguments.
        plan: handler of the JSON objects posted to /plan.
        obstacle: returns what keeps this process from its work, for people; empty if nothing does.
    """

    def __init__(
        self,
        metrics: ApiMetrics,
        ready: Callable[[], bool],
        questions: Mapping[str, Question] | None = None,
        plan: Callable[[Mapping[str, Any]], Awaitable[dict[str, Any]]] | None = None,
        *,
        obstacle: Callable[[], str] = str,
    ) -> None:
        self._serve_metrics = make_aiohttp_handler(metrics.registry)
        self._ready = ready
        self._questions = questions or {}
        self._plan = plan
        self._obstacle = obstacle
        self._level = _Level()
        self._runners: list[web.AppRunner] = []

    async def start(self, address: str, port: int, metrics_address: str = "") -> None:
        """Start to listen.

        Args:
            address: address for all paths.
            port: port for all addresses.
            metrics_address: second address, for /metrics alone; none if empty.

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
        # An answer is enough: a blocked event loop would give none.
        return web.Response(text="ok\n")

    async def _readyz(self, _: web.Request) -> web.Response:
        if obstacle := self._obstacle():
            return web.Response(text=f"not ready: {obstacle}\n", status=503)
        if self._ready():
            return web.Response(text="ok\n")
        return web.Response(text="not ready: no complete list of StaticRoutes has been received yet\n", status=503)

    @staticmethod
    async def _answer(question: Question, request: web.Request) -> web.Response:
        try:
            return web.json_response(question(**request.match_info))
        except StaticRouteError as error:
            return web.Response(text=f"{error}\n", status=400)

    async def _answer_plan(self, request: web.Request) -> web.Response:
        if request.content_type != "application/json" or self._plan is None:
            # A web page that a browser on this host shows can't send this type without asking first (CORS).
            return web.Response(text="send application/json\n", status=415)
        try:
            return web.json_response(await self._plan(await request.json()))
        except KernelError as error:
            return web.Response(text=f"{error}\n", status=503)
        except (StaticRouteError, ValueError, RecursionError) as error:
            return web.Response(text=f"{error}\n", status=400)
