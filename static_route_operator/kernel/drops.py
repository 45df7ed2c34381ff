"""Reasons other than a rule or a route for which the kernel drops a packet, and the settings behind them.

For a packet that arrives, the kernel's look-up fails with an error that does not name the check: EINVAL may be the
reverse path filter, a martian address or a blackhole. For IPv6 some checks come after the look-up, which succeeds. So
the checks are repeated here, in the kernel's order (ip_route_input_slow, ip6_rcv and ip6_forward). This module is pure:
callers supply what the kernel has.
"""

import ipaddress
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from static_route_operator.routing.facts import Link
from static_route_operator.routing.kernelroute import LOCAL_KINDS, KernelRoute
from static_route_operator.routing.prefixes import unpack_address
from static_route_operator.routing.rules import Packet

# Value of a network setting: family directory below /proc/sys/net, interface (or "all"), and name. None if absent.
Settings = Callable[[str, str, str], int | None]

LOOSE = 2


class Drop(NamedTuple):
    """The reason why the kernel drops a packet.

    Attributes:
        reason: in words, with the setting behind it.
        remedy: a sentence with the change that ends it; empty if there is none.
    """

    reason: str
    remedy: str = ""


class NeighbourState(Enum):
    """The state of the next hop's entry in the neighbour table."""

    USABLE = "usable"  # resolved, or not resolved yet because nothing was sent
    UNRESOLVED = "unresolved"  # address resolution is under way or failed


@dataclass(frozen=True, slots=True)
class Journey:
    """A packet, and what the kernel has about its way.

    Attributes:
        packet: the packet.
        refused: the look-up ended with an error.
        by_table: a rule or a route, or that there is none, explains the error.
        route: route of the packet; None if unknown.
        output: name of the output interface; empty if unknown.
        next_hop: packed address of the gateway, or of the destination if it is a neighbour; empty if unknown.
        source: source address as text, given or chosen by the kernel; empty for none.
        links: the interfaces by name.
        route_back: the route to the packet's source, and its output interface; None without one.
        neighbour: state of the next hop's entry in the neighbour table.
        settings: see `Settings`.
    """

    packet: Packet
    refused: bool
    by_table: bool
    route: KernelRoute | None
    output: str
    next_hop: bytes
    source: str
    links: Mapping[str, Link]
    route_back: tuple[KernelRoute, str] | None
    neighbour: NeighbourState
    settings: Settings

    @property
    def local(self) -> bool:
        """True if the packet is for this node itself."""
        return self.route is not None and self.route.kind in LOCAL_KINDS

    def setting(self, interface: str, name: str) -> int:
        """Return a setting of an interface for the packet's family; 0 if the kernel does not have it."""
        return self.settings(_directory(self.packet), interface, name) or 0

    def either(self, interface: str, name: str) -> bool:
        """Report whether a setting is on for an interface or for all."""
        return bool(self.setting("all", name) or self.setting(interface, name))


def find_drop(journey: Journey) -> Drop | None:
    """Return why the kernel drops a packet apart from rules and routes; None if it does not."""
    steps = [_arrive, _pass_on] if journey.packet.interface else [_send]
    for step in steps:
        if drop := step(journey):
            return drop
    if journey.refused:
        return None if journey.by_table else _unexplained(journey)
    return None if journey.local else _leave(journey)


def setting_name(packet: Packet, interface: str, name: str) -> str:
    """Return the full name of a setting, as `sysctl` takes it: a dot in the name of an interface becomes a slash."""
    return f"net.{_directory(packet)}.conf.{interface.replace('.', '/')}.{name}"


def _directory(packet: Packet) -> str:
    return "ipv4" if packet.family == socket.AF_INET else "ipv6"


def _arrive(journey: Journey) -> Drop | None:
    """Check the interface and the addresses of a packet that arrives."""
    packet = journey.packet
    interface = packet.interface
    if drop := _not_carrying(journey, interface, "arrives"):
        return drop
    ipv6 = packet.family == socket.AF_INET6
    if ipv6 and journey.either(interface, "disable_ipv6"):
        where = "all" if journey.setting("all", "disable_ipv6") else interface
        name = setting_name(packet, where, "disable_ipv6")
        return Drop(f"{name}=1: {interface} takes no IPv6 packets", f"Set {name}=0.")
    source, destination = map(ipaddress.ip_address, (packet.source, packet.destination))
    if interface == "lo":
        return None
    martian = f"a packet that arrives on {interface} can't have the"
    if source.is_multicast or source == ipaddress.ip_address("255.255.255.255"):
        return Drop(f"{martian} source address {source}: it is not the address of one machine")
    if not ipv6 and source.is_unspecified and not journey.local:
        return Drop(f"{martian} source address {source}")
    for address, role in ((source, "source"), (destination, "destination")):
        if address.is_loopback and (ipv6 or not journey.either(interface, "route_localnet")):
            name = "" if ipv6 else f" while {setting_name(packet, interface, 'route_localnet')}=0"
            return Drop(f"{martian} {role} address {address}, which is a loopback address{name}")
    if not ipv6 and destination.is_unspecified:
        return Drop(f"{martian} destination address {destination}")
    return None


def _pass_on(journey: Journey) -> Drop | None:
    """Check whether this node takes a packet from its source, and forwards it."""
    # An error for which the tables have a reason comes from them.
    if journey.refused and journey.by_table:
        return None
    packet = journey.packet
    if not journey.local and (drop := _forwarding(journey)):
        return drop
    if packet.family == socket.AF_INET6:
        return None if journey.local or journey.output == packet.interface else _scope(journey)
    return _reverse_path(journey) if journey.refused else None


