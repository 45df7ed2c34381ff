"""Gateways, health checks and what is done when no gateway is left, as a StaticRoute says it."""

from typing import Any

import pytest

from static_route_operator.api.crd.staticroute import custom_resource_definition
from static_route_operator.api.fields import seconds
from static_route_operator.api.gateways import Gateway, WhenAllDown
from static_route_operator.api.healthcheck import INTERVALS, TIMEOUTS, Check, CheckType
from static_route_operator.api.staticroute import StaticRoute
from static_route_operator.errors import InvalidSpecError
from static_route_operator.routing.prefixes import pack_address
from tests.unit.builders import manifest

ONE, OTHER = {"address": "10.0.0.1"}, {"address": "10.0.0.3"}
ZONE = {"nodeSelectorTerms": [{"matchExpressions": [{"key": "zone", "operator": "Exists"}]}]}


def _parse(gateways: object, **spec: Any) -> StaticRoute:
    return StaticRoute.parse(manifest(gateway=None, gateways=gateways, **spec))


def test_every_field_is_read() -> None:
    """Each field of a gateway is in the object, in the order they are written."""
    parsed = _parse([{**OTHER, "weight": 0, "priority": 5, "interface": "eth1", "nodeSelector": ZONE}, ONE])

    first, second = parsed.gateways
    assert (first.address, first.weight, first.priority, first.interface) == (pack_address("10.0.0.3"), 0, 5, "eth1")
    assert first.node_selector is not None
    assert second == Gateway(pack_address("10.0.0.1"), weight=1, priority=0, interface="", node_selector=None)
    assert parsed.selective
    assert (parsed.check, parsed.when_all_down) == (None, WhenAllDown.KEEP)


def test_one_gateway_is_the_same_by_both_fields() -> None:
    """`gateway` means one gateway, with nothing else said about it."""
    assert _parse([ONE]).gateways == StaticRoute.parse(manifest()).gateways


@pytest.mark.parametrize(
    ("gateways", "field", "problem"),
    [
        ([], "gateways", "must be a list of 1 to 32 gateways"),
        (ONE, "gateways", "must be a list of 1 to 32 gateways"),
        (["10.0.0.1"], "gateways[0]", "'10.0.0.1' is not an object with fields"),
        ([{"weight": 1}], "gateways[0].address", "gateway 'None' is not an IP address"),
        ([ONE, {"address": "10.0.0.0/24"}], "gateways[1].address", "gateway '10.0.0.0/24' is not an IP address"),
        ([ONE, {"address": "fd00::1"}], "gateways[1].address", "is not of the address family of gateway 10.0.0.1"),
        ([{"address": "fd00::1"}, {"address": "fd00:0::1"}], "gateways[1].address", "'fd00::1' is listed twice"),
        ([{**ONE, "weight": 257}], "gateways[0].weight", "257 is not from 0 to 256"),
        ([{**ONE, "weight": "1"}], "gateways[0].weight", "'1' is not a whole number"),
        ([{**ONE, "priority": -1}], "gateways[0].priority", "-1 is not from 0 to 1000"),
        ([{**ONE, "interface": "a/b"}], "gateways[0].interface", "'a/b' is not the name of an interface"),
        ([{**ONE, "nodeSelector": {}}], "gateways[0].nodeSelector", "must have nodeSelectorTerms"),
    ],
)
def test_gateways_that_cannot_be_used_are_refused(gateways: object, field: str, problem: str) -> None:
    """A bad gateway makes the object unusable, and is named."""
    with pytest.raises(InvalidSpecError) as caught:
        _parse(gateways)

    assert caught.value.field == f"spec.{field}"
    assert problem in caught.value.problem


def test_gateway_and_gateways_exclude_each_other() -> None:
    """Exactly one of the two must be there."""
    for spec in (manifest(gateways=[OTHER]), manifest(gateway=None)):
        with pytest.raises(InvalidSpecError):
            StaticRoute.parse(spec)


@pytest.mark.parametrize(
    ("check", "read"),
    [
        ({}, Check()),
        ({"interval": "100ms", "timeout": "50ms"}, Check(interval=0.1, timeout=0.05)),
        ({"type": "TCP", "port": 22, "failureThreshold": 1}, Check(CheckType.TCP, 22, failure_threshold=1)),
        (
            {"type": "HTTP", "port": 80, "path": "/healthz?a=b", "interval": "1m30s", "successThreshold": 100},
            Check(CheckType.HTTP, 80, "/healthz?a=b", interval=90.0, success_threshold=100),
        ),
        (dict.fromkeys(["type", "port", "path", "interval", "timeout", "failureThreshold"]), Check()),
    ],
)
def test_check_is_read(check: dict[str, Any], read: Check) -> None:
    """A health check is read with its durations; what is absent or null has its default."""
    assert StaticRoute.parse(manifest(healthCheck=check)).check == read


