"""Policy rules (`ip rule`) of this namespace: which tables the node's own packets may be looked up in."""

import struct
from collections.abc import Iterable, Iterator

from static_route_operator.kernel.messages import AF_INET, AF_INET6
from static_route_operator.kernel.netlink import Message, attributes
from static_route_operator.planning.facts import Rule

RTM_GETRULE = 34

FRA_SRC = 2
FRA_IIFNAME = 3
FRA_PRIORITY = 6
FRA_FWMARK = 10
FRA_TABLE = 15
FRA_OIFNAME = 17

FR_ACT_TO_TBL = 1
FIB_RULE_INVERT = 0x2

# family, destination length, source length, tos, table, two reserved, action, flags
_RULE_HEADER = struct.Struct("=BBBBBBBBI")
_WORD = struct.Struct("=I")

ALL_RULES = _RULE_HEADER.pack(0, 0, 0, 0, 0, 0, 0, 0, 0)

_ADDRESS_SIZES = {AF_INET: 4, AF_INET6: 16}


def parse_rules(answers: Iterable[Message]) -> tuple[Rule, ...]:
    """The rules that lead to a table and may match packets that this node itself sends, in their order."""
    return tuple(rule for message in answers for rule in _parse(message.body))


def _parse(body: bytes) -> Iterator[Rule]:
    family, _, source_length, _, table, _, _, action, flags = _RULE_HEADER.unpack_from(body)
    if family not in _ADDRESS_SIZES or action != FR_ACT_TO_TBL:
        return
    found = dict(attributes(body, _RULE_HEADER.size))
    source = found.get(FRA_SRC, bytes(_ADDRESS_SIZES[family])) + bytes([source_length])
    if flags & FIB_RULE_INVERT:
        source = bytes(len(source))
    elif _is_for_others(found):
        return
    table = _WORD.unpack(found[FRA_TABLE])[0] if FRA_TABLE in found else table
    # A rule without a table is one for VRFs, whose packets are not the node's own.
    if table:
        yield Rule(_WORD.unpack(found.get(FRA_PRIORITY, bytes(4)))[0], table, source)


def _is_for_others(found: dict[int, bytes]) -> bool:
    """Whether a rule is for packets that come in by an interface, carry a mark, or are bound to an interface.

    Packets that this node sends come in by lo, as it were. They are marked or bound only if their sender asks for it,
    and then it asks for that rule.
    """
    incoming = found.get(FRA_IIFNAME, b"").rstrip(b"\0")
    return incoming not in {b"", b"lo"} or any(found.get(FRA_FWMARK, b"")) or FRA_OIFNAME in found
