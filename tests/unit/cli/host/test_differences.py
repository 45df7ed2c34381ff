"""Differences between the desired and the installed routes and rules of a host."""

from static_route_operator.cli.host.differences import differences, rule_differences
from static_route_operator.planning.desired import describe_desired, parse_desired
from static_route_operator.planning.plan import make_plan
from static_route_operator.routing.nexthops import NextHops
from static_route_operator.routing.prefixes import pack_address
from static_route_operator.routing.rules import Rule
from tests.unit.builders import ETH0, facts, key, resolved, routes

OURS = NextHops.via(pack_address("10.0.0.1"), ETH0)
OTHER = NextHops.via(pack_address("10.0.0.3"), ETH0)


def test_each_difference_has_both_sides_and_an_owner() -> None:
    """Missing, different and surplus routes are shown; routes that are as desired, or retained, are not."""
    destinations = ["192.0.2.1", "192.0.2.2", "192.0.2.3"]
    plan = make_plan(
        [resolved("nat", destinations=destinations), resolved("far", "172.31.0.1", ["192.0.2.8"])], facts()
    )
    desired = parse_desired(describe_desired(plan, {}))
    present = routes({key("192.0.2.1"): OURS, key("192.0.2.2"): OTHER, key("192.0.2.8"): OTHER, key("192.0.2.9"): OURS})

    found = differences(desired, present, {ETH0: "eth0"})

    def side(route: dict[str, str] | None) -> str | None:
        return f"{route['destination']} {route['gateway']} {route['interface']}" if route else None

    assert [(each["kind"], each["object"], side(each["wanted"]), side(each["present"])) for each in found] == [
        ("Different", "nat", "192.0.2.2/32 10.0.0.1 eth0", "192.0.2.2/32 10.0.0.3 eth0"),
        ("Missing", "nat", "192.0.2.3/32 10.0.0.1 eth0", None),
        ("Surplus", None, None, "192.0.2.9/32 10.0.0.1 eth0"),
    ]
    assert differences(desired, desired.routes, {}) == []


def test_rule_that_is_missing_or_surplus_differs() -> None:
    """A rule that a StaticRoute needs and that is not installed is missing; one that none needs is surplus."""
    plan = make_plan([resolved("default", destinations=["0.0.0.0/0"], allowDefaultRoute=True)], facts())
    desired = parse_desired(describe_desired(plan, {}))
    main, ours = sorted(plan.rules)
    stray = Rule(priority=9, table=7, protocol=245)

    assert rule_differences(desired, [main, stray]) == [
        {"kind": "Missing", "objects": ["default"], "family": "IPv4", "rule": str(ours), "message": ""},
        {
            "kind": "Surplus",
            "objects": [],
            "family": "IPv4",
            "rule": "9: from all lookup 7",
            "message": "no StaticRoute needs this rule",
        },
    ]
    assert rule_differences(desired, [main, ours]) == []
