"""`explain` against packets: what it says of a packet is what becomes of one that is sent.

Each next hop of each route has a hardware address of its own, so the frame that leaves the machine tells which route
took the packet, and by which of its next hops.
"""

import asyncio
import contextlib
import errno
import random
import select
import socket
import struct
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from static_route_operator.cli.host.trace import compare
from static_route_operator.kernel.tracer import RouteTracer
from static_route_operator.routing.prefixes import pack_address, unpack_address
from static_route_operator.routing.rules import Packet
from tests.kernel.engine import Engine
from tests.kernel.machine import Machine
from tests.unit.builders import route

CASES = 120

ETH_P_ALL = 3
UDP = 17
PORT = 4321
# Seconds to wait for a packet that will be dropped on its way.
GONE = 0.1
PATIENCE = 10.0

# Networks of the machine by family: interface, prefix of its addresses, and its own address.
NETWORKS = {
    4: (("eth0", "10.0.0.", "10.0.0.2"), ("eth1", "10.1.0.", "10.1.0.2")),
    6: (("eth0", "fd00::", "fd00::2"), ("eth1", "fd00:1::", "fd00:1::2")),
}
FIRST_GATEWAY, LAST_GATEWAY = 10, 99
STRANGER = {4: "10.1.0.200", 6: "fd00:1::200"}

PREFIXES = {
    4: ("198.18.0.0/15", "198.18.0.0/16", "198.18.7.0/24", "198.18.7.128/25", "198.18.7.129/32", "198.18.7.1/32"),
    6: ("2001:db8::/32", "2001:db8:7::/48", "2001:db8:7::/64", "2001:db8:7::80/121", "2001:db8:7::81/128"),
}
DESTINATIONS = {
    4: ("198.18.7.129", "198.18.7.1", "198.18.9.9"),
    6: ("2001:db8:7::81", "2001:db8:7::1", "2001:db8:9::9"),
}


# Obstacles before a StaticRoute's route, in the words of the cause.
SHADOWS = (
    "more specific",
    "no rule leads",
    "leads to table",
    "does not match this packet",
    "lower than",
    "comes before",
)


@dataclass
class Case:
    """A machine with rules and routes, and a packet.

    Attributes:
        family: 4 or 6.
        packet: what is sent.
        routes: commands for `ip` that make routes of other programs.
        rules: commands for `ip` that make policy rules.
        objects: what StaticRoutes say: name and spec.
        owners: whose a gateway is: the name of an object, or empty for another program.
    """

    family: int
    packet: Packet
    routes: list[str] = field(default_factory=list)
    rules: list[str] = field(default_factory=list)
    objects: dict[str, dict[str, Any]] = field(default_factory=dict)
    owners: dict[str, str] = field(default_factory=dict)


