"""StaticRoute objects as they are written."""

from typing import Any

import pytest

from static_route_operator.api.nodeselector import NodeSelector
from static_route_operator.api.resolution import resolve
from static_route_operator.api.staticroute import StaticRoute
from static_route_operator.errors import InvalidSpecError
from static_route_operator.routing.keys import unpack_table_metric
from static_route_operator.routing.prefixes import pack_address
from tests.unit.builders import keys, manifest, resolved, route


def test_every_field_is_read() -> None:
    """An object as the API server sends it becomes a StaticRoute with packed, sorted destinations."""
    parsed = StaticRoute.parse(
        manifest(
            "nat",
            "10.0.0.1",
            ["203.0.113.0/24", "192.0.2.1"],
            metadata={"uid": "u1", "generation": 3, "creationTimestamp": "2024-05-01T10:00:00Z"},
            priority=5,
            nodeSelector={
                "nodeSelectorTerms": [
                    {"matchExpressions": [{"key": "zone", "operator": "Exists"}]},
                ]
            },
        )
    )

    assert isinstance(parsed.node_selector, NodeSelector)
    assert (parsed.name, parsed.uid, parsed.generation) == ("nat", "u1", 3)
    assert [each.address for each in parsed.gateways] == [pack_address("10.0.0.1")]
    assert resolve(parsed).keys == keys("192.0.2.1/32", "203.0.113.0/24")
    assert parsed.destinations.refused == ()
    assert parsed.precedence == (5, "2024-05-01T10:00:00Z", "nat")


def test_absent_fields_have_the_documented_defaults() -> None:
    """The reference operator's manifests, which know destinations and gateway only, are complete."""
    parsed = StaticRoute.parse(manifest(metadata={"creationTimestamp": None}))

    assert (parsed.priority, parsed.node_selector, parsed.created, parsed.generation) == (100, None, "", 0)
    assert parsed.uid == "nat"


def test_equal_destinations_count_once() -> None:
    """A destination written twice, or as a host and as its CIDR, is one route."""
    parsed = resolved(destinations=["192.0.2.1", "192.0.2.1/32", "192.0.2.1"])

    assert parsed.keys == keys("192.0.2.1/32")


def test_refused_destinations_do_not_stop_the_others() -> None:
    """Each destination that can't be routed is kept apart with its reason; the others are used."""
    parsed = resolved(destinations=["192.0.2.1", "10.0.0.1/8", "127.0.0.1", "fd00::/8", "x", "192.0.2.9"])

    assert parsed.keys == keys("192.0.2.1", "192.0.2.9")
    assert [(each.text, each.problem) for each in parsed.refused] == [
        ("10.0.0.1/8", "'10.0.0.1/8' has host bits set; did you mean '10.0.0.0/8'?"),
        ("127.0.0.1", "'127.0.0.1' is in 127.0.0.0/8 (loopback), never routed through a gateway"),
        ("fd00::/8", "'fd00::/8' is not of the address family of gateway 10.0.0.1"),
        ("x", "'x' is not an IP address or CIDR"),
    ]


def test_an_object_of_refused_destinations_alone_is_still_an_object() -> None:
    """If every destination is refused, the object stays, so that its state can be reported."""
    parsed = StaticRoute.parse(manifest(destinations=["127.0.0.1", 5]))  # type: ignore[list-item]  # as YAML may have it

    assert not resolve(parsed).keys
    assert [each.text for each in parsed.destinations.refused] == ["127.0.0.1", "5"]


def _without(body: dict[str, Any], *path: str) -> dict[str, Any]:
    inner = body
    for part in path[:-1]:
        inner = inner[part]
    del inner[path[-1]]
    return body


