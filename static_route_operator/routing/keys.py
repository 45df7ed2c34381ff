"""Keys of routes: packed prefix, then table and metric as 32-bit words in host order.

The kernel holds one route per key. A key sorts by prefix and tells its family by its size.
"""

import struct

from static_route_operator.routing.prefixes import IPV4_PREFIX_SIZE, IPV6_PREFIX_SIZE

TABLE_METRIC = struct.Struct("=II")

IPV4_KEY_SIZE = IPV4_PREFIX_SIZE + TABLE_METRIC.size
IPV6_KEY_SIZE = IPV6_PREFIX_SIZE + TABLE_METRIC.size

TABLE_MAIN = 254

# The kernel's own table, which delivers packets to this node.
TABLE_LOCAL = 255

# Table of our default routes. The kernel looks there after all routes of main but the default route
# (see `planning.defaultroute`).
TABLE_DEFAULT_ROUTE = 245

# Metrics that the kernel stores for routes that name none.
DEFAULT_METRIC_IPV4 = 0
DEFAULT_METRIC_IPV6 = 1024


def pack_table_metric(table: int, metric: int) -> bytes:
    """Return table and metric as they follow the prefix in a key."""
    return TABLE_METRIC.pack(table, metric)


def default_metric(gateway: bytes) -> int:
    """Return the metric that the kernel stores by default for routes through a packed address."""
    return DEFAULT_METRIC_IPV4 if len(gateway) == 4 else DEFAULT_METRIC_IPV6


def prefix_of(key: bytes) -> bytes:
    """Return the packed prefix of a key."""
    return key[: -TABLE_METRIC.size]


def unpack_table_metric(key: bytes) -> tuple[int, int]:
    """Return table and metric of a key."""
    table, metric = TABLE_METRIC.unpack(key[-TABLE_METRIC.size :])
    return table, metric
