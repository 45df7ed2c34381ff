"""Route messages: many encoded into one buffer, and read back as keys and paths.

Encoding: the message of one route is a template, repeated once per route; then each byte that differs between the
routes is a column, filled by one strided assignment from the same column of the packed keys. There is no loop over
routes in Python.

Decoding: in the kernel's dumps and notifications the destination stands right after the table; everything else about a
route is the same for all routes that share a path, so it is decoded once and found again by its bytes.
"""

import struct
from array import array
from collections.abc import Sequence
from typing import NamedTuple

from static_route_operator.kernel.netlink import (
    ATTRIBUTE,
    HEADER,
    NLM_F_CREATE,
    NLM_F_EXCL,
    NLM_F_REPLACE,
    NLM_F_REQUEST,
    attributes,
)
from static_route_operator.planning.routes import (
    DEFAULT_METRIC_IPV4,
    IPV4_KEY_SIZE,
    UNKNOWN_PATH,
    Action,
    Path,
)

# Routes of this program carry this number as their protocol: it is how they are told from everybody else's.
PROTOCOL = 245

RTM_NEWROUTE = 24
RTM_DELROUTE = 25
RTM_GETROUTE = 26

AF_INET = 2
AF_INET6 = 10

RTA_DST = 1
RTA_OIF = 4
RTA_GATEWAY = 5
RTA_PRIORITY = 6
RTA_MULTIPATH = 9
RTA_TABLE = 15
RTA_VIA = 18

RTN_UNSPEC = 0
RTN_UNICAST = 1
RT_SCOPE_UNIVERSE = 0
RT_SCOPE_NOWHERE = 255
RTM_F_CLONED = 0x200
RTM_F_FIB_MATCH = 0x2000

# family, destination length, source length, tos, table, protocol, scope, type, flags
RTMSG = struct.Struct("=BBBBBBBBI")
PROTOCOL_AT = 5
_KIND_AT = 7
_TABLE_AT = RTMSG.size + ATTRIBUTE.size
_DESTINATION_AT = _TABLE_AT + 4 + ATTRIBUTE.size

_WORD = struct.Struct("=I")
_TYPE_AND_FLAGS = {
    Action.ADD: (RTM_NEWROUTE, NLM_F_REQUEST | NLM_F_CREATE | NLM_F_EXCL),
    Action.REPLACE: (RTM_NEWROUTE, NLM_F_REQUEST | NLM_F_REPLACE),
    Action.DELETE: (RTM_DELROUTE, NLM_F_REQUEST),
}
_SEQUENCE_AT = 8


def _attribute(kind: int, value: bytes) -> bytes:
    return ATTRIBUTE.pack(ATTRIBUTE.size + len(value), kind) + value


class Encoded(NamedTuple):
    """Messages one after the other.

    Attributes:
        buffer: the messages.
        size: bytes of each.
    """

    buffer: bytearray
    size: int


def encode(action: Action, path: Path, keys: Sequence[bytes], first_sequence: int) -> Encoded:
    """The messages for one action on many routes that share a path.

    Args:
        action: what to do. ADD fails in the kernel when any route holds the key, REPLACE when none does, DELETE when
            none of protocol 245 does.
        path: gateway and interface; for DELETE an unknown path matches whatever route of ours has the key.
        keys: of one family, at least one.
        first_sequence: sequence number of the first message; the next ones count up.
    """
    key_size = len(keys[0])
    ipv4 = key_size == IPV4_KEY_SIZE
    address_size = 4 if ipv4 else 16
    deleting = action is Action.DELETE
    kind, flags = _TYPE_AND_FLAGS[action]
    rtmsg = RTMSG.pack(
        AF_INET if ipv4 else AF_INET6,
        0,
        0,
        0,
        0,
        PROTOCOL,
        RT_SCOPE_NOWHERE if deleting else RT_SCOPE_UNIVERSE,
        RTN_UNSPEC if deleting else RTN_UNICAST,
        0,
    )
    varying = (
        _attribute(RTA_DST, bytes(address_size)) + _attribute(RTA_TABLE, bytes(4)) + _attribute(RTA_PRIORITY, bytes(4))
    )
    fixed = b""
    if path != UNKNOWN_PATH:
        fixed = _attribute(RTA_GATEWAY, path.gateway) + _attribute(RTA_OIF, _WORD.pack(path.interface))
    size = HEADER.size + len(rtmsg) + len(varying) + len(fixed)
    buffer = bytearray((HEADER.pack(size, kind, flags, 0, 0) + rtmsg + varying + fixed) * len(keys))

    columns = b"".join(keys)
    length_at = HEADER.size + 1
    address_at = HEADER.size + RTMSG.size + ATTRIBUTE.size
    table_at = address_at + address_size + ATTRIBUTE.size
    metric_at = table_at + 4 + ATTRIBUTE.size
    places = [
        *range(address_at, address_at + address_size),
        length_at,
        *range(table_at, table_at + 4),
        *range(metric_at, metric_at + 4),
    ]
    for column, place in enumerate(places):
        buffer[place::size] = columns[column::key_size]
    sequences = array("I", range(first_sequence, first_sequence + len(keys))).tobytes()
    for column in range(4):
        buffer[_SEQUENCE_AT + column :: size] = sequences[column::4]
    return Encoded(buffer, size)


class DecodedRoute(NamedTuple):
    """A route in a dump or a notification."""

    key: bytes
    path: Path
    protocol: int


class RouteDecoder:
    """Reads route messages; remembers the paths it has seen, so it is meant for one dump or one socket."""

    # A table of foreign multipath routes may have a path each; forgetting them costs time, not correctness.
    _MOST_PATHS = 4096

    def __init__(self) -> None:
        self._paths: dict[bytes, tuple[bytes, Path]] = {}

    def decode(self, body: bytes) -> DecodedRoute | None:
        """The route in the body of a RTM_NEWROUTE or RTM_DELROUTE; None for a cached clone or another family."""
        family = body[0]
        if family == AF_INET:
            size = 4
        elif family == AF_INET6 and not RTMSG.unpack_from(body)[-1] & RTM_F_CLONED:
            size = 16
        else:
            return None
        # The kernel always writes the table first and, unless it is the default route, the destination next.
        if body[1]:
            end = _DESTINATION_AT + size
            address = body[_DESTINATION_AT:end]
        else:
            end = _TABLE_AT + _WORD.size
            address = bytes(size)
        rest = body[_KIND_AT : _KIND_AT + 1] + body[end:]
        known = self._paths.get(rest)
        if known is None:
            if len(self._paths) >= self._MOST_PATHS:
                self._paths.clear()
            known = self._paths[rest] = _decode_path(body, end, size)
        metric, path = known
        key = address + body[1:2] + body[_TABLE_AT : _TABLE_AT + _WORD.size] + metric
        return DecodedRoute(key, path, body[PROTOCOL_AT])


def _decode_path(body: bytes, start: int, size: int) -> tuple[bytes, Path]:
    """Metric and path in the attributes from ``start`` on."""
    metric = _WORD.pack(DEFAULT_METRIC_IPV4)
    gateway, interface = b"", 0
    plain = body[_KIND_AT] == RTN_UNICAST
    for attribute, value in attributes(body, start):
        if attribute == RTA_PRIORITY:
            metric = value
        elif attribute == RTA_GATEWAY:
            gateway = value
        elif attribute == RTA_OIF:
            (interface,) = _WORD.unpack(value)
        elif attribute in {RTA_MULTIPATH, RTA_VIA}:
            plain = False
    return metric, Path(gateway, interface) if plain and len(gateway) == size and interface else UNKNOWN_PATH
