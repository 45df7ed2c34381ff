"""The HTTP server: its paths and its addresses."""

import gzip
import io
import socket
from collections.abc import AsyncIterator, Mapping
from typing import Any

import aiohttp
import pytest

from static_route_operator.errors import InvalidPrefixError, SettingsError
from static_route_operator.observability.http import LARGEST_QUESTION, HttpServer
from static_route_operator.observability.metrics import Metrics

# All of 127.0.0.0/8 is this host's: a second address as a node has one.
NODE = "127.0.0.2"


def _claims(address: str) -> dict[str, Any]:
    if address == "x":
        raise InvalidPrefixError("'x' is not an IP address")
    return {"claims": [address]}


@pytest.fixture
async def port() -> AsyncIterator[int]:
    """A server for probes on loopback, and for metrics on another address too: their port."""
    server = HttpServer(Metrics(), lambda: True, {"/routes": dict, "/claims/{address}": _claims})
    free = _free_port()
    await server.start("127.0.0.1", free, NODE)
    yield free
    await server.stop()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@pytest.mark.parametrize(
    ("address", "path", "status"),
    [
        *[("127.0.0.1", path, 200) for path in ("/healthz", "/readyz", "/metrics", "/routes")],
        (NODE, "/metrics", 200),
        *[(NODE, path, 404) for path in ("/healthz", "/readyz", "/routes")],
    ],
)
async def test_metrics_alone_are_open_to_the_network(port: int, address: str, path: str, status: int) -> None:
    """Prometheus reads the counters of a node from outside; its routes are shown on the node alone."""
    async with aiohttp.ClientSession() as session, session.get(f"http://{address}:{port}{path}") as answer:
        assert answer.status == status


@pytest.mark.parametrize(
    ("accepted", "kind", "last"),
    [
        (None, "text/plain; version=0.0.4; charset=utf-8", ""),
        ("text/plain;version=0.0.4", "text/plain; version=0.0.4; charset=utf-8", ""),
        ("application/openmetrics-text;version=1.0.0", "application/openmetrics-text; version=1.0.0", "# EOF\n"),
    ],
    ids=["curl", "text", "OpenMetrics"],
)
async def test_metrics_come_in_the_form_that_is_accepted(port: int, accepted: str | None, kind: str, last: str) -> None:
    """Prometheus and other scrapers get the format they ask for, and plain text if they ask for none."""
    headers = {"Accept": accepted} if accepted else {}
    async with (
        aiohttp.ClientSession(skip_auto_headers=["Accept"]) as session,
        session.get(f"http://{NODE}:{port}/metrics", headers=headers) as answer,
    ):
        assert answer.headers["Content-Type"].startswith(kind)
        assert (await answer.text()).endswith(last)


@pytest.mark.parametrize("encoding", ["gzip", "identity"])
async def test_metrics_are_compressed_where_that_is_accepted(port: int, encoding: str) -> None:
    """A scraper that accepts gzip gets less than a fourth of the bytes; another one can read them as they are."""
    async with (
        aiohttp.ClientSession(auto_decompress=False, headers={"Accept-Encoding": encoding}) as session,
        session.get(f"http://{NODE}:{port}/metrics") as answer,
    ):
        body = await answer.read()
        assert answer.headers.get("Content-Encoding", "identity") == encoding

    text = gzip.decompress(body) if encoding == "gzip" else body
    assert b"static_route_operator_desired_routes 0.0\n" in text
    if encoding == "gzip":
        assert len(body) < len(text) / 4


async def test_address_that_cannot_be_had_is_told_with_its_flag() -> None:
    """An address that is not this node's ends the start with the flag to correct, and nothing listens."""
    server, port = HttpServer(Metrics(), lambda: True), _free_port()

    with pytest.raises(SettingsError, match=r"^--metrics-address, --http-port: can't listen on 192\.0\.2\.1:"):
        await server.start("127.0.0.1", port, "192.0.2.1")
    with pytest.raises(aiohttp.ClientError):
        async with aiohttp.ClientSession() as session:
            await session.get(f"http://127.0.0.1:{port}/healthz")


async def test_questions_have_arguments(port: int) -> None:
    """The open part of a path is an argument; a wrong one is answered in words."""
    async with aiohttp.ClientSession() as session:
        async with session.get(f"http://127.0.0.1:{port}/claims/10.0.0.1") as answer:
            assert await answer.json() == {"claims": ["10.0.0.1"]}
        async with session.get(f"http://127.0.0.1:{port}/claims/x") as answer:
            assert (answer.status, await answer.text()) == (400, "'x' is not an IP address\n")


@pytest.mark.parametrize(
    ("body", "kind", "status", "text"),
    [
        (b'{"manifests": []}', "application/json", 200, '{"asked": []}'),
        (b'{"manifests": []}', "text/plain", 415, "send application/json\n"),
        (b'{"manifests": 1}', "application/json", 400, "manifests is no list"),
        (b"{", "application/json", 400, "Expecting property name"),
        (b" " * (LARGEST_QUESTION + 1), "application/json", 413, "exceeded"),
    ],
    ids=["good", "of a page", "wrong", "no JSON", "too large"],
)
async def test_plan_is_answered(body: bytes, kind: str, status: int, text: str) -> None:
    """A question is answered, unless it is wrong, too large, or could come from a page that a browser here shows."""

    async def plan(question: Mapping[str, Any]) -> dict[str, Any]:
        if question["manifests"] == 1:
            raise ValueError("manifests is no list")
        return {"asked": question["manifests"]}

    server, port = HttpServer(Metrics(), lambda: True, {}, plan), _free_port()
    await server.start("127.0.0.1", port)
    headers = {"Content-Type": kind}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"http://127.0.0.1:{port}/plan", data=io.BytesIO(body), headers=headers) as answer,
    ):
        assert answer.status == status
        assert text in await answer.text()
    await server.stop()
