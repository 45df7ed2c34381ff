"""Links and addresses of this namespace, as the kernel's messages tell them."""

import struct
from collections.abc import Iterable

from static_route_operator.kernel.netlink import Message, attributes
from static_route_operator.routing.facts import Subnet
from static_route_operator.routing.prefixes import supernet

RTM_NEWLINK = 16
RTM_DELLINK = 17
RTM_GETLINK = 18
RTM_DELADDR = 21
RTM_GETADDR = 22

IFLA_IFNAME = 3
IFA_ADDRESS = 1
IFA_LOCAL = 2
# Administratively up, and with a carrier.
IFF_UP = 0x1
IFF_LOWER_UP = 0x10000

IFINFOMSG = struct.Struct("=BxHiII")  # family, type, index, flags, change
_IFADDRMSG = struct.Struct("=BBBBI")  # family, prefix length, flags, scope, index

ALL_LINKS = IFINFOMSG.pack(0, 0, 0, 0, 0)
ALL_ADDRESSES = _IFADDRMSG.pack(0, 0, 0, 0, 0)


def link_is_up(body: bytes) -> bool:
    """Whether a link message is about a link that is administratively up."""
    flags: int = IFINFOMSG.unpack_from(body)[3]
    return bool(flags & IFF_UP)


def parse_links(answers: Iterable[Message]) -> tuple[dict[int, str], frozenset[str]]:
    """The names of all links by index, and of those that are administratively down."""
    names = {}
    down = set()
    for message in answers:
        index = IFINFOMSG.unpack_from(message.body)[2]
        found = dict(attributes(message.body, IFINFOMSG.size))
        names[index] = found[IFLA_IFNAME].rstrip(b"\0").decode()
        if not link_is_up(message.body):
            down.add(names[index])
    return names, frozenset(down)


def parse_addresses(answers: Iterable[Message], names: dict[int, str]) -> tuple[dict[bytes, str], tuple[Subnet, ...]]:
    """This node's own addresses with the name of their interface, and the subnets that they make reachable."""
    addresses = {}
    subnets: dict[Subnet, None] = {}
    for message in answers:
        _, length, _, _, index = _IFADDRMSG.unpack_from(message.body)
        found = dict(attributes(message.body, _IFADDRMSG.size))
        name = names.get(index, str(index))
        # On a point-to-point link IFA_ADDRESS is the peer's, and the subnet is around it.
        addresses[found.get(IFA_LOCAL, found[IFA_ADDRESS])] = name
        subnets[Subnet(supernet(found[IFA_ADDRESS], length), name)] = None
    return addresses, tuple(subnets)
