"""Route metrics that a StaticRoute may set: what `ip route` and RTA_METRICS carry beside the next hops.

A metric is one entry in `METRIC_OPTIONS`. The CRD and its reference, the parser of specs, the netlink messages, the
JSON form and the texts all follow from the table.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

# RTAX number and value of each metric of a route, sorted by number.
Metrics = tuple[tuple[int, int], ...]


class MetricOption(NamedTuple):
    """A metric that a StaticRoute may set.

    Attributes:
        field: name of the field in ``spec`` and in the JSON form of a route.
        word: name in `ip route`.
        number: RTAX number, from linux/rtnetlink.h.
        minimum: least value for IPv4; at least 1, because the kernel stores no metric of value 0.
        minimum_ipv6: least value for IPv6; not below ``minimum``, which the schema takes for both families.
        maximum: greatest value; above it the kernel may store another value, which would read back as drift.
        description: description of the field in the CRD, which adds a least value of IPv6's own.
    """

    field: str
    word: str
    number: int
    minimum: int
    minimum_ipv6: int
    maximum: int
    description: str

    def minimum_for(self, address_size: int) -> int:
        """Return the least value for routes whose addresses have this size in bytes."""
        return self.minimum if address_size == 4 else self.minimum_ipv6


METRIC_OPTIONS = (
    MetricOption(
        field="mtu",
        word="mtu",
        number=2,
        # The MTU that every link must carry (RFC 791, RFC 8200); the kernel stores 65520 for anything greater.
        minimum=68,
        minimum_ipv6=1280,
        maximum=65_520,
        description="Largest packet that is sent through these routes, in bytes. Default: the MTU of the interface.",
    ),
    MetricOption(
        field="advmss",
        word="advmss",
        number=8,
        # The least segment size that sockets may ask for (TCP_MIN_MSS), and what an IPv6 packet of 1280 bytes holds.
        minimum=88,
        minimum_ipv6=1220,
        # The kernel stores 65495 for anything greater.
        maximum=65_495,
        description="Largest TCP segment (MSS) that the node asks its peers to send on connections through these"
        " routes, in bytes. Default: as the MTU allows.",
    ),
    MetricOption(
        field="initcwnd",
        word="initcwnd",
        number=11,
        minimum=1,
        minimum_ipv6=1,
        # The kernel takes 32 bits; it warns of a congestion window that is negative as a signed number.
        maximum=65_535,
        description="Initial congestion window of TCP connections through these routes, in segments. Default: that of"
        " the kernel, 10.",
    ),
    MetricOption(
        field="initrwnd",
        word="initrwnd",
        number=14,
        minimum=1,
        minimum_ipv6=1,
        # The kernel multiplies this by the segment size in 32 bits; a greater product would wrap to a small window.
        maximum=65_535,
        description="Initial receive window that the node advertises on TCP connections through these routes, in"
        " segments. Default: that of the kernel.",
    ),
)


def describe_metrics(metrics: Metrics) -> dict[str, int | None]:
    """Return the JSON fields of metrics: one for each option, None where a route does not set it."""
    values = dict(metrics)
    return {option.field: values.get(option.number) for option in METRIC_OPTIONS}


def metric_words(described: Mapping[str, Any]) -> list[str]:
    """Return the words of `ip route` for the metrics in the JSON form of a route."""
    return [f"{option.word} {described[option.field]}" for option in METRIC_OPTIONS if described.get(option.field)]
