"""What a StaticRoute may say about its routes beside where they lead: as in `ip route`.

The CRD's schema (``crd.py``) refuses the same at `kubectl apply`; a test holds the two against each other.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from static_route_operator.api.addresses import parse_source
from static_route_operator.errors import InvalidPrefixError, InvalidSpecError
from static_route_operator.routing.keys import TABLE_LOCAL, TABLE_MAIN, default_metric, pack_table_metric
from static_route_operator.routing.prefixes import pack_prefix, unpack_address

# 0 stands for main in the kernel's messages.
MIN_TABLE = 1
MAX_TABLE = (1 << 32) - 1

MAX_METRIC = (1 << 32) - 1

# The smallest that every IPv4 and IPv6 link must carry (RFC 791, RFC 8200); the kernel makes 65520 of more.
MIN_MTU = 68
MIN_MTU_IPV6 = 1280
MAX_MTU = 65_520


@dataclass(frozen=True, slots=True)
class Options:
    """The options of a StaticRoute.

    Attributes:
        excludes: packed prefixes of the gateway's family.
        table: number of the routing table.
        metric: as the kernel stores it.
        mtu: in bytes; 0 is that of the interface.
        source: packed address that packets of this node get; empty lets the kernel choose.
        on_link: whether the gateway counts as a neighbour whatever the subnets of the node are.
    """

    excludes: tuple[bytes, ...] = ()
    table: int = TABLE_MAIN
    metric: int = 0
    mtu: int = 0
    source: bytes = b""
    on_link: bool = False

    @property
    def table_metric(self) -> bytes:
        """Table and metric as they stand in a key."""
        return pack_table_metric(self.table, self.metric)


def parse_options(name: str, spec: Mapping[str, Any], gateway: bytes) -> Options:
    """Read the options from a ``spec``; one that is absent, or null, is as the kernel has it by default.

    Args:
        name: of the object.
        spec: of the object.
        gateway: packed address: all must be of its family.

    Raises:
        InvalidSpecError: one of them can't be used. A bad exclude counts too: to route what it was to keep out would
            be worse than to refuse the object.
    """
    return _Reader(name, spec, gateway).read()


class _Reader:
    """Reads the fields of one spec."""

    def __init__(self, name: str, spec: Mapping[str, Any], gateway: bytes) -> None:
        self._name = name
        self._spec = spec
        self._gateway = gateway

    def read(self) -> Options:
        """All options."""
        least_mtu = MIN_MTU if len(self._gateway) == 4 else MIN_MTU_IPV6
        return Options(
            excludes=self._excludes(),
            table=self._table(),
            # The kernel knows no metric 0 for IPv6, and takes it for its default, as `ip -6 route` shows.
            metric=self._number("metric", 0, MAX_METRIC) or default_metric(self._gateway),
            mtu=self._number("mtu", least_mtu, MAX_MTU) or 0,
            source=self._source(),
            on_link=self._on_link(),
        )

    def _table(self) -> int:
        table = self._number("table", MIN_TABLE, MAX_TABLE)
        if table == TABLE_LOCAL:
            raise self._error("table", f"table {TABLE_LOCAL} (local) is the kernel's own")
        return table or TABLE_MAIN

    def _on_link(self) -> bool:
        value = self._spec.get("onLink")
        if value is not None and not isinstance(value, bool):
            raise self._error("onLink", f"'{value}' is not true or false")
        return bool(value)

    def _number(self, field: str, least: int, most: int) -> int | None:
        value = self._spec.get(field)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int):
            raise self._error(field, f"'{value}' is not a whole number")
        if not least <= value <= most:
            raise self._error(field, f"{value} is not from {least} to {most}")
        return value

    def _source(self) -> bytes:
        text = self._spec.get("source")
        if text is None:
            return b""
        try:
            source = parse_source(text)
        except InvalidPrefixError as error:
            raise self._error("source", str(error)) from None
        if len(source) != len(self._gateway):
            raise self._error("source", self._other_family(text))
        return source

    def _excludes(self) -> tuple[bytes, ...]:
        entries = self._spec.get("excludes")
        if entries is None:
            return ()
        if not isinstance(entries, list):
            raise self._error("excludes", "must be a list of IP addresses and CIDRs")
        return tuple(self._exclude(f"excludes[{index}]", entry) for index, entry in enumerate(entries))

    def _exclude(self, field: str, entry: object) -> bytes:
        if not isinstance(entry, str):
            raise self._error(field, f"'{entry}' is not an IP address or CIDR; write it as text, in quotes")
        try:
            exclude = pack_prefix(entry)
        except InvalidPrefixError as error:
            raise self._error(field, str(error)) from None
        if len(exclude) != len(self._gateway) + 1:
            raise self._error(field, self._other_family(entry))
        return exclude

    def _other_family(self, text: object) -> str:
        return f"'{text}' is not of the address family of gateway {unpack_address(self._gateway)}"

    def _error(self, field: str, problem: str) -> InvalidSpecError:
        return InvalidSpecError(self._name, f"spec.{field}", problem)
