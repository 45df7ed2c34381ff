"""What a node must reach, and one attempt to reach it: over a new connection, by whatever way the kernel has now."""

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
# A query for the name servers of the root, which every server has an answer to, be it a refusal (RFC 1035).
_DNS_QUESTION = b"\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x01"
_LONGEST_STATUS_LINE = 4096

# What may be lost on the way is sent again after this, until it is answered. Seconds.
AGAIN = 0.5
_STATUS = re.compile(rb"HTTP/\d(?:\.\d)? [23]\d\d\b")

HTTP_PORT = 80


class Endpoint(Protocol):
    """Something that can be reached or not."""

    @property
    def name(self) -> str:
        """What it is, for people; no other has the same."""

    @property
    def addresses(self) -> tuple[bytes, ...]:
        """The packed addresses at which it is reached, as far as they are known."""

    async def ask(self) -> None:
        """Reach it once, however long that takes.

        Raises:
            OSError: it refuses, or can't be reached. The text says why.
        """


@dataclass(frozen=True, slots=True)
class TcpEndpoint:
    """A server that takes a connection and, if it is asked to, speaks TLS or answers an HTTP request.

    Attributes:
        what: for people, such as ``API server``.
        host: address, or name that the host's resolver knows.
        port: of the server.
        path: what to ask for by HTTP; empty asks nothing.
        context: asked for what to speak TLS with; None speaks none.
    """

    what: str
    host: str
    port: int
    path: str = ""
    context: Callable[[], ssl.SSLContext] | None = None

    @property
    def name(self) -> str:
        """What it is, and where."""
        return f"{self.what} {_host(self.host)}:{self.port}{self.path}"

    @property
    def addresses(self) -> tuple[bytes, ...]:
        """Its address; none of a name."""
        with contextlib.suppress(InvalidPrefixError):
            return (pack_address(self.host),)
        return ()

    async def ask(self) -> None:
        """Connect, and what else there is to do."""
        context = self.context() if self.context else None
        reader, writer = await asyncio.open_connection(self.host, self.port, ssl=context)
        try:
            if self.path:
                writer.write(f"GET {self.path} HTTP/1.0\r\nHost: {_host(self.host)}\r\n\r\n".encode())
                line = await reader.read(_LONGEST_STATUS_LINE)
                if not _STATUS.match(line):
                    raise ConnectionError(f"answers {line[:40]!r}")
        finally:
            # No farewell is waited for: it may not come.
            writer.transport.abort()


@dataclass(frozen=True, slots=True)
class DnsEndpoint:
    """A DNS server.

    Attributes:
        address: packed.
    """

    address: bytes

    @property
    def name(self) -> str:
        """What it is, and where."""
        return f"DNS server {unpack_address(self.address)}"

    @property
    def addresses(self) -> tuple[bytes, ...]:
        """Its address."""
        return (self.address,)

    async def ask(self) -> None:
        """Ask a question; any answer will do."""
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
    """Waits for one."""

    def __init__(self, identity: bytes, answered: asyncio.Future[None]) -> None:
        self._identity = identity
        self._answered = answered

    def datagram_received(self, data: bytes, _: object) -> None:
        """It may be an answer."""
        if data.startswith(self._identity) and not self._answered.done():
            self._answered.set_result(None)

    def error_received(self, exc: Exception) -> None:
        """It is refused on the way."""
        if not self._answered.done():
            self._answered.set_exception(exc)


class Echoes:
    """Sends echo requests for all endpoints that are asked by ICMP; its sockets are opened when they are needed."""

    def __init__(self) -> None:
        self._sockets: dict[socket.AddressFamily, EchoSocket] = {}
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[None]] = {}

    async def ask(self, address: bytes) -> None:
        """Wait until a packed address answers.

        Raises:
            OSError: it can't be asked.
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
        what: for people, such as ``default gateway``.
        address: packed.
        echoes: what asks it.
    """

    what: str
    address: bytes
    echoes: Echoes

    @property
    def name(self) -> str:
        """What it is, and where."""
        return f"{self.what} {unpack_address(self.address)}"

    @property
    def addresses(self) -> tuple[bytes, ...]:
        """Its address."""
        return (self.address,)

    async def ask(self) -> None:
        """Wait for an answer."""
        await self.echoes.ask(self.address)


def parse_endpoints(setting: str, echoes: Echoes) -> list[Endpoint]:
    """The endpoints that a setting names.

    Args:
        setting: such as ``icmp://10.0.0.1,tcp://[fd00::1]:22,http://10.0.0.5:8080/healthz``.
        echoes: what asks by ICMP.

    Raises:
        SettingsError: one can't be used.
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
            raise ValueError("names no port")
        case _:
            raise ValueError("is of none of these kinds")


async def _insist(send: Callable[[], None], answered: asyncio.Future[None]) -> None:
    """Send now and then until there is an answer."""
    while not answered.done():
        send()
        await asyncio.wait({answered}, timeout=AGAIN)
    answered.result()


def _host(host: str) -> str:
    return f"[{host}]" if ":" in host else host
