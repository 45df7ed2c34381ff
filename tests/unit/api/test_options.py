"""Options of a StaticRoute's routes."""

from typing import Any

import pytest

from static_route_operator.api.crd.staticroute import custom_resource_definition
from static_route_operator.api.options import MAX_METRIC, MAX_TABLE, Options
from static_route_operator.api.resolution import resolve
from static_route_operator.api.staticroute import StaticRoute
from static_route_operator.errors import InvalidSpecError
from static_route_operator.routing.keys import prefix_of, unpack_table_metric
from static_route_operator.routing.options import METRIC_OPTIONS, MetricOption
from static_route_operator.routing.prefixes import pack_address, pack_prefix, unpack_prefix
from tests.unit.builders import manifest, route

IPV6: dict[str, Any] = {"gateway": "fd00::1", "destinations": ["2001:db8::/32"]}
METRIC_FIELDS = [option.field for option in METRIC_OPTIONS]
OPTION_FIELDS = ["excludes", "metric", "table", *METRIC_FIELDS, "source", "onLink"]


def _destinations(parsed: StaticRoute) -> list[str]:
    return [unpack_prefix(prefix_of(each)) for each in resolve(parsed).keys]


def test_every_option_is_read() -> None:
    """Each option of a spec is in the object, packed where it is an address."""
    parsed = route(
        destinations=["192.0.2.0/24"],
        excludes=["192.0.2.0/25"],
        metric=7,
        table=70_000,
        mtu=1400,
        source="10.0.0.9",
        onLink=True,
    )

    assert parsed.options == Options(
        excludes=(pack_prefix("192.0.2.0/25"),),
        table=70_000,
        metric=7,
        metrics=((2, 1400),),
        source=pack_address("10.0.0.9"),
        on_link=True,
    )
    assert _destinations(parsed) == ["192.0.2.128/25"]
    assert [unpack_table_metric(each) for each in resolve(parsed).keys] == [(70_000, 7)]


@pytest.mark.parametrize("option", METRIC_OPTIONS, ids=lambda option: option.field)
def test_each_metric_is_read_by_its_field(option: MetricOption) -> None:
    """A metric that the table knows is read within its bounds, for IPv6 from its own least value on."""
    families: list[tuple[dict[str, Any], int]] = [({}, option.minimum), (IPV6, option.minimum_ipv6)]
    for family, minimum in families:
        spec: dict[str, Any] = {**family, option.field: minimum}
        assert route(**spec).options.metrics == ((option.number, minimum),)

    with pytest.raises(InvalidSpecError) as caught:
        route(**spec | {option.field: minimum - 1})
    assert caught.value.field == f"spec.{option.field}"


@pytest.mark.parametrize("spec", [{}, dict.fromkeys(OPTION_FIELDS)])
def test_absent_options_are_the_kernels_defaults(spec: dict[str, Any]) -> None:
    """Absent and null options are as `ip route add` has them, so that `route -n` looks as people expect."""
    parsed = route(**spec)

    assert parsed.options == Options()
    assert [unpack_table_metric(each) for each in resolve(parsed).keys] == [(254, 0)]


@pytest.mark.parametrize(("metric", "stored"), [(None, 1024), (0, 1024), (1, 1), (MAX_METRIC, MAX_METRIC)])
def test_metric_of_ipv6_is_as_the_kernel_stores_it(metric: int | None, stored: int) -> None:
    """The kernel has no metric 0 for IPv6; a desired metric of 0 would never be found installed."""
    parsed = route(**IPV6, metric=metric)

    assert [unpack_table_metric(each) for each in resolve(parsed).keys] == [(254, stored)]


