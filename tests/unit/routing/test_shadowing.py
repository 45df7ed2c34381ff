"""Foreign routes that come before ours: which of our keys they endanger, and which of several routes is first."""

import pytest

from static_route_operator.routing.kernelroute import KernelNextHop, KernelRoute
from static_route_operator.routing.nexthops import PROTOCOL, NextHops
from static_route_operator.routing.prefixes import pack_address, pack_prefix
from static_route_operator.routing.routes import Routes
from static_route_operator.routing.shadowing import endangered, first_before, precedes
from tests.unit.builders import ETH0, make_key, pack

MAIN, LOCAL, OTHER = 254, 255, 100
KEY = make_key("192.0.2.0/25", MAIN, 100)
SIX = make_key("2001:db8::/48", MAIN, 1024)
OURS = Routes(
    {
        NextHops.via(pack_address("10.0.0.1"), ETH0): pack([KEY, make_key("192.0.2.0/25", OTHER, 100)]),
        NextHops.via(pack_address("fd00::1"), ETH0): pack([SIX]),
    }
)


def _route(protocol: int = 4, metric: int = 100, *, prefix: str = "192.0.2.0/25", **more: object) -> KernelRoute:
    fields = {"table": MAIN, "kind": "unicast", "hops": (KernelNextHop(pack_address("10.1.0.9"), ETH0 + 1),), **more}
    return KernelRoute(prefix=pack_prefix(prefix), metric=metric, protocol=protocol, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("prefix", "table", "metric", "tos", "found"),
    [
        ("192.0.2.0/25", MAIN, 0, 0, [KEY]),
        ("192.0.2.0/25", MAIN, 100, 0, [KEY]),
        ("192.0.2.0/25", MAIN, 101, 0, []),
        ("192.0.2.0/25", MAIN, 101, 16, [KEY]),
        ("192.0.2.0/25", OTHER, 7, 0, [make_key("192.0.2.0/25", OTHER, 100)]),
        ("192.0.2.0/24", MAIN, 0, 0, []),
        ("192.0.2.0/26", MAIN, 0, 0, []),
        ("192.0.2.0/24", LOCAL, 0, 0, [KEY]),
        ("192.0.2.1/32", LOCAL, 0, 0, []),
        ("2001:db8::/32", LOCAL, 0, 0, [SIX]),
        ("2001:db8::/48", MAIN, 1024, 0, [SIX]),
        ("2001:db8::/48", MAIN, 2048, 0, []),
    ],
)
def test_routes_that_may_come_first(prefix: str, table: int, metric: int, tos: int, found: list[bytes]) -> None:
    """An equal prefix with no higher metric, a type of service, or a local prefix around ours endanger a route."""
    assert list(endangered(OURS, {pack_prefix(prefix)}, table, metric, tos=tos)) == found


@pytest.mark.parametrize(
    ("beside", "place"),
    [
        ([_route(PROTOCOL)], None),
        ([_route(PROTOCOL), _route()], None),
        ([_route(), _route(PROTOCOL)], 0),
        ([_route(metric=5), _route(PROTOCOL)], 0),
        ([_route(PROTOCOL), _route(metric=200)], None),
        ([_route(tos=16, metric=500), _route(PROTOCOL)], 0),
        ([_route(hops=(KernelNextHop(b"", 3, dead=True),), metric=5), _route(PROTOCOL)], None),
        ([_route(metric=5), _route(), _route(PROTOCOL)], 1),
        ([_route(kind="unreachable", hops=(), metric=5), _route(PROTOCOL)], 0),
        ([_route(metric=200)], None),
        ([], None),
    ],
)
def test_first_of_the_routes_to_one_prefix(beside: list[KernelRoute], place: int | None) -> None:
    """The lowest metric wins, then the preference, then the order; a route that can't be used does not count."""
    assert first_before(KEY, beside) is (None if place is None else beside[place])


def test_preference_decides_for_ipv6() -> None:
    """Of routes with one metric, the kernel uses that with the highest router preference."""
    ours, high, low = (
        _route(protocol, 1024, prefix="2001:db8::/48", preference=preference)
        for protocol, preference in ((PROTOCOL, 0), (9, 1), (9, -1))
    )

    assert first_before(SIX, [ours, high]) is high
    assert first_before(SIX, [low, ours]) is None


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        (_route(PROTOCOL), False),
        (_route(), True),
        (_route(metric=200), False),
        (_route(prefix="0.0.0.0/0"), False),
        (_route(prefix="192.0.0.0/16", table=OTHER), True),
        (_route(prefix="192.0.2.0/24", table=LOCAL, kind="local"), True),
    ],
    ids=["ours", "same key", "fallback", "default route", "other table", "local"],
)
def test_route_in_use_precedes_ours(other: KernelRoute, expected: bool) -> None:
    """A fallback that the kernel uses since ours can't be used does not precede ours."""
    assert precedes(other, KEY) is expected