@pytest.mark.parametrize(
    ("body", "name", "field", "problem"),
    [
        ({}, "(unnamed)", "metadata.name", "is missing"),
        ({"metadata": "nat"}, "(unnamed)", "metadata.name", "is missing"),
        (manifest(""), "(unnamed)", "metadata.name", "is missing"),
        (manifest() | {"kind": "Service"}, "nat", "apiVersion", "kind StaticRoute"),
        (manifest() | {"apiVersion": "v1"}, "nat", "apiVersion", "must be networking.digitalocean.com/v1"),
        (manifest() | {"spec": None}, "nat", "spec", "is missing"),
        (_without(manifest(), "spec"), "nat", "spec", "is missing"),
        (_without(manifest(), "spec", "gateway"), "nat", "spec.gateway", "is missing"),
        (manifest(gateway="10.0.0.0/8"), "nat", "spec.gateway", "gateway '10.0.0.0/8' is not an IP address"),
        (manifest(gateway="127.0.0.1"), "nat", "spec.gateway", "is in 127.0.0.0/8 (loopback)"),
        (_without(manifest(), "spec", "destinations"), "nat", "spec.destinations", "at least one"),
        (manifest(destinations=[]), "nat", "spec.destinations", "at least one"),
        (manifest() | {"spec": {"gateway": "10.0.0.1", "destinations": "1.2.3.4"}}, "nat", "spec.destinations", "list"),
        (manifest(priority="high"), "nat", "spec.priority", "'high' is not a whole number"),
        (manifest(priority=True), "nat", "spec.priority", "'True' is not a whole number"),
        (manifest(priority=None), "nat", "spec.priority", "'None' is not a whole number"),
        (manifest(nodeSelector={}), "nat", "spec.nodeSelector", "must have nodeSelectorTerms"),
    ],
)
def test_unusable_object_is_refused_with_name_and_field(
    body: dict[str, Any], name: str, field: str, problem: str
) -> None:
    """A mistake that makes the whole object unusable is refused; the error names object, field and reason."""
    with pytest.raises(InvalidSpecError) as caught:
        StaticRoute.parse(body)

    assert (caught.value.name, caught.value.field) == (name, field)
    assert problem in caught.value.problem
    assert str(caught.value) == f"StaticRoute {name}: {field}: {caught.value.problem}"


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"priority": 1, "created": "2025", "name": "z"}, {"priority": 2, "created": "2024", "name": "a"}),
        ({"created": "2024-01-01T00:00:00Z", "name": "z"}, {"created": "2024-01-01T00:00:01Z", "name": "a"}),
        ({"name": "a"}, {"name": "b"}),
    ],
)
def test_precedence_is_priority_then_age_then_name(first: dict[str, Any], second: dict[str, Any]) -> None:
    """The lower priority comes first, then the older object, then the name."""
    assert route(**first).precedence < route(**second).precedence


def test_default_route_has_a_table_of_its_own() -> None:
    """A default route, whole or in halves, stands in table 245 with all that the object wants: main is not touched."""
    both = resolved(destinations=["0.0.0.0/1", "128.0.0.0/1", "192.0.2.1"], allowDefaultRoute=True)

    assert both.spec.takes_default
    assert not both.refused
    assert {unpack_table_metric(each)[0] for each in both.keys} == {245}
    assert len(both.keys) == 3


def test_default_route_in_a_table_that_is_named_is_the_users_own() -> None:
    """With a table of the user's, the rules that lead there are the user's too."""
    own = resolved(destinations=["0.0.0.0/0"], allowDefaultRoute=True, table=100)

    assert not own.spec.takes_default
    assert {unpack_table_metric(each)[0] for each in own.keys} == {100}


@pytest.mark.parametrize("spec", [{}, {"allowDefaultRoute": False}, {"allowDefaultRoute": None}])
def test_default_route_without_opt_in_is_refused(spec: dict[str, Any]) -> None:
    """Its other destinations are routed as ever, in main."""
    some = resolved(destinations=["0.0.0.0/0", "192.0.2.1"], **spec)

    assert not some.spec.takes_default
    assert [each.text for each in some.refused] == ["0.0.0.0/0"]
    assert {unpack_table_metric(each)[0] for each in some.keys} == {254}


def test_opt_in_alone_changes_nothing() -> None:
    """An object that allows a default route and has none is as any other."""
    assert resolved(allowDefaultRoute=True).keys == resolved().keys


def test_opt_in_is_true_or_false() -> None:
    """Anything else is refused with the field."""
    with pytest.raises(InvalidSpecError, match=r"spec\.allowDefaultRoute: 'yes' is not true or false"):
        route(allowDefaultRoute="yes")


def test_default_route_on_link_needs_an_interface() -> None:
    """The interface of such a gateway would be looked for by way of the default route itself."""
    with pytest.raises(InvalidSpecError, match=r"spec\.onLink"):
        route(destinations=["0.0.0.0/0"], allowDefaultRoute=True, onLink=True)
    gateways = [{"address": "10.9.9.9", "interface": "eth0"}]
    named = route(gateway=None, gateways=gateways, destinations=["0.0.0.0/0"], allowDefaultRoute=True, onLink=True)
    assert named.takes_default


@pytest.mark.parametrize(("gateway", "default"), [("10.0.0.1", "0.0.0.0/0"), ("fd00::1", "::/0")])
def test_default_route_is_restored_as_one(gateway: str, default: str) -> None:
    """The object's form on the host's disk makes the same object again, with its table and its options."""
    some = route(gateway=gateway, destinations=[default], allowDefaultRoute=True)

    assert StaticRoute.restore(some.manifest, some.destinations) == some