@pytest.mark.parametrize(
    ("spec", "field", "problem"),
    [
        ({"excludes": "10.0.0.1"}, "excludes", "must be a list of IP addresses and CIDRs"),
        ({"excludes": ["10.0.0.1", "x"]}, "excludes[1]", "'x' is not an IP address or CIDR"),
        ({"excludes": [5]}, "excludes[0]", "'5' is not an IP address or CIDR; write it as text, in quotes"),
        ({"excludes": ["10.0.0.1/24"]}, "excludes[0]", "'10.0.0.1/24' has host bits set; did you mean '10.0.0.0/24'?"),
        ({"excludes": ["fd00::/8"]}, "excludes[0]", "'fd00::/8' is not of the address family of gateway 10.0.0.1"),
        ({**IPV6, "excludes": ["10.0.0.1"]}, "excludes[0]", "'10.0.0.1' is not of the address family of gateway"),
        ({"metric": -1}, "metric", "-1 is not from 0 to 4294967295"),
        ({"metric": MAX_METRIC + 1}, "metric", "4294967296 is not from 0 to 4294967295"),
        ({"metric": "7"}, "metric", "'7' is not a whole number"),
        ({"metric": True}, "metric", "'True' is not a whole number"),
        ({"table": 0}, "table", "0 is not from 1 to 4294967295"),
        ({"table": 255}, "table", "table 255 (local) is the kernel's own"),
        ({"table": MAX_TABLE + 1}, "table", "4294967296 is not from 1 to 4294967295"),
        ({"table": "main"}, "table", "'main' is not a whole number"),
        ({"mtu": 67}, "mtu", "67 is not from 68 to 65520"),
        ({"mtu": 65_521}, "mtu", "65521 is not from 68 to 65520"),
        ({**IPV6, "mtu": 1279}, "mtu", "1279 is not from 1280 to 65520"),
        ({"source": "x"}, "source", "source 'x' is not an IP address"),
        ({"source": 5}, "source", "source '5' is not an IP address; write it as text, in quotes"),
        ({"source": "127.0.0.1"}, "source", "source '127.0.0.1' is in 127.0.0.0/8 (loopback); it must be a unicast"),
        ({"source": "fd00::2"}, "source", "'fd00::2' is not of the address family of gateway 10.0.0.1"),
        ({"onLink": "yes"}, "onLink", "'yes' is not true or false"),
        ({"onLink": 1}, "onLink", "'1' is not true or false"),
    ],
)
def test_option_that_cannot_be_used_is_refused(spec: dict[str, Any], field: str, problem: str) -> None:
    """A bad option makes the object unusable, since routes without it are not what was asked for; it says why."""
    with pytest.raises(InvalidSpecError) as caught:
        StaticRoute.parse(manifest(**spec))

    assert caught.value.field == f"spec.{field}"
    assert problem in caught.value.problem


def test_excludes_are_cut_out_of_good_destinations() -> None:
    """Excludes cut usable destinations; bad destinations are reported as usual, and untouched ones stay."""
    parsed = route(
        destinations=["192.0.2.0/24", "127.0.0.1", "198.51.100.0/24", "203.0.113.0/30"],
        excludes=["192.0.2.0/24", "203.0.113.1", "169.254.0.0/16"],
    )

    assert _destinations(parsed) == ["198.51.100.0/24", "203.0.113.0/32", "203.0.113.2/31"]
    assert [each.text for each in parsed.destinations.refused] == ["127.0.0.1"]


def test_excludes_that_leave_nothing_are_told() -> None:
    """An object of which its excludes leave nothing has no routes, and says so: nobody means that."""
    parsed = route(destinations=["192.0.2.0/25", "192.0.2.128/25"], excludes=["192.0.2.0/24"])

    assert not resolve(parsed).keys
    assert [each.problem for each in resolve(parsed).refused] == ["spec.excludes leaves nothing of the destinations"]


def test_same_destinations_with_other_options_are_other_routes() -> None:
    """Destinations that are compiled once are not taken for those of an object with other excludes, table or metric."""
    specs: list[dict[str, Any]] = [{}, {"metric": 5}, {"table": 5}, {"excludes": ["198.51.100.1"]}, {}]
    objects = [resolve(route(destinations=["192.0.2.1", "198.51.100.0/24"], **spec)) for spec in specs]

    assert len({each.keys for each in objects}) == 4
    assert objects[0].keys is objects[-1].keys


@pytest.fixture
def properties() -> dict[str, Any]:
    """The fields of a StaticRoute's ``spec`` in the CRD."""
    schema = custom_resource_definition()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    found: dict[str, Any] = schema["properties"]["spec"]["properties"]
    return found


@pytest.mark.parametrize("field", ["metric", "table", *METRIC_FIELDS])
def test_numbers_have_the_bounds_of_the_crd(properties: dict[str, Any], field: str) -> None:
    """The parser accepts the bounds that the API server accepts, and both refuse values beyond them."""
    least, most = properties[field]["minimum"], properties[field]["maximum"]

    assert route(**{field: least}).options
    assert route(**{field: most}).options
    for value in (least - 1, most + 1):
        with pytest.raises(InvalidSpecError):
            route(**{field: value})


@pytest.mark.parametrize("field", OPTION_FIELDS)
def test_no_option_is_filled_in_by_the_api_server(properties: dict[str, Any], field: str) -> None:
    """Objects without options, such as those of the retired operator, stay as they are."""
    assert "default" not in properties[field]
