"""Policy rules (`ip rule`), and the packets that they match."""

import enum
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple, Self

from static_route_operator.routing.nexthops import PROTOCOL
from static_route_operator.routing.prefixes import contains, host_prefix, pack_address, unpack_address
from static_route_operator.routing.routes import Action

_TABLE_NAMES = {253: "default", 254: "main", 255: "local"}
_IP_PROTOCOLS = {1: "icmp", 6: "tcp", 17: "udp", 58: "ipv6-icmp"}

ANY_MARK = 0
EXACT_MARK = 0xFFFFFFFF


def table_name(table: int) -> str:
    """Return a table in the word of `ip`."""
    return _TABLE_NAMES.get(table, str(table))


@dataclass(frozen=True, slots=True)
class Packet:
    """A packet to find the route of.

    Attributes:
        destination: packed address.
        source: packed address; empty lets the kernel choose, as for a socket that is not bound to an address.
        mark: firewall mark.
        interface: name of the input interface; empty for a packet that this host sends.
        protocol: number of the IP protocol; 0 for any.
        port: destination port; 0 for any.
        source_port: 0 for any.
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
        """The address family: AF_INET or AF_INET6."""
        return socket.AF_INET if len(self.destination) == 4 else socket.AF_INET6

    @property
    def source_text(self) -> str:
        """The source address as text; empty without one."""
        return unpack_address(self.source) if self.source else ""

    def from_source(self, source: str) -> "Packet":
        """Return the same packet with another source address."""
        return replace(self, source=pack_address(source))


class RuleAction(enum.Enum):
    """The action of a rule on the packets that it matches, in the words of `ip rule`."""

    LOOKUP = "lookup"
    GOTO = "goto"
    NOP = "nop"
    BLACKHOLE = "blackhole"
    UNREACHABLE = "unreachable"
    PROHIBIT = "prohibit"


class Range(NamedTuple):
    """A range of ports or users, both ends included."""

    first: int
    last: int

    def __contains__(self, number: object) -> bool:
        return isinstance(number, int) and self.first <= number <= self.last

    def __str__(self) -> str:
        return str(self.first) if self.first == self.last else f"{self.first}-{self.last}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A policy rule.

    Attributes:
        priority: the kernel evaluates the rule with the lowest number first.
        address_size: 4 for an IPv4 rule, 16 for an IPv6 one.
        action: see `RuleAction`.
        table: the table of a LOOKUP; 0 where a VRF decides.
        goto: priority of the rule with which a GOTO continues.
        source: packed prefix of the source addresses that match; empty for any.
        destination: packed prefix of the destination addresses that match; empty for any.
        interface: name of the input interface; empty for any. Packets that this host sends come in by lo.
        output: name of the interface that the sending socket is bound to; empty for any.
        mark: firewall mark, in the bits of ``mark_mask``.
        mark_mask: 0 for any mark.
        tos: type of service; 0 for any.
        ip_protocol: number of the IP protocol; 0 for any.
        source_ports: None for any.
        ports: destination ports; None for any.
        uids: users whose sockets match; None for any.
        vrf: the rule matches packets of a VRF, and leads to the table of that VRF.
        inverted: the rule matches all packets but those that the other fields describe.
        suppress_prefix_length: routes in the table with this prefix length or a shorter one do not count; None for no
            limit.
        protocol: number of the program that made the rule, as in routes; 0 for unknown.
    """

    priority: int
    address_size: int = 4
    action: RuleAction = RuleAction.LOOKUP
    table: int = 0
    goto: int = 0
    source: bytes = b""
    destination: bytes = b""
    interface: str = ""
    output: str = ""
    mark: int = 0
    mark_mask: int = ANY_MARK
    tos: int = 0
    ip_protocol: int = 0
    source_ports: Range | None = None
    ports: Range | None = None
    uids: Range | None = None
    vrf: bool = False
    inverted: bool = False
    suppress_prefix_length: int | None = None
    protocol: int = 0

    @property
    def ours(self) -> bool:
        """True if this program made the rule."""
        return self.protocol == PROTOCOL

    @property
    def senders(self) -> bytes:
        """The packed prefix of the source addresses that may match; of length 0 for any."""
        return self.source if self.source and not self.inverted else bytes(self.address_size + 1)

    @property
    def may_lead_own_packets(self) -> bool:
        """True if the rule may lead packets that this host sends to a table.

        They come in by lo. They are marked or bound to an interface only if the sender asks for that, and then the
        sender asks for the rule.
        """
        for_others = self.interface not in {"", "lo"} or self.mark or self.output
        return self.action is RuleAction.LOOKUP and self.table != 0 and (self.inverted or not for_others)

    def matches(self, packet: Packet) -> bool:
        """Report whether the kernel applies the rule to a packet of its family."""
        return self._describes(packet) != self.inverted and not self.vrf

    def _describes(self, packet: Packet) -> bool:
        source = packet.source or bytes(len(packet.destination))
        return (
            (not self.source or contains(self.source, host_prefix(source)))
            and (not self.destination or contains(self.destination, host_prefix(packet.destination)))
            and (not self.interface or self.interface == (packet.interface or "lo"))
            and not self.output
            and (packet.mark ^ self.mark) & self.mark_mask == 0
            and not self.tos
            and (not self.ip_protocol or self.ip_protocol == packet.protocol)
            and (self.source_ports is None or packet.source_port in self.source_ports)
            and (self.ports is None or packet.port in self.ports)
            and (self.uids is None or self.uids.first == 0)
        )

    @property
    def family(self) -> str:
        """The address family in a person's word."""
        return "IPv4" if self.address_size == 4 else "IPv6"

    def to_json(self) -> dict[str, Any]:
        """Return the rule as a JSON object that `from_json` reads: each field that differs from its default."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {
            name: value.hex() if isinstance(value, bytes) else value.value if isinstance(value, RuleAction) else value
            for name, value in values.items()
            if value != _DEFAULTS.get(name)
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Return the rule that `to_json` described."""
        return cls(**{name: _DECODERS.get(name, lambda value: value)(value) for name, value in data.items()})

    def __lt__(self, other: "Rule") -> bool:
        """Order rules as the kernel evaluates them; those with one priority by their family and fields."""
        return self._order < other._order

    @property
    def _order(self) -> tuple[int, int, str]:
        return self.priority, self.address_size, str(self)

    def __str__(self) -> str:
        """Return the rule as `ip rule` shows it, without the program that made it."""
        words = [f"{self.priority}:", *(["not"] if self.inverted else [])]
        words += ["from", _words(self.source) if self.source else "all"]
        words += ["to", _words(self.destination)] if self.destination else []
        words += [f"tos {self.tos:#x}"] if self.tos else []
        if self.mark_mask != ANY_MARK:
            words.append(f"fwmark {self.mark:#x}" + (f"/{self.mark_mask:#x}" if self.mark_mask != EXACT_MARK else ""))
        words += [f"iif {self.interface}"] if self.interface else []
        words += [f"oif {self.output}"] if self.output else []
        words += [f"uidrange {self.uids.first}-{self.uids.last}"] if self.uids else []
        words += [f"ipproto {_IP_PROTOCOLS.get(self.ip_protocol, self.ip_protocol)}"] if self.ip_protocol else []
        words += [f"sport {self.source_ports}"] if self.source_ports else []
        words += [f"dport {self.ports}"] if self.ports else []
        if self.vrf:
            words.append("lookup [l3mdev-table]")
        elif self.action is RuleAction.LOOKUP:
            words.append(f"lookup {table_name(self.table)}")
        else:
            words.append(f"goto {self.goto}" if self.action is RuleAction.GOTO else self.action.value)
        if self.suppress_prefix_length is not None:
            words.append(f"suppress_prefixlength {self.suppress_prefix_length}")
        return " ".join(words)


_DEFAULTS = {field.name: field.default for field in fields(Rule)}
_DECODERS: dict[str, Callable[[Any], Any]] = {
    "action": RuleAction,
    **dict.fromkeys(("source", "destination"), bytes.fromhex),
    **dict.fromkeys(("source_ports", "ports", "uids"), lambda value: Range(*value)),
}


class RuleOperation(NamedTuple):
    """One policy rule to add to the kernel or to delete from it."""

    action: Action
    rule: Rule


def _words(prefix: bytes) -> str:
    """Return a prefix as `ip` shows it: a host without its length."""
    address = unpack_address(prefix[:-1])
    return address if prefix == host_prefix(prefix[:-1]) else f"{address}/{prefix[-1]}"
