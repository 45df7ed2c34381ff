"""Gateway and source addresses, checked by the same rules as in the CRD."""

from typing import NamedTuple

from static_route_operator.errors import InvalidPrefixError
from static_route_operator.routing.prefixes import (
    contains,
    host_prefix,
    pack_address,
    pack_prefix,
)


class SpecialRange(NamedTuple):
    """A range that is never routed through a gateway."""

    cidr: str
    prefix: bytes
    what: str


def _special(cidr: str, what: str) -> SpecialRange:
    return SpecialRange(cidr, pack_prefix(cidr), what)


# IPv4 link-local addresses, which clouds give to the ends of tunnels. Never a destination, since the metadata service
# has one; but a gateway or a source on a node with an address in the same subnet.
LINK_LOCAL_IPV4 = _special("169.254.0.0/16", "link-local")
LINK_LOCAL_IPV6 = _special("fe80::/10", "link-local")

SPECIAL_RANGES = (
    _special("0.0.0.0/8", "this host"),
    _special("127.0.0.0/8", "loopback"),
    LINK_LOCAL_IPV4,
    _special("224.0.0.0/4", "multicast"),
    _special("255.255.255.255/32", "broadcast"),
    _special("::/127", "unspecified or loopback"),
    LINK_LOCAL_IPV6,
    _special("ff00::/8", "multicast"),
)


def parse_gateway(text: object) -> bytes:
    """Return the packed address of a gateway.

    Raises:
        InvalidPrefixError: the value is not an address, or no gateway can have the address.
    """
    return _parse_unicast(text, "gateway", "a unicast address on a subnet of the node")


def parse_source(text: object) -> bytes:
    """Return the packed source address for packets of the node.

    Raises:
        InvalidPrefixError: the value is not an address, or no packet through a gateway can have it as its source.
    """
    return _parse_unicast(text, "source", "a unicast address of the node")


def _parse_unicast(text: object, field: str, must_be: str) -> bytes:
    if not isinstance(text, str):
        raise InvalidPrefixError(f"{field} '{text}' is not an IP address; write it as text, in quotes")
    # Name everything that is wrong with an address such as fe80::1%eth0, not the zone alone.
    plain, zone, _ = text.partition("%")
    try:
        address = pack_address(plain)
    except InvalidPrefixError as error:
        raise InvalidPrefixError(f"{field} {error}".replace(f"'{plain}'", f"'{text}'", 1)) from None
    special = special_range_of(address)
    if special is LINK_LOCAL_IPV6:
        remedy = f"which is not supported yet: write the global or unique local address of the {field}"
        raise InvalidPrefixError(f"{field} '{text}' is in {special.cidr} ({special.what}), {remedy}")
    if special and special is not LINK_LOCAL_IPV4:
        where = f"is in {special.cidr} ({special.what})"
        raise InvalidPrefixError(f"{field} '{text}' {where}; it must be {must_be}")
    if zone:
        raise InvalidPrefixError(f"{field} '{text}' has a zone: write {plain}, and name the interface by itself")
    return address


def special_range_of(address: bytes) -> SpecialRange | None:
    """Return the special range that contains a packed address; None if there is none."""
    host = host_prefix(address)
    return next((special for special in SPECIAL_RANGES if contains(special.prefix, host)), None)
