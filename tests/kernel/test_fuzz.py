"""Notifications and answers that are forged, or changed at random, on a running engine: no run fails."""

import asyncio
import contextlib
import itertools
import random
import socket
import struct
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from static_route_operator.api.noderoutestate import GatewayState
from static_route_operator.api.nodeselector import Node
from static_route_operator.cli.host import snapshot
from static_route_operator.errors import KernelError
from static_route_operator.kernel.netlink import NetlinkSocket
from static_route_operator.kernel.tracer import RouteTracer
from static_route_operator.routing.prefixes import pack_address
from static_route_operator.routing.rules import Packet
from tests.kernel.engine import Engine
from tests.kernel.gateway import Gateway
from tests.kernel.machine import Machine
from tests.kernel.recording import Recorder, split
from tests.unit.builders import route
from tests.unit.kernel.mutations import mutate

MESSAGES = 1000
# Types of answers: a refusal, and the end of a dump. A dump without an end is a failure of the kernel's.
ERROR, DONE = 2, 3
# Seconds in which an engine that nothing delays acts on a change; generous, as the machine is shared.
AT_ONCE = 1.0

_HEADER = struct.Struct("=IHHII")


class Forger:
    """A program that sends messages to the netlink sockets of the engine, as only root can."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)
        self._socket.bind((0, 0))

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def victims(self) -> list[int]:
        """Return the ports of all other routing sockets of this namespace."""
        lines = Path("/proc/thread-self/net/netlink").read_text().splitlines()[1:]
        ports = {int(words[2]) for words in map(str.split, lines) if words[1] == "0"}
        return sorted(ports - {0, self._socket.getsockname()[0]})

    def send(self, message: bytes, sequence: int) -> None:
        """Send a message to each of them, as the answer to a request or, with a sequence of 0, as a notification."""
        forged = message[:8] + struct.pack("=I", sequence) + message[12:]
        for port in self.victims():
            self._socket.sendto(forged, (port, 0))


@pytest.fixture
def forger() -> Iterator[Forger]:
    """Return a forger; use it on the machine of the test."""
    with contextlib.closing(Forger()) as forger:
        yield forger


@pytest.fixture(autouse=True)
async def unhandled() -> AsyncIterator[None]:
    """Fail the test on an exception in a callback of the event loop, which would only be logged."""
    found: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: found.append(context))
    yield
    assert found == []


@pytest.fixture
async def probing(gateway: Gateway) -> AsyncIterator[Engine]:
    """Return a running engine on the node of these gateways, which it probes, with two routes."""
    engine = Engine(Machine(), Node("node1", {}))
    engine.start()
    check = {"interval": "100ms"}
    await engine.settle(
        route("v4", None, ["192.0.2.1"], gateways=[{"address": "10.9.0.1"}], healthCheck=check),
        route("v6", None, ["2001:db8::1"], gateways=[{"address": "fd08::1"}], healthCheck=check),
        route("table", "10.8.0.1", ["198.51.100.0/24"], table=100),
    )
    yield engine
    await engine.stop()


def _all_up(engine: Engine) -> bool:
    return {row.state for row in engine.reconciler.gateways} == {GatewayState.UP.value}


def _ignored(engine: Engine) -> float:
    """Return the number of forged messages that were dropped so far."""
    return engine.count("unreadable_messages_total", kind="datagram of another process")


def _answer(kind: int, number: int) -> bytes:
    return _HEADER.pack(_HEADER.size + 4, kind, 0, 0, 0) + struct.pack("=i", -number)


async def test_messages_of_other_programs_are_not_believed(probing: Engine, forger: Forger) -> None:
    """Forged notifications and answers, mutated or as the kernel would send them, change and delay nothing."""
    machine, routes = probing.machine, {"192.0.2.1/32": "10.9.0.1 eth0", "2001:db8::1/128": "fd08::1 eth1"}
    await probing.routes_are(routes)
    with contextlib.closing(Recorder()) as recorder:
        machine.ip("route del 192.0.2.1 proto 245", "route del 2001:db8::1 proto 245", "link set eth0 down")
        machine.ip("link set eth0 up", "neigh replace 10.9.0.1 dev eth0 nud failed", "rule add priority 7 table 7")
        machine.ip("rule del priority 7", "address add 192.0.2.1 dev eth1", "address del 192.0.2.1/32 dev eth1")
        lies = [*recorder.notifications(), _answer(ERROR, 1), _answer(DONE, 0), _answer(DONE, 16)]
    await probing.routes_are(routes)
    await probing.until(lambda: _all_up(probing), "all gateways are up")
    await probing.rest()
    operations, rows, ignored = probing.operations(), probing.reconciler.rows, _ignored(probing)

    chance = random.Random("forger")  # noqa: S311  no secret
    for seed, lie in zip(range(MESSAGES), itertools.cycle(lies)):
        _, message = mutate(seed, lie) if seed % 2 and lie not in lies[-3:] else ("", lie)
        forger.send(message, chance.choice([0, chance.randrange(1, 1000)]))
        if not seed % 20:
            probing.reconciler.wake()
        await asyncio.sleep(0.002)
        assert _unharmed(probing), f"seed {seed}"
    await probing.rest()

    assert probing.count("reconcile_errors_total") == 0
    assert _ignored(probing) - ignored >= MESSAGES
    assert (probing.operations(), probing.reconciler.rows, machine.routes()) == (operations, rows, routes)
    machine.ip("route del 192.0.2.1 proto 245")
    started = time.monotonic()
    await probing.routes_are(routes)
    assert time.monotonic() - started < AT_ONCE


def _unharmed(engine: Engine) -> bool:
    """Report whether no run has failed, and every gateway is up."""
    return engine.count("reconcile_errors_total") == 0 and _all_up(engine)


class Mutator:
    """The kernel, some of whose messages are mutated before the engine receives them.

    Attributes:
        mutated: names of the mutations so far.
        active: whether further messages are mutated.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.mutated: list[str] = []
        self.active = True
        self._chance = random.Random("mutator")  # noqa: S311  no secret
        receive = NetlinkSocket.receive

        def received(of: NetlinkSocket) -> bytes | None:
            datagram = receive(of)
            return datagram if datagram is None or not self.active else self._mutate(datagram)

        monkeypatch.setattr(NetlinkSocket, "receive", received)

    def _mutate(self, datagram: bytes) -> bytes:
        found = split(datagram)
        at = self._chance.randrange(len(found))
        if _HEADER.unpack_from(found[at])[1] in {ERROR, DONE} or self._chance.random() < 0.5:
            return datagram
        name, found[at] = mutate(len(self.mutated), found[at])
        self.mutated.append(name)
        return b"".join(found)