class _Generator:
    """Makes cases; equal seeds make equal ones."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311  no secret
        self._numbers: Iterator[int] = iter(())

    def case(self) -> Case:
        """The next case."""
        chance = self._random
        self._numbers = iter(range(FIRST_GATEWAY, LAST_GATEWAY + 1))
        family = chance.choice((4, 4, 6))
        case = Case(family, self._packet(family))
        for name in ("alpha", "beta", "gamma")[: chance.choice((1, 1, 2, 3))]:
            self._object(case, name)
        if chance.random() < 0.8:
            case.routes.append(f"route append default via {self._gateway(case, '')} proto static")
        for _ in range(chance.choice((0, 1, 1, 2, 3, 4))):
            self._foreign(case)
        for priority in chance.sample(range(100, 32000), chance.choice((0, 0, 1, 1, 2, 3))):
            case.rules.append(self._rule(case, priority))
        return case

    def _packet(self, family: int) -> Packet:
        chance = self._random
        packet = Packet(
            pack_address(chance.choice(DESTINATIONS[family])),
            mark=chance.choice((0, 0, 0, 1, 2)),
            protocol=UDP,
            port=PORT,
        )
        if chance.random() < 0.3:
            return replace(packet, source=pack_address(STRANGER[family]), interface="eth1", mark=0, source_port=PORT)
        if chance.random() < 0.4:
            packet = replace(packet, source=pack_address(chance.choice(NETWORKS[family])[2]))
        return packet

    def _gateway(self, case: Case, owner: str) -> str:
        address = self._random.choice(NETWORKS[case.family])[1] + str(next(self._numbers))
        case.owners[address] = owner
        return address

    def _object(self, case: Case, name: str) -> None:
        chance = self._random
        spec: dict[str, Any] = {
            "destinations": chance.sample(PREFIXES[case.family], chance.choice((1, 2))),
            "gateway": None,
        }
        weights = [{"weight": chance.choice((1, 1, 3))} for _ in range(chance.choice((1, 1, 2, 3)))]
        spec["gateways"] = [{"address": self._gateway(case, name), **weight} for weight in weights]
        spec |= chance.choice(({}, {}, {}, {"priority": chance.randrange(200)}))
        spec |= chance.choice(({}, {}, {}, {}, {"table": 100}, {"table": 200}, {"table": 300}))
        spec |= chance.choice(({}, {}, {"metric": chance.choice((5, 50, 2000))}))
        case.objects[name] = spec

    def _foreign(self, case: Case) -> None:
        chance = self._random
        prefix = chance.choice((*PREFIXES[case.family], "default"))
        table = chance.choice((254, 254, 100, 200))
        tail = f"table {table} proto {chance.choice(('static', 'bird'))}"
        tail += chance.choice(("", "", " metric 3", " metric 30"))
        kind = chance.choice(
            ("unicast",) * 8 + ("multipath", "multipath", "blackhole", "unreachable", "prohibit", "throw")
        )
        if kind == "unicast":
            case.routes.append(f"route append {prefix} via {self._gateway(case, '')} {tail}")
        elif kind == "multipath":
            hops = [f"nexthop via {self._gateway(case, '')} weight {chance.choice((1, 4))}" for _ in range(2)]
            case.routes.append(f"route append {prefix} {tail} {' '.join(hops)}")
        else:
            case.routes.append(f"route append {kind} {prefix} {tail}")

    def _rule(self, case: Case, priority: int) -> str:
        chance = self._random
        network = chance.choice(NETWORKS[case.family])
        whom = chance.choice(
            (
                "from all",
                f"from {network[2]}",
                f"from {network[1]}0/{24 if case.family == 4 else 64}",
                f"to {chance.choice(PREFIXES[case.family])}",
                "fwmark 1",
                "fwmark 0x2/0x3",
                "iif eth1",
                "iif lo",
                f"ipproto udp dport {PORT}",
                "ipproto tcp",
                "not fwmark 1",
                f"not to {chance.choice(PREFIXES[case.family])}",
            )
        )
        what = chance.choice(
            (
                "lookup 100",
                "lookup 100",
                "lookup 200",
                "lookup 200",
                "lookup main suppress_prefixlength 24",
                "unreachable",
            )
        )
        return f"priority {priority} {whom} {what}"


class _Wire:
    """The packets that leave the machine, and a way in for packets of strangers."""

    def __init__(self, machine: Machine) -> None:
        self._sockets = {}
        self._hardware = {}
        for name in ("eth0", "eth1"):
            peer = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
            peer.bind((f"{name}-peer", ETH_P_ALL))
            self._sockets[name] = peer
            self._hardware[name] = bytes.fromhex(
                machine.query("link", "show", "dev", name)[0]["address"].replace(":", "")
            )
        neighbours = [
            f"neigh replace {prefix}{number} lladdr {_hardware(prefix, number)} dev {interface} nud permanent"
            for networks in NETWORKS.values()
            for interface, prefix, _ in networks
            for number in range(FIRST_GATEWAY, LAST_GATEWAY + 1)
        ]
        machine.ip(*neighbours)
        self._gateways = {
            _hardware(prefix, number): f"{prefix}{number}"
            for networks in NETWORKS.values()
            for _, prefix, _ in networks
            for number in range(FIRST_GATEWAY, LAST_GATEWAY + 1)
        }

    def close(self) -> None:
        """Release the sockets."""
        for each in self._sockets.values():
            each.close()

    def send(self, packet: Packet, token: bytes) -> bool:
        """Send a packet with this content; False when the machine refuses to."""
        if packet.interface:
            self._sockets[packet.interface].send(
                self._hardware[packet.interface] + bytes(5) + b"\x09" + _frame(packet, token)
            )
            return True
        family = socket.AF_INET if len(packet.destination) == 4 else socket.AF_INET6
        with socket.socket(family, socket.SOCK_DGRAM) as sender:
            sender.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, packet.mark)
            if packet.source:
                sender.bind((packet.source_text, 0))
            try:
                sender.sendto(token, (unpack_address(packet.destination), packet.port))
            except OSError:
                return False
        return True

    def leaves_to(self, destination: bytes, token: bytes, patience: float) -> str | None:
        """The gateway to which the frame with this content is sent; None when none leaves in time."""
        # The sender gets an error with the content of the dropped packet.
        start, end = (30, 34) if len(destination) == 4 else (38, 54)
        deadline = time.monotonic() + patience
        while (left := deadline - time.monotonic()) > 0:
            for each in select.select(list(self._sockets.values()), [], [], left)[0]:
                try:
                    frame, address = each.recvfrom(2048)
                except OSError as error:
                    # Said once of an interface that was taken down.
                    if error.errno != errno.ENETDOWN:
                        raise
                    continue
                # The test's own packets leave by these sockets too.
                if token in frame and frame[start:end] == destination and address[2] != socket.PACKET_OUTGOING:
                    return self._gateways.get(frame[:6].hex(":"), frame[:6].hex(":"))
        return None


def _hardware(prefix: str, number: int) -> str:
    kind = [networks[place][1] for networks in NETWORKS.values() for place in (0, 1)].index(prefix)
    return f"02:00:00:00:{kind:02x}:{number:02x}"


def _frame(packet: Packet, token: bytes) -> bytes:
    """Type and content of an Ethernet frame with a UDP packet."""
    udp = struct.pack(">HHHH", packet.source_port, packet.port, 8 + len(token), 0) + token
    if len(packet.destination) == 4:
        header = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(udp), 1, 0, 64, UDP, 0) + packet.source + packet.destination
        return b"\x08\x00" + header[:10] + _checksum(header) + header[12:] + udp
    pseudo = packet.source + packet.destination + struct.pack(">II", len(udp), UDP)
    udp = udp[:6] + _checksum(pseudo + udp) + udp[8:]
    return b"\x86\xdd" + struct.pack(">IHBB", 6 << 28, len(udp), UDP, 64) + packet.source + packet.destination + udp


def _checksum(content: bytes) -> bytes:
    total = sum(struct.unpack(f">{(len(content) + 1) // 2}H", content + bytes(len(content) % 2)))
    total = (total & 0xFFFF) + (total >> 16)
    return struct.pack(">H", ~(total + (total >> 16)) & 0xFFFF)


@contextlib.contextmanager
def _prepared(machine: Machine, case: Case) -> Iterator[None]:
    """The machine with the rules and the routes of a case."""
    for each in case.routes:
        # A route that another one stands in the way of is left out.
        with contextlib.suppress(AssertionError):
            machine.ip(each, ipv6=case.family == 6)
    machine.ip(*(f"rule add {each}" for each in case.rules), ipv6=case.family == 6)
    try:
        yield
    finally:
        machine.ip(*(f"rule del priority {each.split()[1]}" for each in case.rules), ipv6=case.family == 6)
        for protocol in ("static", "bird"):
            while machine.query(f"-{case.family}", "route", "show", "table", "all", "proto", protocol):
                # With several IPv6 next hops, the second goes with the first, which ends the flush.
                with contextlib.suppress(AssertionError):
                    machine.ip(f"route flush table all proto {protocol}", ipv6=case.family == 6)


@pytest.fixture
def wire(machine: Machine) -> Iterator[_Wire]:
    """Yield the wires of the machine, which forwards packets of strangers."""
    for setting in ("ipv4/ip_forward", "ipv6/conf/all/forwarding"):
        Path("/proc/sys/net", setting).write_text("1")
    for name in ("all", "eth0", "eth1"):
        Path(f"/proc/sys/net/ipv4/conf/{name}/rp_filter").write_text("0")
    wire = _Wire(machine)
    yield wire
    wire.close()


def _kind(explained: dict[str, Any]) -> str:
    """Return the kind of a case, to check that all kinds were met."""
    cause = explained["cause"]
    if explained["verdict"] == "Shadowed":
        for words in SHADOWS:
            if words in cause:
                return f"Shadowed: {words}"
    return str(explained["verdict"])


async def test_explain_agrees_with_packets(engine: Engine, wire: _Wire) -> None:
    """For generated rules, tables, routes and packets the gateway, the route and the StaticRoute are right."""
    generator = _Generator(12)
    forwarder = RouteTracer()
    kinds: Counter[str] = Counter()
    for number in range(1, CASES + 1):
        case = generator.case()
        with _prepared(engine.machine, case):
            for uid in list(engine.inventory.routes):
                engine.inventory.remove(uid)
            engine.put(
                *(route(name, uid=f"{name}-{number}", generation=number, **spec) for name, spec in case.objects.items())
            )
            engine.complete()
            await engine.until(partial(_tried, engine, case, number), "all objects are tried")
            # Nothing runs in between: what is explained is what the packet meets.
            forwarding = forwarder.forward(case.packet)
            explained = compare(forwarding, engine.questions.claims(unpack_address(case.packet.destination)))
            token = f"case {number} of {CASES}".encode()
            sent = wire.send(case.packet, token)
            expects = explained["kernel"]["gateway"]
            seen = wire.leaves_to(case.packet.destination, token, PATIENCE if expects else GONE) if sent else None
            said = (number, case, explained)
            assert seen == expects, f"{seen} {said}"
            _check_route(case, explained, seen, said)
            kinds[_kind(explained)] += 1
            kinds["dropped"] += seen is None
            kinds["multipath"] += len((explained["kernel"]["route"] or {"gateways": ()})["gateways"]) > 1
    forwarder.close()
    expected = {"Follows", "NotHere", "Missing", "NoStaticRoute", "dropped", "multipath"}
    assert kinds.keys() >= expected | {f"Shadowed: {words}" for words in SHADOWS}, kinds


def _tried(engine: Engine, case: Case, number: int) -> bool:
    """Report whether the reconciler has tried to program the objects of a case."""
    return {row.name: row.generation for row in engine.reconciler.rows} == dict.fromkeys(case.objects, number)


def _check_route(case: Case, explained: dict[str, Any], seen: str | None, said: object) -> None:
    """Check that the frame left by the route that was named."""
    if seen is None:
        assert explained["kernel"]["error"], said
        return
    assert seen in {hop["gateway"] for hop in explained["kernel"]["route"]["gateways"]}, said
    if owner := case.owners[seen]:
        assert (explained["verdict"], explained["object"]) == ("Follows", owner), said
    else:
        assert explained["verdict"] != "Follows", said


def test_a_rule_to_a_table_with_the_same_default_route(machine: Machine) -> None:
    """A route that is in two tables is shown with the table that the packet used, and with its rule."""
    machine.ip("route add default via 10.0.0.1", "route add default via 10.0.0.1 table 100")
    machine.ip("rule add to 203.0.113.0/24 lookup 100")
    forwarder = RouteTracer()
    forwarding = forwarder.forward(Packet(pack_address("203.0.113.145")))
    forwarder.close()
    assert forwarding.route is not None
    assert forwarding.rule is not None
    assert (forwarding.route.table, forwarding.rule.table) == (100, 100)


@dataclass
class Trap:
    """A packet that the kernel drops although its route is that of a StaticRoute.

    Attributes:
        packet: the packet: destination, source, and interface that it arrives on (none if this machine sends it).
        words: in the reason.
        spring: settings and `ip` commands that make the kernel drop it.
        release: those that end that.
        remedy: in the advice.
    """

    packet: tuple[str, str, str]
    words: str
    spring: tuple[str, ...]
    release: tuple[str, ...] = ()
    remedy: str = ""


IPV4, IPV6 = "198.18.7.1", "2001:db8:7::1"
TRAPS = {
    "strict reverse path, all": Trap(
        (IPV4, "10.1.0.200", "eth0"),
        "the reverse path filter (net.ipv4.conf.all.rp_filter=1 and net.ipv4.conf.eth0.rp_filter=0; the larger one "
        "counts) rejects the source: packets to 10.1.0.200 are sent by eth1, not by eth0",
        ("ipv4/conf/all/rp_filter=1",),
        ("ipv4/conf/all/rp_filter=2",),
        "the larger one to 2",
    ),
    "strict reverse path, interface": Trap(
        (IPV4, "10.1.0.200", "eth0"),
        "net.ipv4.conf.eth0.rp_filter=1",
        ("ipv4/conf/eth0/rp_filter=1",),
        ("route add 10.1.0.200 via 10.0.0.9",),
        "Give this node a route to 10.1.0.200 by eth0",
    ),
    "loose reverse path": Trap(
        (IPV4, "203.0.113.7", "eth0"),
        "packets to 203.0.113.7 have no route",
        ("ipv4/conf/eth0/rp_filter=2",),
        ("ipv4/conf/eth0/rp_filter=0",),
        "set both to 0",
    ),
    "reverse path to a blackhole": Trap(
        (IPV4, "203.0.113.7", "eth0"),
        "rejects the source",
        ("ipv4/conf/eth0/rp_filter=2", "route add blackhole 203.0.113.0/24"),
        ("route del blackhole 203.0.113.0/24", "route add 203.0.113.0/24 via 10.0.0.9"),
    ),
    "forwarding of an interface": Trap(
        (IPV4, "10.0.0.200", "eth0"),
        "net.ipv4.conf.eth0.forwarding=0",
        ("ipv4/conf/eth0/forwarding=0",),
        ("ipv4/conf/eth0/forwarding=1",),
        "Set net.ipv4.conf.eth0.forwarding=1",
    ),
    "no forwarding at all": Trap(
        (IPV4, "10.0.0.200", "eth0"),
        "forwards no IPv4 packets",
        ("ipv4/ip_forward=0",),
        ("ipv4/ip_forward=1",),
        "net.ipv4.ip_forward=1",
    ),
    "own source": Trap(
        (IPV4, "10.0.0.2", "eth0"),
        "10.0.0.2 is an address of this node itself",
        (),
        ("ipv4/conf/eth0/accept_local=1",),
        "net.ipv4.conf.eth0.accept_local=1",
    ),
    "loopback source": Trap(
        (IPV4, "127.0.0.9", "eth0"),
        "net.ipv4.conf.eth0.route_localnet=0",
        (),
    ),
    "multicast source": Trap((IPV4, "224.0.0.9", "eth0"), "not the address of one machine", ()),
    "no carrier": Trap(
        (IPV4, "", ""),
        "nothing leaves by eth1, which has no carrier",
        ("link set eth1-peer down",),
        ("link set eth1-peer up",),
    ),
    "silent gateway": Trap(
        (IPV4, "", ""),
        "10.1.0.10 does not answer ARP on eth1",
        ("neigh del 10.1.0.10 dev eth1",),
        (f"neigh replace 10.1.0.10 lladdr {_hardware('10.1.0.', 10)} dev eth1 nud permanent",),
        "ip neighbour show 10.1.0.10",
    ),
    "silent gateway, IPv6": Trap(
        (IPV6, "", ""),
        "fd00:1::10 does not answer neighbour solicitations on eth1",
        ("neigh del fd00:1::10 dev eth1",),
        (f"neigh replace fd00:1::10 lladdr {_hardware('fd00:1::', 10)} dev eth1 nud permanent",),
    ),
    "no IPv6 forwarding": Trap(
        (IPV6, "fd00::200", "eth0"),
        "net.ipv6.conf.all.forwarding=0: this node forwards no IPv6 packets",
        ("ipv6/conf/all/forwarding=0",),
        ("ipv6/conf/all/forwarding=1",),
        "Set net.ipv6.conf.all.forwarding=1",
    ),
    "IPv6 off": Trap(
        (IPV6, "fd00::200", "eth0"),
        "net.ipv6.conf.eth0.disable_ipv6=1",
        ("ipv6/conf/eth0/disable_ipv6=1",),
        ("ipv6/conf/eth0/disable_ipv6=0",),
        "Set net.ipv6.conf.eth0.disable_ipv6=0",
    ),
    "link-local source": Trap((IPV6, "fe80::200", "eth0"), "does not leave the link of eth0", ()),
    "unspecified source": Trap((IPV6, "::", "eth0"), "does not leave the link of eth0", ()),
    "IPv6 loopback source": Trap((IPV6, "::1", "eth0"), "::1, which is a loopback address", ()),
    "IPv6 multicast source": Trap((IPV6, "ff02::9", "eth0"), "not the address of one machine", ()),
}


def _turn(machine: Machine, changes: tuple[str, ...]) -> None:
    """Set settings (path=value below /proc/sys/net) and run `ip` commands."""
    for each in changes:
        if "=" in each:
            machine.switch(*each.split("="))
        else:
            machine.ip(each)


def _made(trap: Trap) -> Packet:
    destination, source, interface = trap.packet
    packet = Packet(pack_address(destination), interface=interface, protocol=UDP, port=PORT)
    return replace(packet, source=pack_address(source), source_port=PORT) if source else packet


def _explained(engine: Engine, packet: Packet) -> dict[str, Any]:
    tracer = RouteTracer()
    try:
        return compare(tracer.forward(packet), engine.questions.claims(unpack_address(packet.destination)))
    finally:
        tracer.close()


@pytest.mark.parametrize("trap", TRAPS.values(), ids=TRAPS.keys())
async def test_dropped_packet_is_never_said_to_follow(engine: Engine, wire: _Wire, trap: Trap) -> None:
    """A packet that the kernel drops for another reason than a route is Dropped; the advice gets it through."""
    engine.put(
        route("nat", destinations=["198.18.0.0/15"], gateway="10.1.0.10"),
        route("nat6", destinations=["2001:db8::/32"], gateway="fd00:1::10"),
    )
    engine.complete()
    await engine.until(lambda: len(engine.machine.routes()) == 2, "the routes are installed")
    packet = _made(trap)
    _turn(engine.machine, trap.spring)
    if wire.send(packet, b"first"):
        assert wire.leaves_to(packet.destination, b"first", GONE) is None

    found = _explained(engine, packet)

    assert (found["verdict"], found["kernel"]["gateway"]) == ("Dropped", None), found
    assert trap.words in found["text"]
    assert trap.remedy in found["cause"]
    if trap.release:
        _turn(engine.machine, trap.release)
        await engine.until(lambda: _explained(engine, packet)["verdict"] == "Follows", "the packet follows")
        assert _gateway_of(wire, packet) in {"10.1.0.10", "fd00:1::10"}


def _gateway_of(wire: _Wire, packet: Packet) -> str | None:
    """Send a packet until it leaves, and return its gateway. A link drops packets just after its carrier is back."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        assert wire.send(packet, b"second")
        if (gateway := wire.leaves_to(packet.destination, b"second", GONE)) is not None:
            return gateway
    return None


