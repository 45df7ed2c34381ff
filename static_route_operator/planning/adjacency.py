"""Adjacency of gateways: the interface on which a gateway is a neighbour of this node, or the reason why it is none.

A gateway is a neighbour where the kernel's own look-up leads straight to it, and only if that route is about the
gateway: a host route, the subnet of an address of that interface, or an IPv6 prefix that a router declares to be on the
link. Any other route without a gateway, such as the default route of a modem or a VPN, leads somewhere, but not to the
gateway.
"""

from static_route_operator.api.destinations import LONGEST_DEFAULT
from static_route_operator.api.gateways import Gateway
from static_route_operator.api.noderoutestate import Reason, RowState
from static_route_operator.planning.guards import Issue
from static_route_operator.routing.facts import Facts, Link, Subnet
from static_route_operator.routing.foreign import Lookup
from static_route_operator.routing.kernelroute import ANYCAST, BROADCAST, LOCAL, PROTOCOL_KERNEL, PROTOCOL_RA, UNICAST
from static_route_operator.routing.nexthops import NextHop
from static_route_operator.routing.prefixes import last_address, supernet, unpack_address, unpack_prefix

# Index of the loopback interface in every network namespace (LOOPBACK_IFINDEX of include/net/flow.h).
_LOOPBACK = 1
_VRF = "vrf"

# Names that a message lists before it is cut.
_MOST = 8


def find_next_hop(gateway: Gateway, facts: Facts, *, on_link: bool = False) -> NextHop | Issue:
    """Return the next hop of routes through a gateway, or the reason why no route on this node can use the gateway.

    Args:
        gateway: the gateway. If it names an interface, it is a neighbour there, whatever the subnets are.
        facts: the node.
        on_link: take the gateway for a neighbour on the interface by which this node would send to it now.
    """
    address = gateway.address
    if facts.is_own(address):
        return Issue(RowState.REFUSED, Reason.GATEWAY_IS_THIS_NODE, f"gateway {gateway.text} is {_own(address, facts)}")
    lookup = facts.lookups.get(address)
    if gateway.interface:
        index = facts.index(gateway.interface)
        # The kernel has to be told only what its routes do not say.
        stated = on_link or lookup is None or not lookup.on_link or lookup.interface != index
        obstacle = _obstacle(index, facts) if index else f"which this node does not have (it has {_names(facts)})"
        where = f"is on {gateway.interface}, {obstacle}" if obstacle else ""
    elif on_link and not (lookup is not None and lookup.on_link):
        index, stated = lookup.interface if lookup else 0, True
        ambiguous = _ambiguous(lookup)
        where = f"may be on any interface: {ambiguous}" if ambiguous else _obstructed(index, facts)
    elif lookup is not None and lookup.on_link and (on_link or _is_about(lookup, address, facts)):
        index, stated = lookup.interface, on_link
        where = _obstructed(index, facts)
    else:
        index, stated, where = 0, False, _elsewhere(address, lookup, facts)
    if where:
        return Issue(RowState.FAILED, Reason.GATEWAY_UNREACHABLE, f"gateway {gateway.text} {where}")
    return NextHop(address, index, gateway.weight, stated)


def belongs_here(gateway: Gateway, facts: Facts) -> bool:
    """Report whether a gateway is meant for this node: its interface or a subnet that holds it exists here."""
    return bool(facts.index(gateway.interface) if gateway.interface else _holding(gateway.address, facts))


def _is_about(lookup: Lookup, address: bytes, facts: Facts) -> bool:
    """Report whether the route that leads straight to an address is about this address or a subnet that holds it."""
    if lookup.prefix_length == len(address) * 8:
        return True
    name = facts.interfaces.get(lookup.interface)
    if any(subnet.interface == name for subnet in _holding(address, facts)):
        return True
    # A router may declare a prefix to be on the link in which this node has no address.
    declared = len(address) == 16 and lookup.protocol in {PROTOCOL_KERNEL, PROTOCOL_RA}
    return declared and lookup.prefix_length > LONGEST_DEFAULT


def _holding(address: bytes, facts: Facts) -> list[Subnet]:
    """Return the subnets that hold an address, the longest first. An address of length 0 or 1 connects to none."""
    return [each for each in facts.network.holding(address) if each.prefix[-1] > LONGEST_DEFAULT]


def _own(address: bytes, facts: Facts) -> str:
    """Describe an address of this node."""
    if address in facts.network.in_use:
        where = next(each.interface for each in facts.network.addresses if each.local == address)
        vrf = _master(facts.links.get(where), facts)
        inside = f", in the VRF {vrf.name}" if vrf and vrf.kind == _VRF else ""
        return f"this node's own address on {facts.addresses[address]}{inside}"
    lookup = facts.lookups[address]
    subnet = next(iter(_holding(address, facts)), None)
    if subnet and lookup.kind == BROADCAST:
        which = "broadcast" if address == last_address(subnet.prefix) else "network"
        return f"the {which} address of {_subnet(subnet)}"
    if subnet and lookup.kind == ANYCAST and address == subnet.prefix[:-1]:
        return f"the anycast address of all routers on {_subnet(subnet)}, and this node is one of them"
    if lookup.kind == LOCAL and lookup.prefix_length < len(address) * 8:
        prefix = unpack_prefix(supernet(address, lookup.prefix_length))
        return f"in {prefix}, all of which this node takes for its own addresses (ip route show table local)"
    article = "an" if lookup.kind == ANYCAST else "a"
    return f"{article} {lookup.kind} address of this node (ip route show table local)"


