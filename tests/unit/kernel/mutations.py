"""Netlink messages that no kernel should send: real ones, changed at random."""

import random
import struct
from collections.abc import Callable

_HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence number, port
_ATTRIBUTE = struct.Struct("=HH")  # length, type
# Bytes of the fixed part that precedes the attributes, by type of message less 16, in fours: new, deleted, get, set.
_FIXED = {0: 16, 1: 8, 2: 12, 3: 12, 4: 12, 22: 8}

Mutation = Callable[[random.Random, int, bytes], bytes]


def mutate(seed: int, message: bytes) -> tuple[str, bytes]:
    """Return the name of the mutation that belongs to a seed, and a message changed by it.

    The length in the header is right again afterwards, so that the messages that follow in a datagram can be found.

    Args:
        seed: the same seed makes the same change.
        message: with its header and its padding.
    """
    # Numbers that follow each other would make similar sequences.
    chance = random.Random(f"mutation {seed}")  # noqa: S311  no secret
    name, mutation = chance.choice(list(MUTATIONS.items()))
    (length, kind, *_) = _HEADER.unpack_from(message)
    body = message[_HEADER.size : length]
    if mutation is _other_type:
        return name, _framed(message, body, chance.choice([chance.randrange(16, 120), chance.randrange(1 << 16)]))
    return name, _framed(message, mutation(chance, _FIXED.get((kind - 16) // 4, 12), body), kind)


def break_frame(seed: int, datagram: bytes) -> bytes:
    """Return a datagram in which a message's header has a wrong length, or which ends in the midst of a message."""
    chance = random.Random(f"frame {seed}")  # noqa: S311  no secret
    if chance.random() < 0.3:
        return datagram[: chance.randrange(len(datagram))]
    starts, offset = [], 0
    while offset < len(datagram):
        starts.append(offset)
        offset += (_HEADER.unpack_from(datagram, offset)[0] + 3) & ~3
    at = chance.choice(starts)
    length = chance.choice([0, 1, 4, 15, 16, 17, 20, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, chance.randrange(1 << 12)])
    return datagram[:at] + struct.pack("=I", length) + datagram[at + 4 :]


def _framed(message: bytes, body: bytes, kind: int) -> bytes:
    (_, _, flags, sequence, port) = _HEADER.unpack_from(message)
    return _HEADER.pack(_HEADER.size + len(body), kind, flags, sequence, port) + body + bytes(-len(body) % 4)


def _split(body: bytes, fixed: int) -> list[bytes]:
    """Return the attributes after the fixed part, each with its header and padding."""
    found, offset = [], fixed
    while offset + _ATTRIBUTE.size <= len(body):
        size = (max(_ATTRIBUTE.unpack_from(body, offset)[0], _ATTRIBUTE.size) + 3) & ~3
        found.append(body[offset : offset + size])
        offset += size
    return found


def _flip_bits(chance: random.Random, _fixed: int, body: bytes) -> bytes:
    changed = bytearray(body)
    for _ in range(chance.choice([1, 1, 1, 2, 8, 64])):
        if changed:
            changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def _truncate(chance: random.Random, _fixed: int, body: bytes) -> bytes:
    return body[: chance.randrange(len(body) + 1)]


def _truncate_fixed(chance: random.Random, fixed: int, body: bytes) -> bytes:
    return body[: chance.randrange(fixed + 1)]


def _empty(_chance: random.Random, _fixed: int, _body: bytes) -> bytes:
    return b""


def _append(chance: random.Random, _fixed: int, body: bytes) -> bytes:
    return body + bytes(-len(body) % 4) + chance.randbytes(chance.randrange(1, 64))


def _change_length(chance: random.Random, fixed: int, body: bytes) -> bytes:
    found = _split(body, fixed)
    if not found:
        return body
    at = chance.randrange(len(found))
    length = chance.choice([0, 1, 3, 4, 5, 6, 7, 8, 12, 20, 255, 0xFFFF, chance.randrange(1 << 16)])
    found[at] = struct.pack("=H", length) + found[at][2:]
    return body[:fixed] + b"".join(found)


def _change_value_size(chance: random.Random, fixed: int, body: bytes) -> bytes:
    found = _split(body, fixed)
    if not found:
        return body
    at = chance.randrange(len(found))
    kind = struct.unpack_from("=H", found[at], 2)[0]
    value = chance.randbytes(chance.choice([0, 1, 2, 3, 4, 5, 8, 15, 16, 17, 64]))
    found[at] = _ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), kind) + value + bytes(-len(value) % 4)
    return body[:fixed] + b"".join(found)


def _change_nested_length(chance: random.Random, fixed: int, body: bytes) -> bytes:
    found = _split(body, fixed)
    nesting = [at for at, each in enumerate(found) if len(each) >= 3 * _ATTRIBUTE.size]
    if not nesting:
        return _change_length(chance, fixed, body)
    at = chance.choice(nesting)
    inner = chance.randrange(_ATTRIBUTE.size, len(found[at]) - 1, 4)
    length = chance.choice([0, 1, 2, 3, 4, 7, 8, 9, 0xFFFF, chance.randrange(1 << 16)])
    found[at] = found[at][:inner] + struct.pack("=H", length) + found[at][inner + 2 :]
    return body[:fixed] + b"".join(found)


def _drop(chance: random.Random, fixed: int, body: bytes) -> bytes:
    found = _split(body, fixed)
    for _ in range(chance.choice([1, 1, 2, len(found)])):
        if found:
            del found[chance.randrange(len(found))]
    return body[:fixed] + b"".join(found)


def _duplicate(chance: random.Random, fixed: int, body: bytes) -> bytes:
    found = _split(body, fixed)
    if found:
        found.insert(chance.randrange(len(found)), chance.choice(found))
    return body[:fixed] + b"".join(found)


def _reorder(chance: random.Random, fixed: int, body: bytes) -> bytes:
    found = _split(body, fixed)
    chance.shuffle(found)
    return body[:fixed] + b"".join(found)


def _change_kind(chance: random.Random, fixed: int, body: bytes) -> bytes:
    found = _split(body, fixed)
    if not found:
        return body
    at = chance.randrange(len(found))
    kind = chance.choice([chance.randrange(64), chance.randrange(1 << 16)])
    found[at] = found[at][:2] + struct.pack("=H", kind) + found[at][4:]
    return body[:fixed] + b"".join(found)


def _random_value(chance: random.Random, fixed: int, body: bytes) -> bytes:
    found = _split(body, fixed)
    if not found:
        return body
    at = chance.randrange(len(found))
    found[at] = found[at][: _ATTRIBUTE.size] + chance.randbytes(len(found[at]) - _ATTRIBUTE.size)
    return body[:fixed] + b"".join(found)


def _random_body(chance: random.Random, _fixed: int, body: bytes) -> bytes:
    return chance.randbytes(chance.choice([1, 2, 4, 8, 12, 16, 28, len(body), 512]))


def _random_fixed(chance: random.Random, fixed: int, body: bytes) -> bytes:
    return chance.randbytes(fixed) + body[fixed:]


def _other_family(chance: random.Random, _fixed: int, body: bytes) -> bytes:
    return bytes([chance.choice([0, 2, 7, 10, 28, 128, 129, 255, chance.randrange(256)])]) + body[1:]


def _other_prefix_length(chance: random.Random, _fixed: int, body: bytes) -> bytes:
    return body[:1] + bytes([chance.choice([0, 1, 31, 32, 33, 64, 127, 128, 129, 255])]) + body[2:]


def _other_type(_chance: random.Random, _fixed: int, body: bytes) -> bytes:
    """Keep the body: `mutate` changes the type in the header."""
    return body


MUTATIONS: dict[str, Mutation] = {
    "bits flipped": _flip_bits,
    "body truncated": _truncate,
    "fixed part truncated": _truncate_fixed,
    "body empty": _empty,
    "bytes appended": _append,
    "attribute's length changed": _change_length,
    "attribute's value of another size": _change_value_size,
    "nested length changed": _change_nested_length,
    "attributes dropped": _drop,
    "attribute duplicated": _duplicate,
    "attributes reordered": _reorder,
    "attribute of another type": _change_kind,
    "attribute's value random": _random_value,
    "body random": _random_body,
    "fixed part random": _random_fixed,
    "other family": _other_family,
    "other prefix length": _other_prefix_length,
    "other type": _other_type,
}