async def test_packet_that_follows_is_not_said_to_be_dropped(engine: Engine, wire: _Wire) -> None:
    """Settings that others blame do no harm where the kernel does not look at them."""
    engine.put(
        route("nat", destinations=["198.18.0.0/15"], gateway="10.1.0.10"),
        route("nat6", destinations=["2001:db8::/32"], gateway="fd00:1::10"),
    )
    engine.complete()
    await engine.until(lambda: len(engine.machine.routes()) == 2, "the routes are installed")
    _turn(
        engine.machine,
        (
            "ipv4/conf/all/rp_filter=1",
            "ipv4/conf/eth1/forwarding=0",
            "ipv6/conf/eth0/forwarding=0",
            "ipv6/conf/eth1/accept_redirects=1",
        ),
    )
    for number, packet in enumerate(
        (
            _made(Trap((IPV4, "10.0.0.200", "eth0"), "", ())),
            _made(Trap((IPV6, "2001:db8:ffff::1", "eth0"), "", ())),
            _made(Trap((IPV4, "10.0.0.2", ""), "", ())),
        )
    ):
        assert _explained(engine, packet)["verdict"] == "Follows"
        token = f"packet {number}".encode()
        assert wire.send(packet, token)
        assert wire.leaves_to(packet.destination, token, PATIENCE) in {"10.1.0.10", "fd00:1::10"}


