"""Messages about policy rules."""

import struct

import pytest

from static_route_operator.kernel.netlink import Message
from static_route_operator.kernel.policies import parse_rules
from static_route_operator.routing.facts import Rule
from static_route_operator.routing.prefixes import pack_address, pack_prefix

ANY = pack_prefix("0.0.0.0/0")
LOOKUP, GOTO, UNREACHABLE, INVERT = 1, 2, 7, 2

SOURCE, IIF, PRIORITY, MARK, TABLE, OIF = 2, 3, 6, 10, 15, 17


def _rule(
    *attributes: tuple[int, bytes], source_length: int = 0, action: int = LOOKUP, flags: int = 0, family: int = 2
) -> Message:
    body = struct.pack("=BBBBBBBBI", family, 0, source_length, 0, 100, 0, 0, action, flags)
    for kind, value in attributes:
        body += struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)
    return Message(32, 0, 0, 0, body)


def _word(kind: int, value: int) -> tuple[int, bytes]:
    return kind, struct.pack("=I", value)


def _name(kind: int, value: str) -> tuple[int, bytes]:
    return kind, value.encode() + b"\0"


def test_rule_has_priority_table_and_source() -> None:
    """A rule is read with its table, also one of more than 8 bits, and the packets it is for."""
    source = (SOURCE, pack_address("10.1.0.0"))
    rules = parse_rules(
        [
            _rule(_word(PRIORITY, 7), _word(TABLE, 70_000)),
            _rule(_word(PRIORITY, 8), source, source_length=16),
            _rule(family=10),
        ]
    )

    assert rules == (
        Rule(7, 70_000, ANY),
        Rule(8, 100, pack_prefix("10.1.0.0/16")),
        Rule(0, 100, pack_prefix("::/0")),
    )


@pytest.mark.parametrize(
    "message",
    [
        _rule(_name(IIF, "eth0")),
        _rule(_word(MARK, 0x100)),
        _rule(_name(OIF, "eth0")),
        _rule(_word(TABLE, 0)),
        _rule(action=GOTO),
        _rule(action=UNREACHABLE),
        _rule(family=128),
    ],
    ids=["incoming", "marked", "bound", "VRF", "goto", "unreachable", "multicast"],
)
def test_rule_for_others_does_not_count(message: Message) -> None:
    """A rule that no ordinary packet of the node's own matches, or that leads to no table, is left out."""
    assert parse_rules([message]) == ()


@pytest.mark.parametrize(
    "message",
    [
        _rule(_name(IIF, "lo")),
        _rule(_word(MARK, 0)),
        _rule(_word(MARK, 0x100), flags=INVERT),
        _rule((SOURCE, pack_address("10.1.0.0")), source_length=16, flags=INVERT),
        _rule((99, b"what a later kernel may know")),
    ],
    ids=["from here", "mark 0", "all but marked", "all but a source", "unknown"],
)
def test_rule_that_may_match_own_packets_counts(message: Message) -> None:
    """A rule that may match what the node sends is one for any source."""
    assert parse_rules([message]) == (Rule(0, 100, ANY),)
