"""The rules for destinations and gateways."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from static_route_operator.api.addresses import (
    LINK_LOCAL_IPV4,
    SPECIAL_RANGES,
    SpecialRange,
    parse_gateway,
    parse_source,
)
from static_route_operator.api.destinations import compile_keys, parse_destination, parse_destinations
from static_route_operator.errors import InvalidPrefixError
from static_route_operator.routing.keys import pack_table_metric
from static_route_operator.routing.prefixes import pack_address, pack_prefix
from tests.unit.builders import default_table_metric


@pytest.mark.parametrize(
    "text",
    [
        "34.160.111.145",
        "10.0.0.0/8",
        "64.0.0.0/2",
        "192.168.0.0/16",
        "100.64.0.0/10",
        "223.255.255.255",
        "fd00::/8",
        "2000::/3",
        "2001:db8::1",
        "fec0::/10",
    ],
)
def test_unicast_is_accepted(text: str) -> None:
    """Any unicast host or CIDR is a destination, private ones included."""
    assert parse_destination(text) == pack_prefix(text)


@pytest.mark.parametrize("text", ["0.0.0.0/0", "0.0.0.0/1", "128.0.0.0/1", "::/0", "::/1", "8000::/1"])
def test_default_route_and_its_halves_are_refused(text: str) -> None:
    """Destinations that would take along the node's own traffic are refused as that."""
    with pytest.raises(InvalidPrefixError) as caught:
        parse_destination(text)

    assert f"'{text}' is the default route or half of it" in str(caught.value)
    assert "allowDefaultRoute: true" in str(caught.value)
    assert parse_destination(text, allow_default=True) == pack_prefix(text)


@pytest.mark.parametrize("special", SPECIAL_RANGES, ids=lambda special: special.cidr)
def test_special_ranges_are_refused_for_both(special: SpecialRange) -> None:
    """No special range is a destination, and no address in it a gateway; the message names the range."""
    cidr, prefix, what = special
    parsers = [
        (parse_destination, cidr),
        (parse_gateway, cidr.partition("/")[0]),
        (parse_source, cidr.partition("/")[0]),
    ]
    for parse, text in parsers[:1] if special is LINK_LOCAL_IPV4 else parsers:
        with pytest.raises(InvalidPrefixError) as caught:
            parse(text)

        assert f"is in {cidr} ({what})" in str(caught.value)
    assert prefix == pack_prefix(cidr)


@pytest.mark.parametrize(
    ("text", "cidr"),
    [
        ("169.254.169.254", "169.254.0.0/16"),
        ("127.0.0.53", "127.0.0.0/8"),
        ("239.0.0.0/8", "224.0.0.0/4"),
        ("255.255.255.255", "255.255.255.255/32"),
        ("::1", "::/127"),
        ("fe80::1", "fe80::/10"),
        ("ff02::/16", "ff00::/8"),
    ],
)
def test_parts_of_special_ranges_are_refused(text: str, cidr: str) -> None:
    """A part of a special range is refused with the name of the whole range."""
    with pytest.raises(InvalidPrefixError) as caught:
        parse_destination(text)

    assert str(caught.value).startswith(f"'{text}' is in {cidr} (")


