"""Messages about policy rules: encoded by pyroute2, decoded here, one `Rule` for each."""

import struct
import sys
from collections.abc import Iterable
from typing import Any

from pyroute2.netlink.rtnl.fibmsg import (
    FR_ACT_BLACKHOLE,
    FR_ACT_GOTO,
    FR_ACT_NOP,
    FR_ACT_PROHIBIT,
    FR_ACT_TO_TBL,
    FR_ACT_UNREACHABLE,
    fibmsg,
)

from static_route_operator.kernel.messages import AF_INET, AF_INET6
from static_route_operator.kernel.netlink import Message, attributes
from static_route_operator.kernel.unreadable import readable
from static_route_operator.routing.prefixes import unpack_address
from static_route_operator.routing.rules import ANY_MARK, EXACT_MARK, Range, Rule, RuleAction

# The body of a RTM_GETRULE for the rules of all families: a header of zeros.
ALL_RULES = bytes(12)

# Kind of the messages about rules (see `unreadable`).
RULE = "policy rule"

# From linux/fib_rules.h.
_FIB_RULE_HDR = struct.Struct("=BBBBBxxBI")  # family, two prefix lengths, tos, table, action, flags
_FRA_DST = 1
_FRA_SRC = 2
_FRA_IIFNAME = 3
_FRA_GOTO = 4
_FRA_PRIORITY = 6
_FRA_FWMARK = 10
_FRA_SUPPRESS_PREFIXLEN = 14
_FRA_TABLE = 15
_FRA_FWMASK = 16
_FRA_OIFNAME = 17
_FRA_L3MDEV = 19
_FRA_UID_RANGE = 20
_FRA_PROTOCOL = 21
_FRA_IP_PROTO = 22
_FRA_SPORT_RANGE = 23
_FRA_DPORT_RANGE = 24
_PORTS = struct.Struct("=HH")
_UIDS = struct.Struct("=II")
_FIB_RULE_INVERT = 0x2
# Set in all bits, FRA_SUPPRESS_PREFIXLEN says that every route counts.
_NO_SUPPRESSION = 0xFFFFFFFF

_ACTIONS = {
    FR_ACT_TO_TBL: RuleAction.LOOKUP,
    FR_ACT_GOTO: RuleAction.GOTO,
    FR_ACT_NOP: RuleAction.NOP,
    FR_ACT_BLACKHOLE: RuleAction.BLACKHOLE,
    FR_ACT_UNREACHABLE: RuleAction.UNREACHABLE,
    FR_ACT_PROHIBIT: RuleAction.PROHIBIT,
}
_NUMBERS = {action: number for number, action in _ACTIONS.items()}
_ADDRESS_SIZES = {AF_INET: 4, AF_INET6: 16}


class _RuleBody(fibmsg):  # type: ignore[misc] # pyroute2 has no types
    """A message about a rule without the netlink header, which this package adds and strips itself."""

    header = None


def parse_rules(answers: Iterable[Message]) -> tuple[Rule, ...]:
    """Return the rules in the kernel's messages, in their order, without those that are not about IP packets."""
    return tuple(readable(RULE, decode, (message.body for message in answers)))


