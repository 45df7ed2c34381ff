"""Endpoints that a node must reach. Each probe is a new connection, over the way that the kernel has now."""

import asyncio
import contextlib
import itertools
import os
import re
import socket
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import SplitResult, urlsplit

from static_route_operator.api.healthcheck import Check
from static_route_operator.errors import InvalidPrefixError, SettingsError
from static_route_operator.health.echo import EchoSocket
from static_route_operator.planning.targets import Target
from static_route_operator.routing.prefixes import family_of, pack_address, unpack_address

DNS_PORT = 53
# A query for the name servers of the root, which every server answers, if only with a refusal (RFC 1035).
_DNS_QUESTION = b"\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x01"
_LONGEST_STATUS_LINE = 4096

# Seconds after which a datagram is sent again, until the answer comes.
AGAIN = 0.5
_STATUS = re.compile(rb"HTTP/\d(?:\.\d)? [23]\d\d\b")

HTTP_PORT = 80


class Endpoint(Protocol):
    """A server or machine that answers probes."""

    @property
    def name(self) -> str:
        """Return a unique name for people."""

    @property
    def addresses(self) -> tuple[bytes, ...]:
        """Return the packed addresses of the endpoint, as far as they are known."""

    async def probe(self) -> None:
        """Reach the endpoint once, however long that takes.

        Raises:
            OSError: the endpoint refuses, or can't be reached. The text says why.
        """


@dataclass(frozen=True, slots=True)
class TcpEndpoint:
    """A server that accepts a TCP connection and, on request, completes a TLS handshake or answers over HTTP.

    Attributes:
        what: kind of the server for people, such as ``API server``.
        host: address, or name that the host's resolver knows.
        port: TCP port.
        path: path to request over HTTP; empty sends no request.
        context: called for the TLS context; None stands for no TLS.
    """

    what: str
    host: str
    port: int
    path: str = ""
    context: Callable[[], ssl.SSLContext] | None = None

    @property
    def name(self) -> str:
        """Return the kind and the address."""
        return f"{self.what} {_host(self.host)}:{self.port}{self.path}"

    @property
    def addresses(self) -> tuple[bytes, ...]:
        """Return the address; none for a host given by name."""
        with contextlib.suppress(InvalidPrefixError):
            return (pack_address(self.host),)
        return ()

    async def probe(self) -> None:
        """Connect, with the TLS handshake and the HTTP request if there are any."""
        context = self.context() if self.context else None
        reader, writer = await asyncio.open_connection(self.host, self.port, ssl=context)
        try:
            if self.path:
                writer.write(f"GET {self.path} HTTP/1.0\r\nHost: {_host(self.host)}\r\n\r\n".encode())
                line = await reader.read(_LONGEST_STATUS_LINE)
                if not _STATUS.match(line):
                    raise ConnectionError(f"answers {line[:40]!r}")
        finally:
            # Do not wait for the other end to close: that may never come.
            writer.transport.abort()


@dataclass(frozen=True, slots=True)
class DnsEndpoint:
    """A DNS server.

    Attributes:
        address: packed address.
    """

    address: bytes

    @property
    def name(self) -> str:
        """Return the kind and the address."""
        return f"DNS server {unpack_address(self.address)}"

    @property
    def addresses(self) -> tuple[bytes, ...]:
        """Return the address."""
        return (self.address,)

    async def probe(self) -> None:
        """Send a query, and wait for any answer."""
        loop = asyncio.get_running_loop()
        answered: asyncio.Future[None] = loop.create_future()
        identity = os.urandom(2)
        transport, _ = await loop.create_datagram_endpoint(
            lambda: _Answer(identity, answered), remote_addr=(unpack_address(self.address), DNS_PORT)
        )
        try:
            await _insist(lambda: transport.sendto(identity + _DNS_QUESTION), answered)
        finally:
            transport.close()