@pytest.mark.parametrize(
    ("packet", "words"),
    [
        ((IPV4, "10.9.9.9", ""), "10.9.9.9 is not an address of this node"),
        ((IPV6, "2001:db8:ffff::9", ""), "2001:db8:ffff::9 is not an address of this node"),
        ((IPV4, "127.0.0.1", ""), "do not leave by eth1 while net.ipv4.conf.eth1.route_localnet=0"),
        ((IPV6, "::1", ""), "packets from ::1, a loopback address, do not leave by eth1"),
        ((IPV4, "10.0.0.200", "eth9"), "this node has no interface eth9"),
    ],
)
async def test_packet_that_can_not_be_sent(engine: Engine, packet: tuple[str, str, str], words: str) -> None:
    """A packet with a source that this machine can't send from, or on an interface that it lacks, is Dropped."""
    engine.put(
        route("nat", destinations=["198.18.0.0/15"], gateway="10.1.0.10"),
        route("nat6", destinations=["2001:db8::/32"], gateway="fd00:1::10"),
    )
    engine.complete()
    await engine.until(lambda: len(engine.machine.routes()) == 2, "the routes are installed")

    found = _explained(engine, _made(Trap(packet, "", ())))

    assert found["verdict"] == "Dropped"
    assert words in found["text"]


