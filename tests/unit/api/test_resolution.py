"""Resolution of StaticRoutes: keys, gateways and versions."""

from dataclasses import replace
from typing import Any

from static_route_operator.api.gateways import Gateway
from static_route_operator.api.resolution import Version, resolve
from static_route_operator.api.staticroute import StaticRoute
from static_route_operator.planning.plan import make_plan
from static_route_operator.routing.nexthops import NextHops
from static_route_operator.routing.prefixes import pack_address
from tests.unit.builders import ETH0, facts, key, keys, manifest, paths, resolved, route


def test_spec_alone() -> None:
    """Where the spec is the only source, its destinations without its excludes, and its gateways, are all there is."""
    spec = route(destinations=["192.0.2.0/24", "127.0.0.1"], excludes=["192.0.2.128/25"], generation=7)
    found = resolve(spec)

    assert found.keys == keys("192.0.2.0/25")
    assert found.gateways == spec.gateways
    assert [each.text for each in found.refused] == ["127.0.0.1"]
    assert found.destinations == 2
    assert found.version == Version("uid-nat", 7, "")


def test_versions_without_a_generation() -> None:
    """An object without a generation is told apart by its content: its destinations, or any other field."""
    specs: list[dict[str, Any]] = [{}, {}, {"destinations": ["192.0.2.9"]}, {"gateway": "10.0.0.3"}, {"mtu": 1400}]
    versions = {resolve(StaticRoute.parse(manifest(**spec))).version for spec in specs}

    assert len(versions) == 4


def test_version_for_people() -> None:
    """A version reads as its generation, and a revision only where there is one."""
    assert str(resolved(generation=3).version) == "generation 3"
    assert str(replace(resolved(generation=3), revision="7").version) == "generation 3, revision 7"


def test_plan_takes_keys_and_gateways_from_the_resolved_route() -> None:
    """The spec has its own destinations and gateways; the plan has those of the resolved route, and no others."""
    some = resolved(destinations=["192.0.2.1"])
    other = replace(some, keys=keys("203.0.113.0/24"), gateways=(Gateway(pack_address("10.0.0.3")),), revision="2")

    plan = make_plan([other], facts())

    assert paths(plan.desired) == {key("203.0.113.0/24"): NextHops.via(pack_address("10.0.0.3"), ETH0)}