class _Answer(asyncio.DatagramProtocol):
    """Receiver of one answer."""

    def __init__(self, identity: bytes, answered: asyncio.Future[None]) -> None:
        self._identity = identity
        self._answered = answered

    def datagram_received(self, data: bytes, _: object) -> None:
        """Take in a datagram, which is the answer if its identity is that of the query."""
        if data.startswith(self._identity) and not self._answered.done():
            self._answered.set_result(None)

    def error_received(self, exc: Exception) -> None:
        """Take in that the query was refused on the way."""
        if not self._answered.done():
            self._answered.set_exception(exc)


class Echoes:
    """Echo requests of all endpoints that are probed over ICMP, through sockets that are opened on first use."""

    def __init__(self) -> None:
        self._sockets: dict[socket.AddressFamily, EchoSocket] = {}
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[None]] = {}

    async def probe(self, address: bytes) -> None:
        """Send echo requests until a packed address answers.

        Raises:
            OSError: no request can be sent.
        """
        target = Target(address, 0, Check())
        family = family_of(address)
        if family not in self._sockets:
            self._sockets[family] = EchoSocket(family, self._echoed)
        number = next(self._numbers)
        answered = self._waiting[number] = asyncio.get_running_loop().create_future()
        try:
            await _insist(lambda: self._sockets[family].send(target, 0, number), answered)
        finally:
            del self._waiting[number]

    def close(self) -> None:
        """Close all sockets."""
        for each in self._sockets.values():
            each.close()
        self._sockets.clear()

    def _echoed(self, _prober: int, number: int, _address: str, _arrived: float) -> None:
        waiting = self._waiting.get(number)
        if waiting is not None and not waiting.done():
            waiting.set_result(None)


@dataclass(frozen=True, slots=True)
class EchoEndpoint:
    """A machine that answers echo requests.

    Attributes:
        what: kind of the machine for people, such as ``default gateway``.
        address: packed address.
        echoes: sender of the requests.
    """

    what: str
    address: bytes
    echoes: Echoes

    @property
    def name(self) -> str:
        """Return the kind and the address."""
        return f"{self.what} {unpack_address(self.address)}"

    @property
    def addresses(self) -> tuple[bytes, ...]:
        """Return the address."""
        return (self.address,)

    async def probe(self) -> None:
        """Send echo requests, and wait for an answer."""
        await self.echoes.probe(self.address)


def parse_endpoints(setting: str, echoes: Echoes) -> list[Endpoint]:
    """Read the endpoints that a setting names.

    Args:
        setting: such as ``icmp://10.0.0.1,tcp://[fd00::1]:22,http://10.0.0.5:8080/healthz``.
        echoes: sender of the requests over ICMP.

    Raises:
        SettingsError: an endpoint can't be used.
    """
    return list(_parse(filter(None, (part.strip() for part in setting.split(","))), echoes))


def _parse(texts: Iterator[str], echoes: Echoes) -> Iterator[Endpoint]:
    for text in texts:
        try:
            url = urlsplit(text)
            yield _endpoint(url, echoes)
        except (ValueError, InvalidPrefixError) as error:
            raise SettingsError(
                f"--probes: {text}: {error}; give icmp://ADDRESS, tcp://ADDRESS:PORT or http://ADDRESS:PORT/PATH,"
                " separated by commas"
            ) from error


def _endpoint(url: SplitResult, echoes: Echoes) -> Endpoint:
    address = pack_address(url.hostname or "")
    match url.scheme:
        case "icmp":
            return EchoEndpoint("ICMP", address, echoes)
        case "tcp" if url.port:
            return TcpEndpoint("TCP", unpack_address(address), url.port)
        case "http":
            return TcpEndpoint("HTTP", unpack_address(address), url.port or HTTP_PORT, url.path or "/")
        case "tcp":
            raise ValueError("has no port")
        case _:
            raise ValueError("has an unknown scheme")


async def _insist(send: Callable[[], None], answered: asyncio.Future[None]) -> None:
    """Send again and again until the answer comes."""
    while not answered.done():
        send()
        await asyncio.wait({answered}, timeout=AGAIN)
    answered.result()


def _host(host: str) -> str:
    return f"[{host}]" if ":" in host else host
