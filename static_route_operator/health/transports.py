"""The sockets that carry probes to gateways, by type of check."""

import functools
import logging
import socket
from collections.abc import Callable

from static_route_operator.api.healthcheck import CheckType
from static_route_operator.health.connections import Connection
from static_route_operator.health.echo import EchoSocket
from static_route_operator.planning.targets import Target

logger = logging.getLogger(__name__)


class Transports:
    """The real network. Sockets are opened at their first use.

    Args:
        answered: called with the prober, the number of the probe, and the time of the event loop at which the answer
            arrived.
        failed: called with the prober, the number of the probe, and the reason in words when the gateway refuses.
    """

    def __init__(self, answered: Callable[[int, int, float], None], failed: Callable[[int, int, str], None]) -> None:
        self._answered = answered
        self._failed = failed
        self._echo: dict[socket.AddressFamily, EchoSocket] = {}
        self._gateways: dict[tuple[int, int], str] = {}
        self._connections: dict[tuple[int, int], Connection] = {}

    def send(self, target: Target, prober: int, number: int) -> None:
        """Send a probe.

        Raises:
            OSError: the probe can't be sent.
        """
        key = prober, number
        if target.check.type is CheckType.ICMP:
            if target.family not in self._echo:
                self._echo[target.family] = EchoSocket(target.family, self._echoed)
            self._echo[target.family].send(target, prober, number)
            self._gateways[key] = target.address
        else:
            self._connections[key] = Connection(
                target, functools.partial(self._connected, key), functools.partial(self._refused, key)
            )

    def poll(self, target: Target, prober: int, number: int) -> None:
        """Report an answer to this probe that has arrived but is not read yet."""
        if target.check.type is CheckType.ICMP:
            self._echo[target.family].read()
        elif (connection := self._connections.get((prober, number))) is not None:
            connection.poll()

    def forget(self, prober: int, number: int) -> None:
        """Drop this probe; its answer is no longer reported."""
        self._gateways.pop((prober, number), None)
        if (connection := self._connections.pop((prober, number), None)) is not None:
            connection.close()

    def close(self) -> None:
        """Close all sockets."""
        for echo in self._echo.values():
            echo.close()
        self._echo.clear()
        for connection in self._connections.values():
            connection.close()
        self._connections.clear()

    def _echoed(self, prober: int, number: int, address: str, arrived: float) -> None:
        if self._gateways.get((prober, number)) == address:
            del self._gateways[prober, number]
            self._answered(prober, number, arrived)

    def _connected(self, key: tuple[int, int], arrived: float) -> None:
        del self._connections[key]
        self._answered(*key, arrived)

    def _refused(self, key: tuple[int, int], reason: str) -> None:
        del self._connections[key]
        self._failed(*key, reason)
