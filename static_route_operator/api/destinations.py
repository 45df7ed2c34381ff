"""What may stand as a destination or a gateway at all, on any node.

The CRD's CEL rules (``crd.py``) refuse the same at `kubectl apply`; these checks hold where there is no API server
(manifests from a directory) and for objects stored before the rules. A test holds the two against each other.
"""

from typing import NamedTuple

from static_route_operator.errors import InvalidPrefixError
from static_route_operator.prefixes import contains, host_prefix, pack_address, pack_prefix


class SpecialRange(NamedTuple):
    """A range that can never be routed through a gateway."""

    cidr: str
    prefix: bytes
    what: str


def _special(cidr: str, what: str) -> SpecialRange:
    return SpecialRange(cidr, pack_prefix(cidr), what)


SPECIAL_RANGES = (
    _special("0.0.0.0/8", "this host"),
    _special("127.0.0.0/8", "loopback"),
    _special("169.254.0.0/16", "link-local"),
    _special("224.0.0.0/4", "multicast"),
    _special("255.255.255.255/32", "broadcast"),
    _special("::/127", "unspecified or loopback"),
    _special("fe80::/10", "link-local"),
    _special("ff00::/8", "multicast"),
)

# A prefix this short is the default route (length 0) or a half of it (length 1).
LONGEST_DEFAULT = 1


def parse_destination(text: object) -> bytes:
    """The packed prefix of one entry of ``spec.destinations``.

    Raises:
        InvalidPrefixError: not a prefix, or one that is never routed through a gateway.
    """
    if not isinstance(text, str):
        raise InvalidPrefixError(f"'{text}' is not an IP address or CIDR; write it as text, in quotes")
    prefix = pack_prefix(text)
    if prefix[-1] <= LONGEST_DEFAULT:
        raise InvalidPrefixError(
            f"'{text}' is the default route or half of it, which would take the node's own traffic along"
        )
    if special := _special_range_of(prefix[:-1]):
        raise InvalidPrefixError(f"'{text}' is in {special.cidr} ({special.what}), never routed through a gateway")
    return prefix


def parse_gateway(text: object) -> bytes:
    """The packed address of a gateway.

    Raises:
        InvalidPrefixError: not an address, or one that no gateway can have.
    """
    if not isinstance(text, str):
        raise InvalidPrefixError(f"gateway '{text}' is not an IP address; write it as text, in quotes")
    try:
        address = pack_address(text)
    except InvalidPrefixError as error:
        raise InvalidPrefixError(f"gateway {error}") from None
    if special := _special_range_of(address):
        where = f"is in {special.cidr} ({special.what})"
        raise InvalidPrefixError(f"gateway '{text}' {where}; it must be a unicast address on a subnet of the node")
    return address


def _special_range_of(address: bytes) -> SpecialRange | None:
    host = host_prefix(address)
    return next((special for special in SPECIAL_RANGES if contains(special.prefix, host)), None)