def decode(body: bytes) -> Rule | None:
    """Return the rule in the body of a message; None if it is not about IP packets.

    Some nodes have a rule for each pod, and pyroute2 takes 50 µs to decode one.

    Raises:
        ValueError, struct.error: the message can't be read.
    """
    family, destination_length, source_length, tos, table, action, flags = _FIB_RULE_HDR.unpack_from(body)
    size = _ADDRESS_SIZES.get(family)
    if size is None or action not in _ACTIONS:
        return None
    found = dict(attributes(body, _FIB_RULE_HDR.size))

    def number(kind: int, default: int = 0) -> int:
        value = found.get(kind)
        if value is None:
            return default
        if len(value) not in {1, 2, 4}:
            raise ValueError(f"a number in it has {len(value)} bytes")
        return int.from_bytes(value, sys.byteorder)

    def name(kind: int) -> str:
        return found.get(kind, b"").rstrip(b"\0").decode(errors="replace")

    def prefix(kind: int, length: int) -> bytes:
        if kind not in found:
            return b""
        if len(found[kind]) != size or length > size * 8:
            raise ValueError(f"an address in it has {len(found[kind])} bytes and {length} bits")
        return found[kind] + bytes([length])

    def numbers(kind: int, form: struct.Struct) -> Range | None:
        return Range(*form.unpack(found[kind])) if kind in found else None

    suppressed = number(_FRA_SUPPRESS_PREFIXLEN, _NO_SUPPRESSION)
    mark = number(_FRA_FWMARK)
    return Rule(
        priority=number(_FRA_PRIORITY),
        address_size=size,
        action=_ACTIONS[action],
        table=number(_FRA_TABLE, table),
        goto=number(_FRA_GOTO),
        source=prefix(_FRA_SRC, source_length),
        destination=prefix(_FRA_DST, destination_length),
        interface=name(_FRA_IIFNAME),
        output=name(_FRA_OIFNAME),
        mark=mark,
        mark_mask=number(_FRA_FWMASK, EXACT_MARK if mark else ANY_MARK),
        tos=tos,
        ip_protocol=number(_FRA_IP_PROTO),
        source_ports=numbers(_FRA_SPORT_RANGE, _PORTS),
        ports=numbers(_FRA_DPORT_RANGE, _PORTS),
        uids=numbers(_FRA_UID_RANGE, _UIDS),
        vrf=bool(number(_FRA_L3MDEV)),
        inverted=bool(flags & _FIB_RULE_INVERT),
        suppress_prefix_length=None if suppressed == _NO_SUPPRESSION else suppressed,
        protocol=number(_FRA_PROTOCOL),
    )


def encode(rule: Rule) -> bytes:
    """Return the body of a message that adds or deletes a rule."""
    attributes: list[tuple[str, Any]] = [("FRA_PRIORITY", rule.priority), ("FRA_PROTOCOL", rule.protocol)]
    for name, value in (
        ("FRA_TABLE", rule.table),
        ("FRA_GOTO", rule.goto),
        ("FRA_SRC", unpack_address(rule.source[:-1]) if rule.source else ""),
        ("FRA_DST", unpack_address(rule.destination[:-1]) if rule.destination else ""),
        ("FRA_IIFNAME", rule.interface),
        ("FRA_OIFNAME", rule.output),
        ("FRA_IP_PROTO", rule.ip_protocol),
        ("FRA_L3MDEV", int(rule.vrf)),
    ):
        if value:
            attributes.append((name, value))
    if rule.mark_mask != ANY_MARK:
        attributes += [("FRA_FWMARK", rule.mark), ("FRA_FWMASK", rule.mark_mask)]
    for name, numbers in (
        ("FRA_SPORT_RANGE", rule.source_ports),
        ("FRA_DPORT_RANGE", rule.ports),
        ("FRA_UID_RANGE", rule.uids),
    ):
        if numbers is not None:
            attributes.append((name, f"{numbers.first}:{numbers.last}"))
    if rule.suppress_prefix_length is not None:
        attributes.append(("FRA_SUPPRESS_PREFIXLEN", rule.suppress_prefix_length))
    message = _RuleBody()
    message.setvalue(
        {
            "family": AF_INET if rule.address_size == 4 else AF_INET6,
            "src_len": rule.source[-1] if rule.source else 0,
            "dst_len": rule.destination[-1] if rule.destination else 0,
            "tos": rule.tos,
            "action": _NUMBERS[rule.action],
            "flags": _FIB_RULE_INVERT if rule.inverted else 0,
            "attrs": attributes,
        }
    )
    message.encode()
    return bytes(message.data)