async def test_interface_may_have_another_name(engine: Engine) -> None:
    """An alternative name of an interface serves as its name."""
    engine.put(route("nat", destinations=["198.18.0.0/15"], gateway="10.1.0.10"))
    engine.complete()
    await engine.until(engine.machine.routes, "the route is installed")
    _turn(engine.machine, ("ipv4/ip_forward=1", "link property add dev eth0 altname uplink-of-the-node"))

    found = _explained(engine, _made(Trap((IPV4, "10.0.0.200", "uplink-of-the-node"), "", ())))

    assert (found["verdict"], found["packet"]["interface"]) == ("Follows", "eth0")


async def test_packet_on_a_port_of_a_bridge_is_one_of_the_bridge(engine: Engine, wire: _Wire) -> None:
    """The settings of the bridge decide about it, and `explain` says so."""
    engine.put(route("nat", destinations=["198.18.0.0/15"], gateway="10.1.0.10"))
    engine.complete()
    await engine.until(engine.machine.routes, "the route is installed")
    _turn(engine.machine, ("link add br7 type bridge", "link set br7 up", "link set eth0 master br7"))
    packet = _made(Trap((IPV4, "10.0.0.200", "eth0"), "", ()))
    assert wire.send(packet, b"first")
    assert wire.leaves_to(packet.destination, b"first", PATIENCE) == "10.1.0.10"

    follows = _explained(engine, packet)
    _turn(engine.machine, ("ipv4/conf/br7/forwarding=0",))
    assert wire.send(packet, b"second")
    assert wire.leaves_to(packet.destination, b"second", GONE) is None
    dropped = _explained(engine, packet)

    assert follows["verdict"] == "Follows"
    assert follows["notes"] == ["eth0 is a port of br7, so the packet counts as arrived on that"]
    assert dropped["verdict"] == "Dropped"
    assert "net.ipv4.conf.br7.forwarding=0" in dropped["text"]


