"""Policy rules (`ip rule`): which packets each is for, and what it does with them."""

import enum
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

from static_route_operator.kernel.messages import AF_INET, AF_INET6
from static_route_operator.kernel.netlink import Message, attributes
from static_route_operator.routing.facts import Rule
from static_route_operator.routing.prefixes import contains, host_prefix, pack_address, unpack_address, unpack_prefix

# From linux/rtnetlink.h and linux/fib_rules.h.
RTM_NEWRULE = 32
RTM_DELRULE = 33
RTM_GETRULE = 34

FR_ACT_TO_TBL = 1
FIB_RULE_INVERT = 0x2

FRA_DST = 1
FRA_SRC = 2
FRA_IIFNAME = 3
FRA_GOTO = 4
FRA_PRIORITY = 6
FRA_FWMARK = 10
FRA_SUPPRESS_PREFIXLEN = 14
FRA_TABLE = 15
FRA_FWMASK = 16
FRA_OIFNAME = 17
FRA_L3MDEV = 19
FRA_UID_RANGE = 20
FRA_PROTOCOL = 21
FRA_IP_PROTO = 22
FRA_SPORT_RANGE = 23
FRA_DPORT_RANGE = 24

# family, destination length, source length, tos, table, two reserved, action, flags
RULE_HEADER = struct.Struct("=BBBBBBBBI")
_WORD = struct.Struct("=I")
_RANGE = struct.Struct("=HH")
_UIDS = struct.Struct("=II")

ALL_POLICIES = RULE_HEADER.pack(0, 0, 0, 0, 0, 0, 0, 0, 0)

_TABLE_NAMES = {253: "default", 254: "main", 255: "local"}
_PROTOCOLS = {1: "icmp", 6: "tcp", 17: "udp", 58: "ipv6-icmp"}


def table_name(table: int) -> str:
    """A table in the word of `ip`."""
    return _TABLE_NAMES.get(table, str(table))


@dataclass(frozen=True, slots=True)
class Packet:
    """What is asked about.

    Attributes:
        destination: packed address.
        source: packed address; empty lets the kernel choose, as for a socket that is bound to none.
        mark: firewall mark.
        interface: name of the one it comes in by; empty for a packet of this host's own.
        protocol: number of the IP protocol; 0 for none in particular.
        port: destination port; 0 for none in particular.
        source_port: likewise.
    """

    destination: bytes
    source: bytes = b""
    mark: int = 0
    interface: str = ""
    protocol: int = 0
    port: int = 0
    source_port: int = 0

    @property
    def family(self) -> int:
        """AF_INET or AF_INET6."""
        return AF_INET if len(self.destination) == 4 else AF_INET6

    @property
    def source_text(self) -> str:
        """The text of its source; empty for none."""
        return unpack_address(self.source) if self.source else ""

    def from_source(self, source: str) -> "Packet":
        """The same with a source."""
        return replace(self, source=pack_address(source))


class PolicyAction(enum.Enum):
    """What a rule does with a packet."""

    TABLE = "lookup"
    GOTO = "goto"
    NOTHING = "nop"
    BLACKHOLE = "blackhole"
    UNREACHABLE = "unreachable"
    PROHIBIT = "prohibit"


_ACTIONS = {
    1: PolicyAction.TABLE,
    2: PolicyAction.GOTO,
    3: PolicyAction.NOTHING,
    6: PolicyAction.BLACKHOLE,
    7: PolicyAction.UNREACHABLE,
    8: PolicyAction.PROHIBIT,
}