CHANGES = itertools.cycle(
    [
        ["link set eth1 down"],
        ["link set eth1 up", "address replace fd00:1::2/64 dev eth1 nodad", "address add 10.7.0.1/24 dev eth1"],
        ["address del 10.7.0.1/24 dev eth1", "address add fd00:7::1/64 dev eth0 nodad"],
        ["address del fd00:7::1/64 dev eth0", "link add more type veth peer name more-peer"],
        ["link set more up", "route add 203.0.113.0/24 dev more", "rule add priority 7 fwmark 7 lookup 7"],
        ["rule del priority 7", "route add 203.0.113.1 via 10.0.0.9 metric 7"],
        ["link del more", "route del 203.0.113.1", "neigh replace 10.0.0.1 dev eth0 nud failed"],
        ["route add 192.0.2.9 via 10.0.0.9 proto 245", "address add 10.0.0.77/24 dev eth0"],
        ["address del 10.0.0.77/24 dev eth0"],
    ]
)


async def test_mutated_messages_of_the_kernel_fail_no_run(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """While what the kernel tells is mutated, no run fails; afterwards, the next resync makes everything right."""
    engine = Engine(machine, Node("node1", {}), resync=1.0)
    engine.start()
    # Nobody answers at this gateway: links and neighbours are watched all the same.
    engine.put(route("probed", "10.0.0.3", ["192.0.2.3"], healthCheck={"interval": "100ms"}))
    objects = [
        route("v4", "10.0.0.1", ["192.0.2.1"]),
        route("v6", "fd00:1::1", ["2001:db8::1"]),
        route("table", "10.1.0.1", ["198.51.100.0/24"], table=100),
        route("default", "10.0.0.1", ["0.0.0.0/0"], allowDefaultRoute=True),
    ]
    await engine.settle(*objects)
    mutator = Mutator(monkeypatch)
    while len(mutator.mutated) < MESSAGES:
        with contextlib.suppress(AssertionError):
            # A command may meet what the engine has made of a mutated message.
            machine.ip(*next(CHANGES))
        await asyncio.sleep(0.02)
        assert engine.count("reconcile_errors_total") == 0, f"seed {len(mutator.mutated)}: {mutator.mutated[-5:]}"
    mutator.active = False

    machine.ip("link set eth1 up", "address replace fd00:1::2/64 dev eth1 nodad")
    for each in objects:
        await engine.state_is(each.name, "Programmed")
    await engine.until(
        lambda: (
            machine.routes().keys() >= {"192.0.2.1/32", "2001:db8::1/128"} and "192.0.2.9/32" not in machine.routes()
        ),
        "the routes are right",
    )
    assert engine.count("reconcile_errors_total") == 0
    await engine.stop()


def test_mutated_messages_of_the_kernel_end_no_trace(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tracer of packets and the snapshot of a node use what can be read; an answer that can't be is an error."""
    machine.ip(
        "route add 192.0.2.0/24 via 10.0.0.1",
        "route add 2001:db8::/48 via fd00::1",
        "rule add from 10.0.0.0/8 lookup 100 priority 7",
    )
    mutator = Mutator(monkeypatch)
    packets = [Packet(pack_address("192.0.2.1")), Packet(pack_address("2001:db8::1"))]
    while len(mutator.mutated) < MESSAGES:
        with contextlib.closing(RouteTracer()) as tracer:
            for packet in packets:
                with contextlib.suppress(KernelError):
                    tracer.forward(packet)
        with contextlib.suppress(KernelError):
            assert list(snapshot.lines())
