"""A route in two parts: the key, which the kernel holds once, and the path, which is what it says about that key.

A *key* is bytes: packed prefix, then table and metric as 32-bit words in host order. It sorts by prefix, tells its
family by its size, and its columns are what the kernel's messages need, so that many are encoded at once.
A *path* is shared by all routes that use it.
"""

import enum
import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from static_route_operator.prefixes import IPV4_PREFIX_SIZE, IPV6_PREFIX_SIZE, unpack_address, unpack_prefix

TABLE_MAIN = 254

# What the kernel makes of an absent metric; an IPv6 route without one is stored with 1024.
DEFAULT_METRIC_IPV4 = 0
DEFAULT_METRIC_IPV6 = 1024

_TAIL = struct.Struct("=II")

IPV4_KEY_SIZE = IPV4_PREFIX_SIZE + _TAIL.size
IPV6_KEY_SIZE = IPV6_PREFIX_SIZE + _TAIL.size


class Path(NamedTuple):
    """Where packets of a route go.

    Attributes:
        gateway: packed address of the next hop; empty for a path that this program would never write itself.
        interface: index of the output interface; 0 likewise.
    """

    gateway: bytes
    interface: int


# A route of ours in the kernel whose path is none that this program writes (another type, several next hops). It
# differs from every wanted path, so it is replaced or deleted.
UNKNOWN_PATH = Path(b"", 0)

Routes = Mapping[bytes, Path]


def default_tail(prefix_size: int) -> bytes:
    """Table and metric of a key when the StaticRoute names none, for prefixes of this size."""
    return _TAIL.pack(TABLE_MAIN, DEFAULT_METRIC_IPV4 if prefix_size == IPV4_PREFIX_SIZE else DEFAULT_METRIC_IPV6)


def keys_of(prefixes: Iterable[bytes], tail: bytes) -> list[bytes]:
    """The keys of prefixes that share table and metric."""
    return [prefix + tail for prefix in prefixes]


def make_key(prefix: bytes, table: int, metric: int) -> bytes:
    """The key of one route."""
    return prefix + _TAIL.pack(table, metric)


def prefix_of(key: bytes) -> bytes:
    """The packed prefix in a key."""
    return key[: -_TAIL.size]


def in_order(routes: Routes) -> list[tuple[bytes, Path]]:
    """Routes as people expect them: IPv4 before IPv6, each by prefix."""
    return sorted(routes.items(), key=lambda route: (len(route[0]), route[0]))


def describe_route(key: bytes, path: Path, interfaces: Mapping[int, str]) -> dict[str, Any]:
    """A route as a JSON object, for people and programs.

    Args:
        key: of the route.
        path: of the route.
        interfaces: names of interfaces by index; one that is not there is shown by its number.
    """
    table, metric = _TAIL.unpack(key[-_TAIL.size :])
    return {
        "destination": unpack_prefix(prefix_of(key)),
        "gateway": unpack_address(path.gateway) if path.gateway else None,
        "interface": interfaces.get(path.interface, str(path.interface)),
        "table": table,
        "metric": metric,
    }


class Action(enum.Enum):
    """What is done to routes in the kernel."""

    ADD = "add"
    REPLACE = "replace"
    DELETE = "delete"


class Operation(NamedTuple):
    """One action on routes that share a path and a family.

    Attributes:
        action: what to do.
        path: the path to write; for DELETE, the one the routes have now.
        keys: the routes, in order.
    """

    action: Action
    path: Path
    keys: Sequence[bytes]


class Failure(NamedTuple):
    """The kernel's answer where it refused.

    Attributes:
        errno: its error number.
        text: its own words (the extended acknowledgement), or the text of the error number.
    """

    errno: int
    text: str
