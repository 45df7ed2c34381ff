"""The level of the log, changed while a process runs: the verb against a real server."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest
from click.testing import CliRunner, Result

from static_route_operator.cli.host.process import ask
from static_route_operator.cli.program import program
from static_route_operator.errors import UnansweredError
from static_route_operator.observability.http import HttpServer
from static_route_operator.observability.logs import current_level, set_level
from static_route_operator.observability.metrics import Metrics
from tests.unit.observability.test_http import _free_port


@pytest.fixture
async def port() -> AsyncIterator[int]:
    """A process that logs at info; its port."""
    before = current_level()
    set_level("info")
    server, free = HttpServer(Metrics(), lambda: True), _free_port()
    await server.start("127.0.0.1", free)
    yield free
    await server.stop()
    set_level(before)


async def _log_level(port: int, *arguments: str) -> Result:
    words = ["log-level", *arguments, "--local", "--http-port", str(port)]
    return await asyncio.to_thread(CliRunner().invoke, program, words)


async def test_level_is_changed_and_shown(port: int) -> None:
    """The level is another one at once, for the libraries too, and is shown."""
    assert json.loads((await _log_level(port, "-o", "json")).stdout)["processes"][0]["level"] == "info"
    changed = await _log_level(port, "debug")

    assert (changed.exit_code, changed.stdout.split()[-1]) == (0, "debug")
    assert current_level() == "debug"
    assert logging.getLogger("kopf").level == logging.DEBUG
    await _log_level(port, "warning")
    assert (current_level(), logging.getLogger("kopf").level) == ("warning", logging.WARNING)


async def test_level_is_as_before_after_a_while(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """With --for it is what it was when the time is over, however often it was changed meanwhile."""
    real = asyncio.get_running_loop().call_later

    def sooner(seconds: float, *rest: Any) -> asyncio.TimerHandle:
        return real(0.5 if seconds == 600 else seconds, *rest)

    monkeypatch.setattr(asyncio.get_running_loop(), "call_later", sooner)

    await _log_level(port, "debug", "--for", "600")
    await _log_level(port, "error", "--for", "600")
    assert current_level() in {"error", "info"}
    async with asyncio.timeout(20):
        while current_level() != "info":  # noqa: ASYNC110  nothing tells of it
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("question", [{"level": "loud"}, {"level": "info", "seconds": "x"}, {}, ["info"]])
async def test_what_is_no_level_is_refused(port: int, question: Any) -> None:
    """A caller without this program sees the mistake."""
    with pytest.raises(UnansweredError, match="send a level, one of debug, info, warning, error"):
        await asyncio.to_thread(ask, "127.0.0.1", port, "/log-level", question)
    assert current_level() == "info"
