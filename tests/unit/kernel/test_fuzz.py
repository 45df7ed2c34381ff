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
from static_route_operator.kernel.interfaces import decode_links, parse_addresses, parse_links
from static_route_operator.kernel.messages import RouteDecoder, parse_route
from static_route_operator.kernel.monitor import Monitor
from static_route_operator.kernel.neighbours import Neighbours, decode_failed_neighbour
from static_route_operator.kernel.netlink import HEADER, Message, NetlinkSocket, blocks, messages
from static_route_operator.kernel.rules import parse_rules
from static_route_operator.routing.keyset import unpack
from tests.kernel.recording import recorded
from tests.unit.kernel.mutations import MUTATIONS, break_frame, mutate

RECORDED = dict(recorded())
# Mutated dumps of each kind of object, mutated notifications, and datagrams with a wrong length in a header.
DUMPS = range(1600)
NOTIFICATIONS = range(2000)
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


class Ears(list[Callable[[bytes], None]]):
    """The callbacks of all listeners that were made: in place of the kernel, a test calls them."""

    def listener(self, _groups: int, _buffer: int, on_datagram: Callable[[bytes], None], *_: object) -> None:
        """Take the place of `Listener`."""
        self.append(on_datagram)


def _messages(datagram: bytes) -> list[Message]:
    return [each for found in dump(Answers(datagram, DONE), SEQUENCE, 0, b"", messages) for each in found]


def _links(datagram: bytes) -> Facts:
    answers = _messages(datagram)
    parse_links(answers)
    return {link.state.interface: link for link in decode_links(answers)}


def _addresses(datagram: bytes) -> Facts:
    addresses, subnets = parse_addresses(_messages(datagram), {1: "lo", 2: "eth0"})
    return dict[Hashable, Hashable]([*addresses.items(), *((subnet, None) for subnet in subnets)])


def _rules(datagram: bytes) -> Facts:
    return dict.fromkeys(parse_rules(_messages(datagram)))


def _neighbours(datagram: bytes) -> Facts:
    return dict.fromkeys(filter(None, (decode_failed_neighbour(message.body) for message in _messages(datagram))))


def _routes(datagram: bytes) -> Facts:
    decoder = RouteDecoder()
    return dict.fromkeys(filter(None, (decoder.decode(message.body) for message in _messages(datagram))))


def _whole_routes(datagram: bytes) -> Facts:
    return dict.fromkeys(parse_route(message.body) for message in _messages(datagram))


def _route_blocks(datagram: bytes) -> Facts:
    decoder = RouteDecoder()
    return {
        (protocol, next_hops, key): None
        for found in dump(Answers(datagram, DONE), SEQUENCE, 0, b"", blocks)
        for piece in found
        for protocol, next_hops, keys in decoder.decode_block(piece.packed, piece.size)
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


def test_mutated_notifications_do_not_hide_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """The watches on routes, links and neighbours report all changes of a datagram but those of mutated messages."""
    ears = Ears()
    monkeypatch.setattr(monitor_module, "Listener", ears.listener)
    monkeypatch.setattr(neighbours_module, "Listener", ears.listener)
    heard: set[Hashable] = set()
    Monitor(lambda: 1, lambda *route: heard.add(route), heard.add, lambda: None)
    Neighbours(lambda *link: heard.add(("link", link)), lambda *failed: heard.add(("failed", failed)))

    def hear(*notifications: bytes) -> set[Hashable]:
        heard.clear()
        for ear in ears:
            ear(b"".join(notifications))
        return set(heard)

    recording = RECORDED["notifications"]
    for seed in NOTIFICATIONS:
        chance, (start, *_) = _choose(seed, recording, 1)
        before, after = recording[start : start + chance.randrange(4)], recording[start + 4 : start + 8]
        name, mutated = mutate(seed, chance.choice(recording))
        with _case(seed, [name]):
            good, odd = hear(*before, *after), hear(mutated)
            assert hear(*before, mutated, *after) | odd == good | odd