async def test_machine_without_an_address_to_send_from(engine: Engine) -> None:
    """With a source of ::1 alone no answer comes back: the packet is Dropped."""
    engine.put(route("nat6", destinations=["2001:db8::/32"], gateway="fd00:1::10"))
    engine.complete()
    await engine.until(lambda: len(engine.machine.routes()) == 1, "the route is installed")
    engine.machine.ip("route add fd00:1::/64 dev eth1", "addr flush dev eth1 scope global", ipv6=True)
    engine.machine.ip("addr flush dev eth0 scope global", ipv6=True)

    found = _explained(engine, _made(Trap((IPV6, "", ""), "", ())))

    assert found["verdict"] == "Dropped"
    assert "this node has no IPv6 address to send from by eth1" in found["text"]


def _echo_reply(source: bytes, destination: bytes) -> bytes:
    """An IP packet of this machine, as a router returns it in an error: the kernel needs no socket for such."""
    if len(source) == 4:
        body = struct.pack(">BBHHH", 0, 0, 0, 7, 1)
        header = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(body), 1, 0, 64, 1, 0) + source + destination
        return header[:10] + _checksum(header) + header[12:] + body[:2] + _checksum(body) + body[4:]
    body = _icmpv6(source, destination, struct.pack(">BBHHH", 129, 0, 0, 7, 1))
    return struct.pack(">IHBB", 6 << 28, len(body), 58, 64) + source + destination + body


