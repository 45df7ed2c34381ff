"""Probes by TCP handshake, and by an HTTP request after it."""

import asyncio
import errno
import os
import re
import select
import socket
import struct
from collections.abc import Callable

from static_route_operator.api.healthcheck import CheckType
from static_route_operator.planning.targets import Target

# Close with a reset: otherwise connections in TIME_WAIT would pile up, up to 100 a second.
_RESET = struct.pack("=ii", 1, 0)
# Offset of the round-trip time (microseconds) in struct tcp_info of linux/tcp.h. Right after the handshake, it is that
# of the handshake.
_TCPI_RTT_AT = 68

_STATUS_LINE = re.compile(rb"HTTP/\d(?:\.\d)? (\d{3})\b")
_LONGEST_STATUS_LINE = 4096


class Connection:
    """One probe.

    Args:
        target: the gateway, and its check with the port.
        answered: called with the time of the event loop at which the answer arrived.
        failed: called with the reason, in words, when the gateway refuses.

    Raises:
        OSError: the connection can't be started.
    """

    def __init__(self, target: Target, answered: Callable[[float], None], failed: Callable[[str], None]) -> None:
        self._target = target
        self._answered = answered
        self._failed = failed
        self._loop = asyncio.get_running_loop()
        self._buffer = b""
        self._started = self._loop.time()
        self._socket = socket.socket(target.family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            self._connect()
        except OSError:
            self._socket.close()
            raise
        self._waits_for = select.POLLOUT
        self._loop.add_writer(self._socket.fileno(), self._connected)

    def _connect(self) -> None:
        target = self._target
        name = socket.if_indextoname(target.interface)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, name.encode() + b"\0")
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        if target.family == socket.AF_INET:
            # Do not probe through another gateway if this one's network is gone from the interface.
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_DONTROUTE, 1)
        number = self._socket.connect_ex((target.address, target.check.port))
        if number not in {0, errno.EINPROGRESS}:
            raise OSError(number, os.strerror(number))

    def poll(self) -> None:
        """Report an answer that has arrived but that the event loop has not seen yet."""
        poll = select.poll()
        poll.register(self._socket.fileno(), self._waits_for)
        if poll.poll(0):
            if self._waits_for == select.POLLOUT:
                self._connected()
            else:
                self._readable()

    def close(self) -> None:
        """Close the connection if it is open; no callback follows."""
        if self._socket.fileno() >= 0:
            self._loop.remove_writer(self._socket.fileno())
            self._loop.remove_reader(self._socket.fileno())
            self._socket.close()

    def _connected(self) -> None:
        number = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if number:
            self._fail(os.strerror(number).lower())
        elif self._target.check.type is CheckType.TCP:
            info = self._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCPI_RTT_AT + 4)
            (rtt,) = struct.unpack_from("=I", info, _TCPI_RTT_AT)
            self.close()
            self._answered(min(self._started + rtt * 1e-6, self._loop.time()) if rtt else self._loop.time())
        else:
            self._loop.remove_writer(self._socket.fileno())
            self._waits_for = select.POLLIN
            self._loop.add_reader(self._socket.fileno(), self._readable)
            self._request()

    def _request(self) -> None:
        target = self._target
        host = f"[{target.address}]" if target.family == socket.AF_INET6 else target.address
        request = (
            f"GET {target.check.path} HTTP/1.1\r\nHost: {host}:{target.check.port}\r\n"
            "User-Agent: static-route-operator\r\nAccept: */*\r\nConnection: close\r\n\r\n"
        )
        try:
            self._socket.send(request.encode())
        except OSError as error:
            self._fail(os.strerror(error.errno or 0).lower())

    def _readable(self) -> None:
        try:
            data = self._socket.recv(_LONGEST_STATUS_LINE)
        except BlockingIOError:
            return
        except OSError as error:
            self._fail(os.strerror(error.errno or 0).lower())
            return
        self._buffer += data
        status = _STATUS_LINE.match(self._buffer)
        if status is None:
            if not data:
                self._fail("closed without an answer")
            elif b"\n" in self._buffer or len(self._buffer) > _LONGEST_STATUS_LINE:
                self._fail("the answer is not HTTP")
        elif 200 <= int(status[1]) < 400:
            self.close()
            self._answered(self._loop.time())
        else:
            self._fail(f"HTTP {status[1].decode()}")

    def _fail(self, reason: str) -> None:
        self.close()
        self._failed(reason)