class _Range(NamedTuple):
    first: int
    last: int

    def __str__(self) -> str:
        return str(self.first) if self.first == self.last else f"{self.first}-{self.last}"


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy rule.

    Attributes:
        priority: the lowest is asked first.
        action: what it does.
        table: where it leads to; 0 for one of a VRF, or that leads to none.
        target: priority of the rule that a GOTO goes on with.
        source: packed prefix; empty for any.
        destination: likewise.
        interface: name of the input interface that it is for; empty for any. Packets of this host come in by lo.
        output: name of the interface that sockets it is for are bound to; empty for any.
        mark: of the packets it is for, in the bits of ``mark_mask``.
        mark_mask: likewise; 0 for any mark.
        tos: of the packets it is for; 0 for any.
        protocol: IP protocol; 0 for any.
        source_ports: None for any.
        ports: of the destination; None for any.
        uids: users whose sockets it is for; None for any.
        vrf: it is for packets of a VRF, to whose table it leads.
        inverted: it is for all packets but those.
        suppressed: routes found whose prefixes are not longer are passed over; -1 for none.
        maker: the protocol of whoever made it, as of a route; 0 when that is not told.
        family: AF_INET or AF_INET6.
    """

    priority: int
    action: PolicyAction
    table: int = 0
    target: int = 0
    source: bytes = b""
    destination: bytes = b""
    interface: str = ""
    output: str = ""
    mark: int = 0
    mark_mask: int = 0
    tos: int = 0
    protocol: int = 0
    source_ports: _Range | None = None
    ports: _Range | None = None
    uids: _Range | None = None
    vrf: bool = False
    inverted: bool = False
    suppressed: int = -1
    maker: int = 0
    family: int = AF_INET

    def matches(self, packet: Packet) -> bool:
        """Whether it is for a packet."""
        return self._meets(packet) != self.inverted and not self.vrf

    @property
    def senders(self) -> bytes:
        """The packed prefix of the source addresses that it may be for; of length 0 when that is any."""
        any_source = bytes(5 if self.family == AF_INET else 17)
        return any_source if self.inverted else self.source or any_source

    @property
    def is_for_others(self) -> bool:
        """Whether it is for packets that come in by an interface, carry a mark, or are bound to an interface.

        Packets that this node sends come in by lo, as it were. They are marked or bound only if their sender asks for
        it, and then it asks for that rule.
        """
        return bool(self.interface not in {"", "lo"} or self.mark or self.output)

    def _meets(self, packet: Packet) -> bool:
        source = packet.source or bytes(len(packet.destination))
        return (
            (not self.source or contains(self.source, host_prefix(source)))
            and (not self.destination or contains(self.destination, host_prefix(packet.destination)))
            and (not self.interface or self.interface == (packet.interface or "lo"))
            and not self.output
            and (packet.mark ^ self.mark) & self.mark_mask == 0
            and not self.tos
            and (not self.protocol or self.protocol == packet.protocol)
            and (self.source_ports is None or self.source_ports.first <= packet.source_port <= self.source_ports.last)
            and (self.ports is None or self.ports.first <= packet.port <= self.ports.last)
            and (self.uids is None or self.uids.first == 0)
        )

    def __str__(self) -> str:
        """In the words of `ip rule`."""
        words = [f"{self.priority}:", *(["not"] if self.inverted else [])]
        words += ["from", unpack_prefix(self.source) if self.source else "all"]
        words += ["to", unpack_prefix(self.destination)] if self.destination else []
        words += [f"tos {self.tos:#x}"] if self.tos else []
        if self.mark_mask:
            words.append(f"fwmark {self.mark:#x}" + (f"/{self.mark_mask:#x}" if self.mark_mask != 0xFFFFFFFF else ""))
        words += [f"iif {self.interface}"] if self.interface else []
        words += [f"oif {self.output}"] if self.output else []
        words += [f"uidrange {self.uids.first}-{self.uids.last}"] if self.uids else []
        words += [f"ipproto {_PROTOCOLS.get(self.protocol, self.protocol)}"] if self.protocol else []
        words += [f"sport {self.source_ports}"] if self.source_ports else []
        words += [f"dport {self.ports}"] if self.ports else []
        if self.vrf:
            words.append("lookup [l3mdev-table]")
        elif self.action is PolicyAction.TABLE:
            words.append(f"lookup {table_name(self.table)}")
        else:
            words.append(f"goto {self.target}" if self.action is PolicyAction.GOTO else self.action.value)
        words += [f"suppress_prefixlength {self.suppressed}"] if self.suppressed >= 0 else []
        return " ".join(words)


def parse_policies(answers: Iterable[Message]) -> tuple[Policy, ...]:
    """The rules that the kernel told, in their order; those that are not about IP packets are left out."""
    return tuple(policy for message in answers for policy in _parse(message.body))


def parse_rules(answers: Iterable[Message]) -> tuple[Rule, ...]:
    """The rules that lead to a table and may match packets that this node itself sends, in their order."""
    return tuple(
        Rule(policy.priority, policy.table, policy.senders)
        for policy in parse_policies(answers)
        # A rule without a table is one for VRFs, whose packets are not the node's own.
        if policy.action is PolicyAction.TABLE and policy.table and (policy.inverted or not policy.is_for_others)
    )


def _parse(body: bytes) -> Iterator[Policy]:
    family, destination_length, source_length, tos, table, _, _, action, flags = RULE_HEADER.unpack_from(body)
    if family not in {AF_INET, AF_INET6} or action not in _ACTIONS:
        return
    found = dict(attributes(body, RULE_HEADER.size))

    def word(kind: int, default: int = 0) -> int:
        value: int = _WORD.unpack(found[kind])[0] if kind in found else default
        return value

    def name(kind: int) -> str:
        return found.get(kind, b"").rstrip(b"\0").decode(errors="replace")

    def prefix(kind: int, length: int) -> bytes:
        return found[kind] + bytes([length]) if kind in found else b""

    def ports(kind: int) -> _Range | None:
        return _Range(*_RANGE.unpack(found[kind])) if kind in found else None

    suppressed = word(FRA_SUPPRESS_PREFIXLEN, 0xFFFFFFFF)
    mark = word(FRA_FWMARK)
    yield Policy(
        priority=word(FRA_PRIORITY),
        action=_ACTIONS[action],
        table=word(FRA_TABLE, table),
        target=word(FRA_GOTO),
        source=prefix(FRA_SRC, source_length),
        destination=prefix(FRA_DST, destination_length),
        interface=name(FRA_IIFNAME),
        output=name(FRA_OIFNAME),
        mark=mark,
        mark_mask=word(FRA_FWMASK, 0xFFFFFFFF if mark else 0),
        tos=tos,
        protocol=found.get(FRA_IP_PROTO, b"\0")[0],
        source_ports=ports(FRA_SPORT_RANGE),
        ports=ports(FRA_DPORT_RANGE),
        uids=_Range(*_UIDS.unpack(found[FRA_UID_RANGE])) if FRA_UID_RANGE in found else None,
        vrf=FRA_L3MDEV in found and any(found[FRA_L3MDEV]),
        inverted=bool(flags & FIB_RULE_INVERT),
        # The kernel says "none" by all bits.
        suppressed=-1 if suppressed == 0xFFFFFFFF else suppressed,
        maker=found.get(FRA_PROTOCOL, b"\0")[0],
        family=family,
    )