def _obstructed(index: int, facts: Facts) -> str:
    """Explain why a gateway on an interface can't be used; return an empty text if it can."""
    obstacle = _obstacle(index, facts)
    return f"is on {facts.interfaces[index]}, {obstacle}" if obstacle else ""


def _obstacle(index: int, facts: Facts) -> str:
    """Return the relative clause that says why an interface leads to no gateway; empty if it may lead to one."""
    link = facts.links.get(index)
    if link is None:
        return ""
    if index == _LOOPBACK:
        return "the loopback interface, on which there are no neighbours"
    if not link.up:
        return f"which is down: bring it up (ip link set {link.name} up)"
    if not link.carrier:
        return "which has no carrier: look at the cable or at the other end of the link"
    if link.kind == _VRF:
        return "a VRF: gateways inside of VRFs are not supported"
    master = _master(link, facts)
    if master and master.kind == _VRF:
        return f"which is in the VRF {master.name}: gateways inside of VRFs are not supported"
    if master:
        kind = f"{master.kind} " if master.kind else ""
        return (
            f"which is a port of the {kind}{master.name}: answers arrive on {master.name}, so move the node's address"
            f" from {link.name} to {master.name}"
        )
    return ""


def _master(link: Link | None, facts: Facts) -> Link | None:
    return facts.links.get(link.master) if link else None


def _ambiguous(lookup: Lookup | None) -> str:
    """Explain why the interface of a neighbour is ambiguous; return an empty text if it is not."""
    if lookup is None:
        return "this node has no route to it"
    if lookup.kind != UNICAST:
        return f"this node's route to it is of the type {lookup.kind}"
    if lookup.ours:
        return "this node's route to it belongs to a StaticRoute, maybe through itself"
    if not lookup.interface:
        return "this node's route to it has several next hops"
    return ""


def _elsewhere(address: bytes, lookup: Lookup | None, facts: Facts) -> str:
    """Say where a gateway should be, where this node would send packets for it instead, and what to do."""
    instead = _instead(address, lookup, facts)
    device = facts.interfaces.get(lookup.interface, "") if lookup and lookup.interface and not lookup.gateway else ""
    holding = _holding(address, facts)
    if not holding:
        where = f"is not on any subnet of this node ({_subnets(address, facts)})"
        if lookup and lookup.gateway == address:
            # As on networks whose default route is `via GATEWAY onlink`.
            return f"{where}, but {instead}: set onLink: true"
        if device:
            return f"{where}, and {instead}: set interface: {device} in spec.gateways if it is a neighbour there"
        return where
    subnet = min(holding, key=lambda each: (-each.prefix[-1], bool(_obstacle(facts.index(each.interface), facts))))
    name = subnet.interface
    where = f"is on {_subnet(subnet)}"
    if obstacle := _obstacle(facts.index(name), facts):
        if device and device != name:
            obstacle += f"; {instead}, and routes through it do not follow (set interface: {device} in spec.gateways"
            obstacle += " if it is a neighbour there)"
        return f"{where}, {obstacle}"
    if subnet in facts.network.unrouted:
        where += ", where the node's address has noprefixroute"
    if lookup is None:
        return (
            f"{where}, but {instead}: add the route (ip route add {unpack_prefix(subnet.prefix)} dev {name}), or set"
            f" interface: {name} in spec.gateways"
        )
    return f"{where}, but {instead}: remove that route, or set interface: {name} in spec.gateways"


def _instead(address: bytes, lookup: Lookup | None, facts: Facts) -> str:
    """Say where this node would send packets for an address."""
    if lookup is None:
        return "this node has no route to it"
    if lookup.kind != UNICAST:
        return f"this node's route to it is of the type {lookup.kind}"
    if lookup.ours:
        return "this node's route to it belongs to a StaticRoute"
    route = unpack_prefix(supernet(address, lookup.prefix_length))
    if not lookup.interface:
        return f"this node's route to it, {route}, has several next hops"
    by = facts.interfaces.get(lookup.interface, str(lookup.interface))
    if lookup.gateway:
        return f"this node would send to it by {route} via {unpack_address(lookup.gateway)} on {by}"
    return f"this node would send to it by {route} on {by}"


def _subnet(subnet: Subnet) -> str:
    return f"{unpack_prefix(subnet.prefix)} of {subnet.interface}"


def _subnets(address: bytes, facts: Facts) -> str:
    """Return the subnets that a gateway might be on; no gateway is on the loopback interface."""
    own = [
        f"{unpack_prefix(prefix)} on {name}"
        for prefix, name in facts.subnets
        if len(prefix) == len(address) + 1 and name != "lo"
    ]
    # IPv6 addresses go with the link.
    down = [] if len(address) == 4 else [link.name for link in facts.links.values() if link.arp and not link.up]
    found = _list(own) or "it has no subnet of this address family"
    return f"{found}; {_list(down)} {'is' if len(down) == 1 else 'are'} down" if down else found


def _names(facts: Facts) -> str:
    return _list([name for index, name in sorted(facts.interfaces.items()) if index != _LOOPBACK]) or "none"


def _list(texts: list[str]) -> str:
    return ", ".join(texts[:_MOST]) + (f" and {len(texts) - _MOST} more" if len(texts) > _MOST else "")
