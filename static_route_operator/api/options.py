"""Options of a StaticRoute's routes beside where they lead, named as in `ip route`.

The schema of the CRD (``api.crd``) refuses the same values at `kubectl apply`; a test holds the two against each other.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from static_route_operator.api.addresses import parse_source
from static_route_operator.api.fields import Fields
from static_route_operator.errors import shown
from static_route_operator.routing.keys import TABLE_LOCAL, TABLE_MAIN, default_metric, pack_table_metric
from static_route_operator.routing.options import METRIC_OPTIONS, Metrics
from static_route_operator.routing.prefixes import pack_prefix, unpack_address

# In the kernel's messages table 0 means main.
MIN_TABLE = 1
MAX_TABLE = (1 << 32) - 1

MAX_METRIC = (1 << 32) - 1


@dataclass(frozen=True, slots=True)
class Options:
    """The options of a StaticRoute.

    Attributes:
        excludes: packed prefixes of the gateway's family.
        table: number of the routing table.
        metric: metric of the routes, as the kernel stores it.
        metrics: other metrics that the routes set (see `routing.options`).
        source: packed source address of packets that the node itself sends; empty lets the kernel choose.
        on_link: the gateway counts as a neighbour even if no subnet of the node holds it.
    """

    excludes: tuple[bytes, ...] = ()
    table: int = TABLE_MAIN
    metric: int = 0
    metrics: Metrics = ()
    source: bytes = b""
    on_link: bool = False

    @property
    def table_metric(self) -> bytes:
        """Table and metric as they stand in a key."""
        return pack_table_metric(self.table, self.metric)


def parse_options(name: str, spec: Mapping[str, Any], gateway: bytes) -> Options:
    """Read the options from a ``spec``; an option that is absent or null has the kernel's default.

    Args:
        name: name of the StaticRoute.
        spec: its ``spec``.
        gateway: packed address; the options must be of its family.

    Raises:
        InvalidSpecError: an option can't be used. A bad exclude counts too: routing what was to be kept out would be
            worse than refusing the object.
    """
    fields = Fields(name, "", spec)
    return Options(
        excludes=_parse_excludes(fields, gateway),
        table=_parse_table(fields),
        # The kernel has no metric 0 for IPv6: it stores its default instead, as `ip -6 route` shows.
        metric=fields.number("metric", 0, MAX_METRIC) or default_metric(gateway),
        metrics=_parse_metrics(fields, len(gateway)),
        source=_parse_source(fields, gateway),
        on_link=fields.boolean("onLink"),
    )


def _parse_table(fields: Fields) -> int:
    table = fields.number("table", MIN_TABLE, MAX_TABLE)
    if table == TABLE_LOCAL:
        raise fields.error("table", f"table {TABLE_LOCAL} (local) is the kernel's own")
    return table or TABLE_MAIN


def _parse_metrics(fields: Fields, address_size: int) -> Metrics:
    found = []
    for option in METRIC_OPTIONS:
        value = fields.number(option.field, option.minimum_for(address_size), option.maximum)
        if value is not None:
            found.append((option.number, value))
    return tuple(sorted(found))


def _parse_source(fields: Fields, gateway: bytes) -> bytes:
    source = fields.parse("source", parse_source)
    if source is not None and len(source) != len(gateway):
        raise fields.error("source", _other_family(fields.get("source"), gateway))
    return source or b""


def _parse_excludes(fields: Fields, gateway: bytes) -> tuple[bytes, ...]:
    entries = fields.get("excludes")
    if entries is None:
        return ()
    if not isinstance(entries, list):
        raise fields.error("excludes", "must be a list of IP addresses and CIDRs")
    return tuple(_parse_exclude(fields, f"excludes[{index}]", entry, gateway) for index, entry in enumerate(entries))


def _parse_exclude(fields: Fields, field: str, entry: object, gateway: bytes) -> bytes:
    if not isinstance(entry, str):
        raise fields.error(field, f"{shown(entry)} is not an IP address or CIDR; write it as text, in quotes")
    exclude = fields.parse_value(field, entry, lambda _: pack_prefix(entry))
    if len(exclude) != len(gateway) + 1:
        raise fields.error(field, _other_family(entry, gateway))
    return exclude


def _other_family(text: object, gateway: bytes) -> str:
    return f"'{text}' is not of the address family of gateway {unpack_address(gateway)}"