def _icmpv6(source: bytes, destination: bytes, body: bytes) -> bytes:
    checksum = _checksum(source + destination + struct.pack(">II", len(body), 58) + body)
    return body[:2] + checksum + body[4:]


def _forge(machine: Machine, router: str, host: str, body: bytes) -> None:
    """Send an ICMP message of a router to this machine's eth1, as if it came over the wire."""
    source, destination = pack_address(router), pack_address(host)
    if len(source) == 4:
        body = body[:2] + _checksum(body) + body[4:]
        header = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(body), 1, 0, 64, 1, 0) + source + destination
        frame = b"\x08\x00" + header[:10] + _checksum(header) + header[12:] + body
    else:
        body = _icmpv6(source, destination, body)
        frame = b"\x86\xdd" + struct.pack(">IHBB", 6 << 28, len(body), 58, 255) + source + destination + body
    hardware = bytes.fromhex(machine.query("link", "show", "dev", "eth1")[0]["address"].replace(":", ""))
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as wire:
        wire.bind(("eth1-peer", ETH_P_ALL))
        wire.send(hardware + b"\x02\0\0\0\0\x01" + frame)


def _redirect(machine: Machine, router: str, host: str, destination: str, target: str) -> None:
    """Let a router send a redirect for a destination."""
    inner = _echo_reply(pack_address(host), pack_address(destination))
    if ":" not in router:
        _forge(machine, router, host, struct.pack(">BBH", 5, 1, 0) + pack_address(target) + inner)
        return
    link_layer = b"\x02\x01\x02\0\0\0\0\x09"
    header = struct.pack(">BB6x", 4, (8 + len(inner)) // 8) + inner
    addresses = pack_address(target) + pack_address(destination)
    _forge(machine, router, host, struct.pack(">BBHI", 137, 0, 0, 0) + addresses + link_layer + header)


async def test_redirect_is_told_with_its_remedy(engine: Engine, wire: _Wire) -> None:
    """An ICMP redirect leads packets to another gateway; `explain` says so, and its commands end that for good."""
    engine.put(route("nat", destinations=["198.18.0.0/15"], gateway="10.1.0.10"))
    engine.complete()
    await engine.until(engine.machine.routes, "the route is installed")
    _turn(engine.machine, ("ipv4/ip_forward=0", "ipv4/conf/all/accept_redirects=1"))
    packet = _made(Trap((IPV4, "", ""), "", ()))
    assert _explained(engine, packet)["verdict"] == "Follows"

    _redirect(engine.machine, "10.1.0.10", "10.1.0.2", IPV4, "10.1.0.11")
    await engine.until(lambda: _explained(engine, packet)["kernel"]["gateway"] == "10.1.0.11", "it is redirected")
    found = _explained(engine, packet)

    assert wire.send(packet, b"redirected")
    assert wire.leaves_to(packet.destination, b"redirected", PATIENCE) == "10.1.0.11"
    assert (found["verdict"], found["object"], found["kernel"]["redirected"]) == ("Redirected", "nat", True)
    assert found["cause"] == (
        "StaticRoute nat leads via 10.1.0.10 dev eth1, and its route is installed, but an ICMP redirect leads this "
        "address to another gateway; the agent does not end that: `ip route flush cache` ends it, and "
        "net.ipv4.conf.all.accept_redirects=0 and net.ipv4.conf.eth1.accept_redirects=0 prevent the next."
    )
    engine.machine.ip("route flush cache")
    assert _explained(engine, packet)["verdict"] == "Follows"
    _turn(engine.machine, ("ipv4/conf/all/accept_redirects=0", "ipv4/conf/eth1/accept_redirects=0"))
    _redirect(engine.machine, "10.1.0.10", "10.1.0.2", IPV4, "10.1.0.11")
    assert wire.send(packet, b"not redirected")
    assert wire.leaves_to(packet.destination, b"not redirected", PATIENCE) == "10.1.0.10"
    assert _explained(engine, packet)["verdict"] == "Follows"


async def test_redirect_of_ipv6_is_told(engine: Engine) -> None:
    """IPv6 marks no redirect, and keeps it beside the route: it is found all the same."""
    engine.machine.ip("addr add fe80::2/64 dev eth1 nodad", "route add 2001:db8::/32 via fe80::10 dev eth1")
    engine.complete()
    packet = _made(Trap((IPV6, "", ""), "", ()))
    assert not _explained(engine, packet)["kernel"]["redirected"]

    def redirected() -> bool:
        _redirect(engine.machine, "fe80::10", "fd00:1::2", IPV6, "fe80::11")
        return bool(_explained(engine, packet)["kernel"]["redirected"])

    await engine.until(redirected, "it is redirected")
    (note,) = _explained(engine, packet)["notes"]

    assert note == (
        "an ICMP redirect set this next hop; `ip -6 route flush cache` ends it, and "
        "net.ipv6.conf.eth1.accept_redirects=0 prevents the next"
    )
    engine.machine.ip("route flush cache", ipv6=True)
    _turn(engine.machine, ("ipv6/conf/eth1/accept_redirects=0",))
    _redirect(engine.machine, "fe80::10", "fd00:1::2", IPV6, "fe80::11")
    for _ in range(20):
        assert not redirected()
        await asyncio.sleep(GONE / 20)


@pytest.mark.parametrize(("destination", "mtu"), [(IPV4, 1200), (IPV6, 1300)])
async def test_learned_mtu_is_told(engine: Engine, destination: str, mtu: int) -> None:
    """A path MTU that a router reported is a note: the packet follows, and long ones do not get through whole."""
    engine.put(
        route("nat", destinations=["198.18.0.0/15"], gateway="10.1.0.10"),
        route("nat6", destinations=["2001:db8::/32"], gateway="fd00:1::10"),
    )
    engine.complete()
    await engine.until(lambda: len(engine.machine.routes()) == 2, "the routes are installed")
    packet = _made(Trap((destination, "", ""), "", ()))
    router, host = ("10.1.0.10", "10.1.0.2") if destination == IPV4 else ("fd00:1::10", "fd00:1::2")
    inner = _echo_reply(pack_address(host), pack_address(destination))
    kind = struct.pack(">BBHHH", 3, 4, 0, 0, mtu) if destination == IPV4 else struct.pack(">BBHI", 2, 0, 0, mtu)

    def learned() -> bool:
        _forge(engine.machine, router, host, kind + inner)
        return bool(_explained(engine, packet)["kernel"]["learnedMtu"] == mtu)

    await engine.until(learned, "the MTU is learned")
    found = _explained(engine, packet)

    assert found["verdict"] == "Follows"
    assert found["notes"][0].startswith(f"packets of more than {mtu} bytes are split or refused")