def _forwarding(journey: Journey) -> Drop | None:
    packet = journey.packet
    if packet.family == socket.AF_INET:
        if not journey.refused or journey.settings("ipv4", packet.interface, "forwarding") != 0:
            return None
        name = setting_name(packet, packet.interface, "forwarding")
        return Drop(
            f"{name}=0: this node forwards no IPv4 packets that arrive on {packet.interface}",
            f"Set {name}=1, or net.ipv4.ip_forward=1 for all interfaces.",
        )
    every = journey.settings("ipv6", "all", "forwarding")
    if every != 0 or journey.setting(packet.interface, "force_forwarding"):
        return None
    name = setting_name(packet, "all", "forwarding")
    return Drop(f"{name}=0: this node forwards no IPv6 packets", f"Set {name}=1.")


def _scope(journey: Journey) -> Drop | None:
    """Check the scope of an IPv6 source address that is to leave by another interface."""
    source = ipaddress.ip_address(journey.packet.source)
    if source.is_unspecified or source.is_link_local:
        return Drop(f"a packet from {source} does not leave the link of {journey.packet.interface}")
    return None


def _reverse_path(journey: Journey) -> Drop | None:
    """Explain why this node does not believe the source address of an IPv4 packet."""
    packet, interface = journey.packet, journey.packet.interface
    source = packet.source_text
    back = journey.route_back
    if back and back[0].kind == "local":
        if journey.either(interface, "accept_local"):
            return None
        name = setting_name(packet, interface, "accept_local")
        return Drop(
            f"{source} is an address of this node itself, and packets that arrive on {interface} can't have it while "
            f"{name}=0",
            f"Set {name}=1 if such packets are intended.",
        )
    modes = {each: journey.setting(each, "rp_filter") for each in ("all", interface)}
    mode = max(modes.values())
    if not mode:
        return None
    names = " and ".join(f"{setting_name(packet, each, 'rp_filter')}={value}" for each, value in modes.items())
    where = f"{source} are sent by {back[1]}, not by {interface}" if back else f"{source} have no route"
    remedy = f"Give this node a route to {source}{'' if mode == LOOSE else f' by {interface}'}, or set both to 0"
    remedy += "." if mode == LOOSE else ", or the larger one to 2 (any interface will do)."
    if packet.mark and not journey.either(interface, "src_valid_mark"):
        name = setting_name(packet, interface, "src_valid_mark")
        remedy += f" With {name}=1 the filter looks with the mark {packet.mark:#x} too."
    return Drop(
        f"the reverse path filter ({names}; the larger one counts) rejects the source: packets to {where}", remedy
    )


def _send(journey: Journey) -> Drop | None:
    """Check the source address of a packet that this node sends."""
    packet, back = journey.packet, journey.route_back
    if packet.source and not (back and back[0].kind == "local"):
        return Drop(
            f"{packet.source_text} is not an address of this node, which sends no packets from it",
            "For a packet that arrives, give its interface with --iif.",
        )
    if journey.local or (journey.refused and journey.by_table):
        return None
    ipv6 = packet.family == socket.AF_INET6
    if packet.source:
        if not ipaddress.ip_address(packet.source).is_loopback or not (ipv6 or journey.refused):
            return None
        name = "" if ipv6 else f" while {setting_name(packet, journey.output, 'route_localnet')}=0"
        return Drop(f"packets from {packet.source_text}, a loopback address, do not leave by {journey.output}{name}")
    if journey.refused:
        return None
    chosen = ipaddress.ip_address(journey.source) if journey.source else None
    if chosen is None or chosen.is_unspecified or (chosen.is_loopback and journey.output != "lo"):
        family = "IPv6" if ipv6 else "IPv4"
        return Drop(
            f"this node has no {family} address to send from by {journey.output}",
            f"Give {journey.output} an {family} address, or set spec.source in the StaticRoute.",
        )
    return None


def _leave(journey: Journey) -> Drop | None:
    """Check the interface that a packet leaves by, and the next hop."""
    if not journey.output:
        return None
    if drop := _not_carrying(journey, journey.output, "leaves"):
        return drop
    if journey.neighbour is NeighbourState.UNRESOLVED:
        how = "ARP" if len(journey.next_hop) == 4 else "neighbour solicitations"
        hop = unpack_address(journey.next_hop)
        return Drop(
            f"{hop} does not answer {how} on {journey.output}",
            f"Look whether {hop} runs and is on that link: `ip neighbour show {hop}`.",
        )
    return None


def _not_carrying(journey: Journey, interface: str, verb: str) -> Drop | None:
    link = journey.links.get(interface)
    if link is None or (link.up and link.carrier):
        return None
    if not link.up:
        return Drop(f"nothing {verb} by {interface}, which is down", f"`ip link set {interface} up` takes it up.")
    return Drop(
        f"nothing {verb} by {interface}, which has no carrier", f"Look at the cable or peer of {interface}: `ip link`."
    )


def _unexplained(journey: Journey) -> Drop | None:
    """Return a drop whose check is not known: the kernel's log names it."""
    if not journey.packet.interface:
        return Drop("the kernel refuses it")
    name = setting_name(journey.packet, "all", "log_martians")
    remedy = f"With {name}=1 the kernel logs such packets." if journey.packet.family == socket.AF_INET else ""
    return Drop("the kernel does not accept its addresses on this interface", remedy)
