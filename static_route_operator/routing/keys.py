"""Keys of routes: packed prefix, then table and metric as 32-bit words in host order.

The kernel holds one route per key. A key sorts by prefix and tells its family by its size.
"""

import struct

from static_route_operator.routing.prefixes import IPV4_PREFIX_SIZE, IPV6_PREFIX_SIZE

TABLE_METRIC = struct.Struct("=II")


IPV4_KEY_SIZE = IPV4_PREFIX_SIZE + TABLE_METRIC.size


IPV6_KEY_SIZE = IPV6_PREFIX_SIZE + TABLE_METRIC.size


TABLE_MAIN = 254

# The kernel's own, which delivers what is for this node.
TABLE_LOCAL = 255

# Where a default route of ours stands: behind all routes of main but its default route (see `planning.defaultroute`).
TABLE_DEFAULT_ROUTE = 245

# What the kernel makes of an absent metric; an IPv6 route without one is stored with 1024.
DEFAULT_METRIC_IPV4 = 0


DEFAULT_METRIC_IPV6 = 1024


def pack_table_metric(table: int, metric: int) -> bytes:
    """What follows the prefix in a key."""
    return TABLE_METRIC.pack(table, metric)


def default_metric(gateway: bytes) -> int:
    """The metric when a StaticRoute names none, for routes through this packed address."""
    return DEFAULT_METRIC_IPV4 if len(gateway) == 4 else DEFAULT_METRIC_IPV6


def default_table_metric(gateway: bytes) -> bytes:
    """Table and metric when a StaticRoute names none, for routes through this packed address."""
    return pack_table_metric(TABLE_MAIN, default_metric(gateway))


def prefix_of(key: bytes) -> bytes:
    """The packed prefix in a key."""
    return key[: -TABLE_METRIC.size]


def unpack_table_metric(key: bytes) -> tuple[int, int]:
    """Table and metric in a key."""
    table, metric = TABLE_METRIC.unpack(key[-TABLE_METRIC.size :])
    return table, metric