@pytest.mark.parametrize(
    ("check", "field", "problem"),
    [
        ("ICMP", "", "'ICMP' is not an object"),
        ({"type": "icmp"}, ".type", "'icmp' is not one of ICMP, TCP, HTTP"),
        ({"type": "TCP"}, ".port", "is missing; TCP needs a port"),
        ({"port": 80}, ".port", "may be set only for TCP and HTTP"),
        ({"type": "TCP", "port": 65_536}, ".port", "65536 is not from 1 to 65535"),
        ({"type": "TCP", "port": 1, "path": "/"}, ".path", "may be set only for HTTP"),
        ({"type": "HTTP", "port": 1, "path": "x"}, ".path", "'x' is not a path"),
        ({"type": "HTTP", "port": 1, "path": "/a b"}, ".path", "'/a b' is not a path"),
        ({"interval": 1}, ".interval", "'1' is not a duration such as 100ms or 2s"),
        ({"interval": "1"}, ".interval", "'1' is not a duration"),
        ({"interval": "-1s"}, ".interval", "'-1s' is not a duration"),
        ({"interval": "9ms"}, ".interval", "'9ms' is not from 10ms to 1h"),
        ({"interval": "61m"}, ".interval", "'61m' is not from 10ms to 1h"),
        ({"timeout": "0s"}, ".timeout", "'0s' is not from 1ms to 1m"),
        ({"failureThreshold": 0}, ".failureThreshold", "0 is not from 1 to 100"),
        ({"successThreshold": 101}, ".successThreshold", "101 is not from 1 to 100"),
    ],
)
def test_check_that_cannot_be_used_is_refused(check: object, field: str, problem: str) -> None:
    """A bad health check makes the object unusable: gateways that are not checked are not what was asked for."""
    with pytest.raises(InvalidSpecError) as caught:
        StaticRoute.parse(manifest(healthCheck=check))

    assert caught.value.field == f"spec.healthCheck{field}"
    assert problem in caught.value.problem


def test_policy_is_read() -> None:
    """The policy for the loss of all gateways is one of three words."""
    for word in WhenAllDown:
        assert StaticRoute.parse(manifest(whenAllGatewaysDown=word.value)).when_all_down is word
    with pytest.raises(InvalidSpecError, match=r"'keep' is not one of Keep, Withdraw, Blackhole"):
        StaticRoute.parse(manifest(whenAllGatewaysDown="keep"))


@pytest.mark.parametrize(("text", "length"), [("10ms", 0.01), ("1.5s", 1.5), ("1h", 3600.0), ("1m30s", 90.0)])
def test_durations_are_those_of_kubernetes(text: str, length: float) -> None:
    """Durations are written as everywhere in Kubernetes."""
    assert seconds(text) == pytest.approx(length)


def test_defaults_and_bounds_are_those_of_the_crd() -> None:
    """The API server's defaults are the parser's values for absent fields, and both know the same bounds."""
    schema = custom_resource_definition()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    properties = schema["properties"]["spec"]["properties"]

    def defaults(fields: dict[str, Any]) -> dict[str, Any]:
        return {name: each["default"] for name, each in fields.items() if "default" in each}

    gateway = properties["gateways"]["items"]["properties"]
    assert _parse([{**ONE, **defaults(gateway)}]).gateways == _parse([ONE]).gateways
    check = properties["healthCheck"]["properties"]
    assert StaticRoute.parse(manifest(healthCheck=defaults(check))).check == Check()
    for name in ("weight", "priority"):
        for value in (gateway[name]["minimum"], gateway[name]["maximum"]):
            assert _parse([{**ONE, name: value}])
    for name, bounds in (("interval", INTERVALS), ("timeout", TIMEOUTS)):
        (rule,) = check[name]["x-kubernetes-validations"]
        assert rule["message"] == "must be from {} to {}".format(*bounds)
        for bound in bounds:
            assert StaticRoute.parse(manifest(healthCheck={name: bound})).check
