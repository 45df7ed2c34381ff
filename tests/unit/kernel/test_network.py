"""The links, addresses and rules of a node, by dumps and notifications."""

import asyncio
import struct
from collections.abc import Sequence

import pytest

from static_route_operator.kernel import network as network_module
from static_route_operator.kernel.interfaces import (
    RTM_DELADDR,
    RTM_DELLINK,
    RTM_GETADDR,
    RTM_GETLINK,
    RTM_NEWADDR,
    RTM_NEWLINK,
)
from static_route_operator.kernel.netlink import Message, pack_attribute
from static_route_operator.kernel.network import Change, NetworkState
from static_route_operator.kernel.rules import encode
from static_route_operator.routing.facts import Subnet
from static_route_operator.routing.nexthops import PROTOCOL
from static_route_operator.routing.prefixes import pack_address, pack_prefix
from static_route_operator.routing.rules import Rule

UP = 0x10001
RTM_NEWRULE, RTM_DELRULE, RTM_GETRULE = 32, 33, 34


def link(index: int, name: str, flags: int = UP, kind: int = RTM_NEWLINK) -> Message:
    """Return a message about a link."""
    return Message(kind, 0, 0, 0, struct.pack("=BxHiII", 0, 1, index, flags, 0) + pack_attribute(3, name.encode()))


def address(index: int, text: str, kind: int = RTM_NEWADDR, lifetime: int = 0) -> Message:
    """Return a message about an address with its prefix length."""
    packed, length = pack_address(text.partition("/")[0]), int(text.partition("/")[2])
    body = struct.pack("=BBBBI", 2 if len(packed) == 4 else 10, length, 0, 0, index)
    body += (
        pack_attribute(1, packed) + pack_attribute(2, packed) + pack_attribute(6, struct.pack("=4I", *[lifetime] * 4))
    )
    return Message(kind, 0, 0, 0, body)


class Kernel:
    """A stand-in for `Fib`: the dumps that the kernel answers with.

    Attributes:
        dumps: the messages by type of the request.
        interrupted: dumps that are interrupted before one is whole.
        incomplete: see `Fib`.
        meanwhile: notifications that come in during a dump.
    """

    def __init__(self, state: NetworkState, links: Sequence[Message], addresses: Sequence[Message]) -> None:
        self._state = state
        self.dumps = {RTM_GETLINK: list(links), RTM_GETADDR: list(addresses), RTM_GETRULE: []}
        self.interrupted = 0
        self.incomplete = False
        self.meanwhile: list[Message] = []
        self.reads = 0

    async def dump(self, kind: int, request: bytes) -> list[Message]:
        """Return a dump, which is not whole while `interrupted` counts down."""
        assert not any(request)
        self.reads += kind == RTM_GETLINK
        found = list(self.dumps[kind])
        for message in self.meanwhile:
            self._state.apply(message)
        self.meanwhile.clear()
        self.incomplete = self.interrupted > 0
        self.interrupted -= kind == RTM_GETADDR
        return found

    def close(self) -> None:
        """Close nothing."""


@pytest.fixture
def state() -> NetworkState:
    """Return a state that has read nothing."""
    return NetworkState()


@pytest.fixture
def kernel(state: NetworkState, monkeypatch: pytest.MonkeyPatch) -> Kernel:
    """Return a kernel with eth0 and eth1, which the state reads."""
    kernel = Kernel(
        state,
        [link(2, "eth0"), link(3, "eth1")],
        [address(2, "10.0.0.2/24"), address(3, "10.1.0.2/24"), address(3, "fd00:1::2/64")],
    )
    monkeypatch.setattr(network_module, "Fib", lambda: kernel)
    monkeypatch.setattr(network_module, "FIRST_PAUSE", 0.001)
    return kernel


def subnets(state: NetworkState) -> set[Subnet]:
    """Return the connected subnets."""
    return set(state.network.subnets)


