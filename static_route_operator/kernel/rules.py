"""Messages about policy rules: encoded and decoded by pyroute2, one `Rule` for each."""

import functools
import socket
import struct
from collections.abc import Iterable
from typing import Any

from pyroute2.netlink.exceptions import NetlinkDecodeError
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
from static_route_operator.kernel.netlink import Message
from static_route_operator.kernel.unreadable import pass_over
from static_route_operator.routing.prefixes import unpack_address
from static_route_operator.routing.rules import ANY_MARK, EXACT_MARK, Range, Rule, RuleAction

# The body of a RTM_GETRULE for the rules of all families: a header of zeros.
ALL_RULES = bytes(12)

# Messages whose rule is remembered.
REMEMBERED = 1024

# From linux/fib_rules.h.
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
    return tuple(rule for message in answers if (rule := decode(message.body)) is not None)


@functools.lru_cache(maxsize=REMEMBERED)
def decode(body: bytes) -> Rule | None:
    """Return the rule in the body of a message; None if it is not about IP packets, or can't be read.

    The rules of a dump are mostly those of the dump before. Some nodes have one for each pod, and pyroute2 takes 50 µs
    for each.
    """
    message = _RuleBody(body, length=len(body))
    try:
        message.decode()
        if message["family"] not in _ADDRESS_SIZES or message["action"] not in _ACTIONS:
            return None
        return _rule(message, {slot.name: slot.value for slot in message["attrs"]})
    except (NetlinkDecodeError, OSError, TypeError, ValueError, struct.error) as error:
        # pyroute2 hands over the bytes of an attribute that it can't read: they have the wrong type here.
        pass_over("policy rule", error)
        return None


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


def _rule(message: fibmsg, found: dict[str, Any]) -> Rule:
    family = message["family"]

    def number(name: str, default: int = 0) -> int:
        return int(found.get(name, default))

    def prefix(name: str, length: int) -> bytes:
        return socket.inet_pton(family, found[name]) + bytes([length]) if name in found else b""

    def numbers(name: str) -> Range | None:
        return Range(*map(int, found[name].split(":"))) if name in found else None

    suppressed = number("FRA_SUPPRESS_PREFIXLEN", _NO_SUPPRESSION)
    mark = number("FRA_FWMARK")
    return Rule(
        priority=number("FRA_PRIORITY"),
        address_size=_ADDRESS_SIZES[family],
        action=_ACTIONS[message["action"]],
        table=number("FRA_TABLE", message["table"]),
        goto=number("FRA_GOTO"),
        source=prefix("FRA_SRC", message["src_len"]),
        destination=prefix("FRA_DST", message["dst_len"]),
        interface=found.get("FRA_IIFNAME", ""),
        output=found.get("FRA_OIFNAME", ""),
        mark=mark,
        mark_mask=number("FRA_FWMASK", EXACT_MARK if mark else ANY_MARK),
        tos=message["tos"],
        ip_protocol=number("FRA_IP_PROTO"),
        source_ports=numbers("FRA_SPORT_RANGE"),
        ports=numbers("FRA_DPORT_RANGE"),
        uids=numbers("FRA_UID_RANGE"),
        vrf=bool(number("FRA_L3MDEV")),
        inverted=bool(message["flags"] & _FIB_RULE_INVERT),
        suppress_prefix_length=None if suppressed == _NO_SUPPRESSION else suppressed,
        protocol=number("FRA_PROTOCOL"),
    )
