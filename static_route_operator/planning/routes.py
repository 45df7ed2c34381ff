"""Routes as this program holds them: packed keys by path, however many there are.

A route is a key (see `keys`), which the kernel holds once, and a path, which is what it says about that key. A path is
shared by all routes that use it.
"""

import enum
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from static_route_operator.keys import IPV4_KEY_SIZE, IPV6_KEY_SIZE, Keys, prefix_of, tail_of
from static_route_operator.prefixes import unpack_address, unpack_prefix

# Routes of this program carry this number as their protocol: it is how they are told from everybody else's.
PROTOCOL = 245

# Names of protocols that a person knows from `ip route`; other numbers are shown as they are.
_PROTOCOL_NAMES = {
    1: "redirect",
    2: "kernel",
    3: "boot",
    4: "static",
    9: "ra",
    12: "bird",
    16: "dhcp",
    17: "kube-router",
    80: "calico",
}


def protocol_name(protocol: int) -> str:
    """Whose routes carry a protocol, in the word of `ip route`."""
    return _PROTOCOL_NAMES.get(protocol, str(protocol))


class Hop(NamedTuple):
    """One of the next hops of a path.

    Attributes:
        gateway: packed address, of the family of the route; all zeros when packets are for neighbours on the interface.
        interface: index of the output interface; 0 in a path that leads nowhere.
        weight: its share of the traffic, beside those of the others; 1 where there is no other.
        on_link: the gateway is taken for reachable on the interface, whatever its subnets are.
    """

    gateway: bytes
    interface: int
    weight: int = 1
    on_link: bool = False


class Path(NamedTuple):
    """Where packets of a route go, and how.

    Attributes:
        hops: the next hops, sorted, at least one; one without an interface tells the family of a path that leads
            nowhere.
        source: packed address that this node's own packets get; empty when the kernel chooses.
        mtu: of the path, in bytes; 0 when it is the interface's.
        blackhole: packets are dropped.
        shared: next hops of another program may be among these, since the kernel merges them for IPv6; never in a path
            that this program writes.
    """

    hops: tuple[Hop, ...]
    source: bytes = b""
    mtu: int = 0
    blackhole: bool = False
    shared: bool = False

    @classmethod
    def via(
        cls,
        gateway: bytes,
        interface: int,
        source: bytes = b"",
        mtu: int = 0,
        on_link: bool = False,  # noqa: FBT002  as in `Hop`
    ) -> "Path":
        """The path by one gateway."""
        return cls((Hop(gateway, interface, on_link=on_link),), source, mtu)

    @property
    def address_size(self) -> int:
        """The size of the addresses of routes that can take it."""
        return len(self.hops[0].gateway)

    @property
    def key_size(self) -> int:
        """The size of the keys of routes that can take it."""
        return IPV4_KEY_SIZE if self.address_size == 4 else IPV6_KEY_SIZE

    @property
    def forwards(self) -> bool:
        """Whether packets go anywhere by it, as far as this program understands it."""
        return self.hops[0].interface != 0


# A route of ours in the kernel whose path is none that this program writes (another type, a metric of another kind). It
# differs from every wanted path, so it is replaced or deleted.
UNKNOWN_PATH_IPV4 = Path.via(bytes(4), 0)
UNKNOWN_PATH_IPV6 = Path.via(bytes(16), 0)

# Packets are dropped, and no shorter prefix gets them.
BLACKHOLE_IPV4 = UNKNOWN_PATH_IPV4._replace(blackhole=True)
BLACKHOLE_IPV6 = UNKNOWN_PATH_IPV6._replace(blackhole=True)


class Routes:
    """Routes, each with one path.

    Args:
        groups: the keys by path; a key may be in one of them only.
    """

    __slots__ = ("_groups",)

    def __init__(self, groups: Mapping[Path, Keys] | None = None) -> None:
        self._groups = {path: keys for path, keys in (groups or {}).items() if keys}

    def __len__(self) -> int:
        return sum(map(len, self._groups.values()))

    def __iter__(self) -> Iterator[tuple[Path, Keys]]:
        return iter(self._groups.items())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Routes) and self._groups == other._groups

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Routes({self._groups!r})"

    def __contains__(self, key: object) -> bool:
        return any(key in keys for keys in self._groups.values())

    def through(self, path: Path) -> Keys:
        """The keys of the routes that take a path."""
        return self._groups.get(path) or Keys(path.key_size)

    def put(self, path: Path, keys: Keys) -> None:
        """These routes now take this path, whatever they took before."""
        for other in [other for other in self._groups if other != path]:
            self._drop(other, keys)
        if keys:
            self._groups[path] = self.through(path) | keys

    def drop(self, keys: Keys) -> None:
        """These routes are gone, as far as they were there."""
        for path in list(self._groups):
            self._drop(path, keys)

    def copy(self) -> "Routes":
        """The same routes, to be changed apart from these."""
        return Routes(self._groups)

    def count(self, keys: Keys) -> int:
        """How many of these routes there are."""
        return sum(len(present & keys) for present in self._groups.values())

    def in_order(self) -> list[tuple[bytes, Path]]:
        """Key and path of each route as people expect them: IPv4 before IPv6, each by prefix."""
        routes = [(key, path) for path, keys in self._groups.items() for key in keys]
        return sorted(routes, key=lambda route: (len(route[0]), route[0]))

    def _drop(self, path: Path, keys: Keys) -> None:
        left = self._groups[path] - keys
        if left:
            self._groups[path] = left
        else:
            del self._groups[path]


def describe_place(key: bytes) -> dict[str, Any]:
    """What the kernel holds one route for, as a JSON object."""
    table, metric = tail_of(key)
    return {"destination": unpack_prefix(prefix_of(key)), "table": table, "metric": metric}


def describe_route(key: bytes, path: Path, interfaces: Mapping[int, str]) -> dict[str, Any]:
    """A route as a JSON object, for people and programs.

    Args:
        key: of the route.
        path: of the route.
        interfaces: names of interfaces by index; one that is not there is shown by its number.
    """
    table, metric = tail_of(key)
    first, *others = path.hops
    described: dict[str, Any] = {
        "destination": unpack_prefix(prefix_of(key)),
        "gateway": unpack_address(first.gateway) if path.forwards and any(first.gateway) else None,
        "interface": "" if path.blackhole else interfaces.get(first.interface, str(first.interface)),
        "table": table,
        "metric": metric,
        "source": unpack_address(path.source) if path.source else None,
        "mtu": path.mtu or None,
        "onLink": first.on_link,
    }
    if path.blackhole:
        described["type"] = "blackhole"
    if others:
        described["gateways"] = [
            {
                "gateway": unpack_address(hop.gateway),
                "interface": interfaces.get(hop.interface, str(hop.interface)),
                "weight": hop.weight,
                "onLink": hop.on_link,
            }
            for hop in path.hops
        ]
    return described


class Action(enum.Enum):
    """What is done to routes in the kernel."""

    ADD = "add"
    REPLACE = "replace"
    DELETE = "delete"


class Operation(NamedTuple):
    """One action on routes that share a path.

    Attributes:
        action: what to do.
        path: the path to write; for DELETE, the one the routes have now.
        keys: the routes, at least one.
    """

    action: Action
    path: Path
    keys: Keys


class Failure(NamedTuple):
    """The kernel's answer where it refused.

    Attributes:
        errno: its error number.
        text: its own words (the extended acknowledgement), or the text of the error number.
    """

    errno: int
    text: str