async def test_notifications_change_what_was_read(state: NetworkState, kernel: Kernel) -> None:
    """Links and addresses that come, change and go need no further read."""
    await state.ready()
    assert state.network.names == {2: "eth0", 3: "eth1"}
    before = state.network

    state.apply(link(2, "wan0", 0))
    state.apply(address(3, "10.1.0.2/24", RTM_DELADDR))
    state.apply(link(9, "eth2"))
    state.apply(address(9, "10.9.0.2/16"))
    state.apply(address(9, "10.9.0.3/16"))

    assert state.network.names == {2: "wan0", 3: "eth1", 9: "eth2"}
    assert state.network.down == {"wan0"}
    assert subnets(state) == {
        Subnet(pack_prefix("10.0.0.0/24"), "wan0"),
        Subnet(pack_prefix("10.9.0.0/16"), "eth2"),
        Subnet(pack_prefix("fd00:1::/64"), "eth1"),
    }
    state.apply(link(9, "eth2", kind=RTM_DELLINK))
    assert pack_address("10.9.0.3") not in state.network.owners
    assert before.names == {2: "eth0", 3: "eth1"}
    assert kernel.reads == 1


async def test_what_changes_nothing_is_no_change(state: NetworkState, kernel: Kernel) -> None:
    """The rest of the lifetime of an address, or the statistics of a link, change nothing."""
    await state.ready()
    network = state.network

    assert state.apply(address(2, "10.0.0.2/24", lifetime=7)) is None
    assert state.apply(link(2, "eth0")) is None
    assert state.apply(address(2, "10.0.0.9/24", RTM_DELADDR)) is None
    assert state.network is network


async def test_change_says_which_prefixes_and_whether_routes_went(state: NetworkState, kernel: Kernel) -> None:
    """A second address of a subnet changes only itself; with the last address of a link the kernel drops its routes."""
    await state.ready()
    own, subnet = pack_prefix("10.0.0.9/32"), pack_prefix("10.0.0.0/24")

    assert state.apply(address(2, "10.0.0.9/24")) == Change(2, prefixes=(own,))
    assert state.apply(address(2, "10.0.0.2/24", RTM_DELADDR)) == Change(2, prefixes=(pack_prefix("10.0.0.2/32"),))
    assert state.apply(address(2, "10.0.0.9/24", RTM_DELADDR)) == Change(2, prefixes=(own, subnet), lossy=True)
    assert state.apply(address(2, "10.0.0.9/24")) == Change(2, prefixes=(own, subnet))
    down = state.apply(link(2, "eth0", 0))
    assert down is not None
    assert down.lossy


async def test_a_thousand_addresses_derive_no_subnets_again(state: NetworkState, kernel: Kernel) -> None:
    """An address that connects to no subnet, as those of services do, leaves all but the addresses as it is."""
    await state.ready()
    known = state.network.subnets
    for each in range(1000):
        state.apply(address(2, f"172.20.{each >> 8}.{each & 255}/32"))

    assert state.network.subnets is known
    assert len(state.network.owners) == 1003


async def test_message_that_can_not_be_read_changes_nothing(state: NetworkState, kernel: Kernel) -> None:
    """Odd notifications are passed over."""
    await state.ready()
    network = state.network

    for kind in (RTM_NEWLINK, RTM_DELLINK, RTM_NEWADDR, RTM_DELADDR, RTM_NEWRULE, RTM_DELRULE, 77):
        for body in (b"", b"\x02", bytes(8), b"\xff" * 24):
            assert state.apply(Message(kind, 0, 0, 0, body)) is None
    assert state.network is network


