"""Notifications and answers that are forged or changed at random, on a running engine: no run fails.

A failure names its seed where one message is to blame; the same seed makes the same message.
"""

import contextlib
import random
import socket
import struct
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from static_route_operator.api.nodeselector import Node
from static_route_operator.kernel.netlink import NetlinkSocket
from tests.kernel.engine import Engine
from tests.kernel.machine import Machine
from tests.kernel.recording import Recorder, recorded, split
from tests.unit.builders import route
from tests.unit.kernel.mutations import mutate

MESSAGES = 1000
# Answers that end a dump or refuse a request are left as they are: a refusal is a failure of the kernel's.
ENDS = {2, 3}
# Seconds until a change is acted on by an engine that nothing delays; generous, as the machine is shared.
AT_ONCE = 1.0

ROUTES = {
    "192.0.2.1/32": "10.0.0.1 eth0",
    "198.51.100.0/24": "10.0.0.1 eth0",
    "2001:db8::1/128": "fd00::1 eth0",
}


class Forger:
    """A program that sends messages to the netlink sockets of the engine, as only root can."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)
        self._socket.bind((0, 0))

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def send(self, port: int, message: bytes) -> None:
        """Send to a socket; one whose buffer is full, or that was closed, gets nothing."""
        with contextlib.suppress(BlockingIOError, ConnectionRefusedError):
            self._socket.sendto(message, socket.MSG_DONTWAIT, (port, 0))

    def victims(self) -> list[int]:
        """Return the ports of all other routing sockets of this namespace."""
        lines = Path("/proc/thread-self/net/netlink").read_text().splitlines()[1:]
        ports = {int(words[2]) for words in map(str.split, lines) if words[1] == "0"}
        return sorted(ports - {0, self._socket.getsockname()[0]})
