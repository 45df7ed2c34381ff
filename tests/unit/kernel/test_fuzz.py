"""Messages of the kernel that were changed at random: nothing raises, and the messages beside them count.

The messages are recorded ones (see `tests.kernel.recording`). A failure names its seed; the same seed makes the same
messages.
"""

import contextlib
import random
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence

import pytest

from static_route_operator.kernel import monitor as monitor_module
from static_route_operator.kernel import neighbours as neighbours_module
from static_route_operator.kernel.dumps import dump
from static_route_operator.kernel.interfaces import decode_address, decode_link
from static_route_operator.kernel.messages import ROUTE, RouteDecoder, parse_route
from static_route_operator.kernel.monitor import Monitor
from static_route_operator.kernel.neighbours import Neighbours, decode_failed_neighbour
from static_route_operator.kernel.netlink import HEADER, Message, NetlinkSocket, blocks, messages
from static_route_operator.kernel.network import NetworkState
from static_route_operator.kernel.rules import RULE, decode, parse_rules
from static_route_operator.kernel.unreadable import read, readable
from static_route_operator.routing.facts import Address, Link
from static_route_operator.routing.keyset import unpack
from tests.kernel.recording import recorded
from tests.unit.kernel.mutations import MUTATIONS, break_frame, mutate

RECORDED = dict(recorded())
# Mutated dumps of each kind of object, mutated notifications, and datagrams with a wrong length in a header.
DUMPS = range(1200)
NOTIFICATIONS = range(1600)
FRAMES = range(400)

SEQUENCE = 1
DONE = HEADER.pack(HEADER.size + 4, 3, 2, SEQUENCE, 42) + bytes(4)

Facts = Mapping[Hashable, Hashable]


class Answers(NetlinkSocket):
    """A socket on which a kernel has answered already."""

    def __init__(self, *datagrams: bytes) -> None:
        self._datagrams = iter(datagrams)

    def send(self, buffer: bytes | bytearray | memoryview) -> None:
        """Leave the answers as they are."""

    def receive(self) -> bytes | None:
        """Return the next datagram."""
        return next(self._datagrams, None)


def _messages(datagram: bytes) -> list[Message]:
    return [each for found in dump(Answers(datagram, DONE), SEQUENCE, 0, b"", messages) for each in found]


def _bodies(datagram: bytes) -> list[bytes]:
    return [message.body for message in _messages(datagram)]


def _links(datagram: bytes) -> Facts:
    return {link.index: link for link in readable("link", decode_link, _bodies(datagram))}


def _addresses(datagram: bytes) -> Facts:
    return dict.fromkeys(readable("address", decode_address, _bodies(datagram)))


def _rules(datagram: bytes) -> Facts:
    return dict.fromkeys(parse_rules(_messages(datagram)))


def _neighbours(datagram: bytes) -> Facts:
    return dict.fromkeys(readable("neighbour", decode_failed_neighbour, _bodies(datagram)))


def _routes(datagram: bytes) -> Facts:
    decoder = RouteDecoder()
    return dict.fromkeys(filter(None, map(decoder.decode, _bodies(datagram))))


def _whole_routes(datagram: bytes) -> Facts:
    return dict.fromkeys(readable(ROUTE, parse_route, _bodies(datagram)))


def _route_blocks(datagram: bytes) -> Facts:
    decoder = RouteDecoder()
    return {
        (protocol, next_hops, key): None
        for found in dump(Answers(datagram, DONE), SEQUENCE, 0, b"", blocks)
        for piece in found
        for protocol, next_hops, keys, _ in decoder.decode_block(piece.packed, piece.size)
        for key in unpack(keys, next_hops.key_size)
    }


DECODERS: dict[str, tuple[str, Callable[[bytes], Facts]]] = {
    "links": ("links", _links),
    "addresses": ("addresses", _addresses),
    "rules": ("rules", _rules),
    "neighbours": ("neighbours", _neighbours),
    "routes": ("routes", _routes),
    "routes, all of each": ("routes", _whole_routes),
    "routes in blocks": ("routes", _route_blocks),
}


@contextlib.contextmanager
def _case(seed: int, names: Iterable[str]) -> Iterator[None]:
    """Name the seed and the mutations of a failure."""
    try:
        yield
    except Exception as error:
        raise AssertionError(f"seed {seed} ({', '.join(names)}): {error!r}") from error


