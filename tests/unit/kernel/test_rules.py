"""Messages about policy rules."""

import json
import struct

import pytest

from static_route_operator.kernel.netlink import Message
from static_route_operator.kernel.rules import decode, encode, parse_rules
from static_route_operator.routing.prefixes import pack_address, pack_prefix
from static_route_operator.routing.rules import Range, Rule, RuleAction

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
        Rule(priority=7, table=70_000),
        Rule(priority=8, table=100, source=pack_prefix("10.1.0.0/16")),
        Rule(priority=0, table=100, address_size=16),
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
    assert not any(rule.may_lead_own_packets for rule in parse_rules([message]))


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
    (rule,) = parse_rules([message])
    assert (rule.may_lead_own_packets, rule.priority, rule.table, rule.senders) == (True, 0, 100, ANY)


RULES = [
    Rule(priority=32701, table=254, suppress_prefix_length=0, protocol=245),
    Rule(priority=32700, address_size=16, table=254, source=pack_prefix("fd00::2/128"), protocol=245),
    Rule(
        priority=5,
        action=RuleAction.GOTO,
        goto=32700,
        source=pack_prefix("10.0.0.0/8"),
        destination=pack_prefix("192.0.2.1/32"),
        interface="lo",
        output="eth0",
        mark=1,
        mark_mask=0xFF,
        tos=0x10,
        ip_protocol=6,
        uids=Range(0, 5),
        inverted=True,
    ),
    Rule(priority=1000, table=0, vrf=True),
    Rule(priority=7, table=100, source_ports=Range(1, 9), ports=Range(80, 80)),
    Rule(priority=6, action=RuleAction.BLACKHOLE, mark=0, mark_mask=0xFFFFFFFF),
]
WORDS = [
    "32701: from all lookup main suppress_prefixlength 0",
    "32700: from fd00::2 lookup main",
    "5: not from 10.0.0.0/8 to 192.0.2.1 tos 0x10 fwmark 0x1/0xff iif lo oif eth0 uidrange 0-5 ipproto tcp goto 32700",
    "1000: from all lookup [l3mdev-table]",
    "7: from all sport 1-9 dport 80 lookup 100",
    "6: from all fwmark 0x0 blackhole",
]


@pytest.mark.parametrize(("rule", "words"), list(zip(RULES, WORDS, strict=True)))
def test_rule_is_the_same_after_a_round_trip(rule: Rule, words: str) -> None:
    """Every field comes through the kernel's message and through JSON as it was, and is shown as `ip rule` does."""
    assert decode(encode(rule)) == rule
    assert Rule.from_json(json.loads(json.dumps(rule.to_json()))) == rule
    assert str(rule) == words


def test_rules_are_in_the_kernels_order() -> None:
    """The lowest priority comes first."""
    assert [rule.priority for rule in sorted(RULES)] == [5, 6, 7, 1000, 32700, 32701]


@pytest.mark.parametrize(
    "odd",
    [_rule((SOURCE, b"xy")), _rule()._replace(body=bytes(3)), _rule((23, b""))],
    ids=["address", "header", "range"],
)
def test_rule_that_can_not_be_read_is_passed_over(odd: Message) -> None:
    """An attribute of a size that nobody knows costs that rule, and none of the others."""
    assert [rule.priority for rule in parse_rules([odd, _rule(_word(PRIORITY, 7))])] == [7]