@pytest.mark.parametrize("text", ["10.116.0.5", "192.0.2.1", "fd00::5", "169.254.10.1"])
def test_unicast_gateway_is_accepted(text: str) -> None:
    """A unicast address is a gateway as far as can be said without a node."""
    assert parse_gateway(text) == parse_source(text) == pack_address(text)


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("10.0.0.0/8", "gateway '10.0.0.0/8' is not an IP address"),
        ("nat.example.com", "gateway 'nat.example.com' is not an IP address"),
        ("::ffff:10.0.0.1", "gateway '::ffff:10.0.0.1' is an IPv4-mapped IPv6 address; write it as IPv4"),
        ("fd00::1%eth0", "gateway 'fd00::1%eth0' has a zone: write fd00::1, and name the interface by itself"),
        ("x%eth0", "gateway 'x%eth0' is not an IP address"),
        (
            "fe80::1%eth0",
            (
                "gateway 'fe80::1%eth0' is in fe80::/10 (link-local), which is not supported yet: "
                "write the global or unique local address of the gateway"
            ),
        ),
        (None, "gateway 'None' is not an IP address; write it as text, in quotes"),
        (10.5, "gateway '10.5' is not an IP address; write it as text, in quotes"),
    ],
)
def test_bad_gateway_is_refused_with_what_would_be_right(value: object, problem: str) -> None:
    """A text that is not an address is refused as a gateway, and the message names the gateway."""
    with pytest.raises(InvalidPrefixError) as caught:
        parse_gateway(value)

    assert str(caught.value) == problem


@pytest.mark.parametrize("value", [None, 10.5, 12345, ["10.0.0.1"], {"ip": "10.0.0.1"}])
def test_destination_that_is_no_text_is_refused(value: object) -> None:
    """YAML that turns a destination into something else than text is refused with the advice to quote it."""
    with pytest.raises(InvalidPrefixError) as caught:
        parse_destination(value)

    assert str(caught.value) == f"'{value}' is not an IP address or CIDR; write it as text, in quotes"


_hosts4 = st.ip_addresses(v=4).map(str)
_cidrs4 = st.builds(
    lambda address, length: str(ipaddress.ip_network((address, length), strict=False)),
    st.ip_addresses(v=4),
    st.integers(0, 32),
)
_hosts6 = st.ip_addresses(v=6).map(str)
_cidrs6 = st.builds(
    lambda address, length: str(ipaddress.ip_network((address, length), strict=False)),
    st.ip_addresses(v=6),
    st.integers(0, 128),
)
_odd = st.sampled_from(
    ["", "x", "1.2.3.4/33", "1.2.3.4/8", "10.0.0.0/08", "10.0.0.0/", "::ffff:1.2.3.4", "::ffff:0:0/96", "::1"]
) | st.just(7)


@given(
    st.lists(_hosts4 | _cidrs4) | st.lists(_hosts6 | _cidrs6) | st.lists(_hosts4 | _cidrs4 | _hosts6 | _odd),
    st.sampled_from(["10.0.0.1", "fd00::1"]),
)
def test_many_are_compiled_as_each_by_itself(entries: list[str], gateway: str) -> None:
    """All at once come out as one at a time: the same keys, the same refusals, the second time as the first."""
    packed = pack_address(gateway)
    good = set()
    bad = []
    for entry in entries:
        try:
            prefix = parse_destination(entry)
        except InvalidPrefixError as error:
            bad.append((str(entry), str(error)))
        else:
            if len(prefix) == len(packed) + 1:
                good.add(prefix)
            else:
                bad.append((str(entry), f"'{entry}' is not of the address family of gateway {gateway}"))

    for _ in range(2):
        destinations = parse_destinations(entries, packed)
        keys = compile_keys(destinations, (), default_table_metric(packed))

        assert list(keys) == sorted(prefix + default_table_metric(packed) for prefix in good)
        assert list(destinations.refused) == bad


def test_equal_lists_are_compiled_once() -> None:
    """A list that some object has already costs nothing again; another table, or another split of the text, is new."""
    gateway, table_metric = pack_address("10.0.0.1"), default_table_metric(pack_address("10.0.0.1"))
    some = parse_destinations(["192.0.2.1", "192.0.2.2"], gateway)
    keys = compile_keys(some, (), table_metric)

    assert parse_destinations(["192.0.2.1", "192.0.2.2"], gateway) is some
    assert compile_keys(parse_destinations(["192.0.2.2", "192.0.2.1"], gateway), (), table_metric) is keys
    assert compile_keys(some, (), pack_table_metric(7, 0)) != keys
    assert parse_destinations(["192.0.2.1\n192.0.2.2"], gateway).refused