async def test_interrupted_read_adds_to_what_is_known(state: NetworkState, kernel: Kernel) -> None:
    """What an interrupted read lacks is not gone; a whole one in the background completes it."""
    await state.ready()
    kernel.dumps[RTM_GETADDR] = [address(2, "10.0.0.7/24")]
    kernel.interrupted = 2
    state.read_again()
    while kernel.reads < 2:  # noqa: ASYNC110  nothing else tells
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert pack_address("10.1.0.2") in state.network.owners

    while kernel.reads < 4:  # noqa: ASYNC110  likewise
        await asyncio.sleep(0.001)
    await asyncio.sleep(0.001)
    assert state.network.owners == {pack_address("10.0.0.7"): "eth0"}
    await asyncio.sleep(0.01)
    assert kernel.reads == 4


async def test_first_read_that_is_interrupted_has_to_do(state: NetworkState, kernel: Kernel) -> None:
    """A start waits for no read without interruption: it takes what there is, and completes it later."""
    kernel.interrupted = 1_000_000
    await state.ready()

    assert state.network.names == {2: "eth0", 3: "eth1"}
    state.close()


async def test_notification_during_a_read_wins(state: NetworkState, kernel: Kernel) -> None:
    """A dump is older than what is notified while it is read."""
    await state.ready()
    kernel.meanwhile = [
        link(2, "eth0", 0),
        address(3, "10.1.0.2/24", RTM_DELADDR),
        address(3, "10.1.0.3/24"),
        link(9, "eth2"),
    ]
    state.read_again()
    while kernel.reads < 2:  # noqa: ASYNC110  nothing else tells
        await asyncio.sleep(0)
    await asyncio.sleep(0.001)

    assert state.network.down == {"eth0"}
    assert 9 in state.network.links


async def test_difference_that_no_notification_told_is_reported(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever depends on the facts hears of what a read in the background finds; not of one without a difference."""
    told: list[str] = []
    state = NetworkState(lambda: told.append("differs"))
    await state.ready()
    state.read_again()
    await asyncio.sleep(0.01)
    assert told == []

    kernel.dumps[RTM_GETLINK].pop()
    state.read_again()
    await asyncio.sleep(0.01)
    assert told == ["differs"]
    assert state.network.names == {2: "eth0"}


async def test_no_socket_to_read_with_leaves_what_is_known(
    state: NetworkState, kernel: Kernel, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Without a descriptor the facts stand, one line of the log says so, and the read is tried until it succeeds."""
    await state.ready()
    kernel.dumps[RTM_GETLINK].pop()
    failures = 3

    def open_socket() -> Kernel:
        nonlocal failures
        failures -= 1
        if failures >= 0:
            raise OSError(24, "Too many open files")
        return kernel

    monkeypatch.setattr(network_module, "Fib", open_socket)
    state.read_again()
    await asyncio.sleep(0.005)
    assert state.network.names.keys() >= {2}
    while kernel.reads < 2:  # noqa: ASYNC110  nothing else tells
        await asyncio.sleep(0.001)
    await asyncio.sleep(0.001)

    assert state.network.names == {2: "eth0"}
    assert caplog.text.count("Too many open files") == 1


async def test_rules_that_lead_own_packets_are_known(state: NetworkState, kernel: Kernel) -> None:
    """Rules are followed too, in the kernel's order; those for other packets do not count."""
    await state.ready()
    first, second = Rule(priority=10, table=100), Rule(priority=20, table=200)
    pods = Rule(priority=5, table=300, interface="veth1")
    for rule in (second, pods, first):
        state.apply(Message(RTM_NEWRULE, 0, 0, 0, encode(rule)))
    assert list(state.rules) == [first, second]

    state.apply(Message(RTM_DELRULE, 0, 0, 0, encode(first)))
    assert list(state.rules) == [second]


async def test_own_rule_that_goes_is_told(state: NetworkState, kernel: Kernel) -> None:
    """A rule of this program that somebody deletes is named."""
    await state.ready()
    rule = Rule(priority=10, table=245, protocol=PROTOCOL)

    assert state.apply(Message(RTM_DELRULE, 0, 0, 0, encode(rule))) == Change(rule=rule)