def _choose(seed: int, of: Sequence[bytes], most: int) -> tuple[random.Random, list[int]]:
    chance = random.Random(f"choice {seed}")  # noqa: S311  no secret
    return chance, sorted(chance.sample(range(len(of)), chance.randint(1, min(most, len(of)))))


@pytest.mark.parametrize("decoder", DECODERS)
def test_dump_with_mutated_messages_keeps_the_others(decoder: str) -> None:
    """Whatever some messages of a dump have become, all others say what they say without them."""
    kind, decode = DECODERS[decoder]
    recording = RECORDED[kind]
    seen = set[str]()
    assert len(decode(b"".join(recording))) > 1
    for seed in DUMPS:
        _, chosen = _choose(seed, recording, 3)
        names, mutated = zip(*(mutate(seed * 10 + at, recording[at]) for at in chosen), strict=True)
        others = [each for at, each in enumerate(recording) if at not in chosen]
        mixed = [mutated[chosen.index(at)] if at in chosen else each for at, each in enumerate(recording)]
        with _case(seed, names):
            good, odd = decode(b"".join(others)), decode(b"".join(mutated))
            assert {**decode(b"".join(mixed)), **odd} == {**good, **odd}
        seen.update(names)

    assert seen == MUTATIONS.keys()


@pytest.mark.parametrize("decoder", DECODERS)
def test_dump_with_a_broken_frame_is_read_up_to_it(decoder: str) -> None:
    """A datagram in which a header's length is wrong, or that ends early, neither raises nor loops."""
    kind, decode = DECODERS[decoder]
    datagram = b"".join(RECORDED[kind])
    for seed in FRAMES:
        with _case(seed, ["frame"]):
            decode(break_frame(seed, datagram))


class Watch:
    """All that the watches of an engine know and report, of notifications that a test hands to them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._ears: list[Callable[[bytes], None]] = []
        self._reported: list[Hashable] = []
        self._network = NetworkState()
        for module in (monitor_module, neighbours_module):
            monkeypatch.setattr(module, "Listener", self._listener)
        Monitor(lambda: 1, self._network, lambda *route: self._reported.append(route), lambda _: None, lambda: None)
        Neighbours(
            lambda *link: self._reported.append(("link", link)),
            lambda *failed: self._reported.append(("failed", failed)),
        )

    def _listener(self, _groups: int, _buffer: int, on_datagram: Callable[[bytes], None], *_: object) -> None:
        self._ears.append(on_datagram)

    def hear(self, *notifications: bytes) -> set[Hashable]:
        """Take in one datagram with all of these; return what is reported, and the links, addresses and rules."""
        for ear in self._ears:
            ear(b"".join(notifications))
        network = self._network.network
        return {*self._reported, *network.links.values(), *network.addresses, *self._network.rules}


def _subjects(message: bytes) -> set[Hashable]:
    """Return the interface or the rule that a message is about, as far as it can be read."""
    body = message[HEADER.size : HEADER.unpack_from(message)[0]]
    link, address = read("link", decode_link, body), read("address", decode_address, body)
    return {link and link.index, address and address.interface, read(RULE, decode, body)}


def test_mutated_notifications_do_not_hide_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """All changes of a datagram are reported and known, but those of mutated messages."""
    recording = RECORDED["notifications"]
    for seed in NOTIFICATIONS:
        chance, (start, *_) = _choose(seed, recording, 1)
        before, after = recording[start : start + chance.randrange(4)], recording[start + 4 : start + 8]
        name, mutated = mutate(seed, chance.choice(recording))
        with _case(seed, [name]):
            good, odd = Watch(monkeypatch).hear(*before, *after), Watch(monkeypatch).hear(mutated)
            mixed = Watch(monkeypatch).hear(*before, mutated, *after)
            # A mutated message may change what it is about, whatever the others say of the same.
            touched = _subjects(mutated)
            assert {each for each in mixed ^ good if not _about(each) & touched} <= odd


def _about(known: Hashable) -> set[Hashable]:
    """Return the interface of a link or an address, and the rule itself."""
    if isinstance(known, Link):
        return {known.index}
    return {known.interface if isinstance(known, Address) else known}
