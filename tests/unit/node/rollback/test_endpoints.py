"""Endpoints on loopback."""

import asyncio
import socket
from collections.abc import Iterator

import pytest

from static_route_operator.node.rollback import endpoints
from static_route_operator.node.rollback.endpoints import DnsEndpoint, TcpEndpoint
from static_route_operator.node.rollback.reachability import attempt
from static_route_operator.routing.prefixes import pack_address


@pytest.fixture
def dns(monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """A socket in place of a DNS server."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(10)
        monkeypatch.setattr(endpoints, "DNS_PORT", server.getsockname()[1])
        monkeypatch.setattr(endpoints, "AGAIN", 0.01)
        yield server


async def test_dns(dns: socket.socket) -> None:
    """A question that is lost is sent again, an answer to something else is none, and any answer to it will do."""

    def serve() -> bytes:
        dns.recv(512)
        question, client = dns.recvfrom(512)
        dns.sendto(bytes([question[0] ^ 1]) + question[1:12], client)
        # Refused: the server lives.
        dns.sendto(question[:2] + b"\x81\x85" + question[4:], client)
        return question

    answered, question = await asyncio.gather(
        attempt(DnsEndpoint(pack_address("127.0.0.1")), 10), asyncio.to_thread(serve)
    )

    assert answered == ""
    assert question[2:] == bytes.fromhex("0100 0001 0000 0000 0000 00 0002 0001")


async def test_no_dns_server(dns: socket.socket) -> None:
    """A probe to a port without a listener is refused."""
    dns.close()
    endpoint = DnsEndpoint(pack_address("127.0.0.1"))
    assert endpoint.name == "DNS server 127.0.0.1"
    assert await attempt(endpoint, 10) == "connection refused"


@pytest.mark.parametrize(
    ("path", "answer", "expected"),
    [
        ("", b"", ""),
        ("/healthz", b"HTTP/1.1 204 No Content\r\n\r\n", ""),
        ("/healthz", b"HTTP/1.1 503 Busy\r\n\r\n", "answers b'HTTP/1.1 503 Busy\\r\\n\\r\\n'"),
        ("/healthz", b"", "answers b''"),
    ],
)
async def test_tcp_and_http(path: str, answer: bytes, expected: str) -> None:
    """A connection is enough for TCP; HTTP takes a status of 200 to 399."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if path:
            assert (await reader.readline()).decode() == f"GET {path} HTTP/1.0\r\n"
            writer.write(answer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        assert await attempt(TcpEndpoint("HTTP", "127.0.0.1", port, path), 10) == expected


async def test_silence() -> None:
    """A server that takes a connection and stays silent fails at the timeout."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert await attempt(TcpEndpoint("HTTP", "127.0.0.1", port, "/"), 0.1) == "no answer in 0.1 s"
