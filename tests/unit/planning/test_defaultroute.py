"""The rules that lead to a default route, and when there can be none."""

from dataclasses import replace

import pytest

from static_route_operator.planning.defaultroute import (
    PRIORITY_OF_MAIN,
    PRIORITY_OF_OURS,
    PRIORITY_OF_REPLIES,
    make_bypass_routes,
    make_rules,
)
from static_route_operator.routing.facts import Facts
from static_route_operator.routing.foreign import ForeignRib
from static_route_operator.routing.nexthops import THROW_IPV4, UNKNOWN_IPV4, NextHops
from static_route_operator.routing.prefixes import pack_address
from tests.unit.builders import ETH0, facts, keys, make_key, pack, protection

ETH1 = 3
PUBLIC = NextHops.via(pack_address("198.51.100.1"), ETH1)


def _node(default: NextHops = PUBLIC) -> Facts:
    """A node whose default route is on eth1, with gateways on eth0."""
    own = {"10.0.0.2": "eth0", "198.51.100.2": "eth1", "198.51.100.3": "eth1", "2001:db8::2": "eth1", "10.9.0.1": "br0"}
    return replace(
        facts(addresses=own),
        foreign=ForeignRib({default: keys("0.0.0.0/0")}),
        protected=protection({"203.0.113.6": "API server"}),
    )


def test_replies_leave_where_the_request_came_in() -> None:
    """Each address of the old default route's interface has a rule; those of the gateway's and of bridges have none."""
    path = NextHops.via(pack_address("10.0.0.1"), ETH0)

    assert [str(rule) for rule in sorted(make_rules([("nat", path)], _node()))] == [
        "32700: from 198.51.100.2 lookup main",
        "32700: from 198.51.100.3 lookup main",
        "32701: from all lookup main suppress_prefixlength 0",
        "32702: from all lookup 245",
    ]


def test_source_of_a_default_route_is_not_led_elsewhere() -> None:
    """Packets that get their source from the default route would otherwise leave by the old one."""
    path = NextHops.via(pack_address("10.0.0.1"), ETH0, source=pack_address("198.51.100.3"))

    assert "32700: from 198.51.100.3 lookup main" not in {str(rule) for rule in make_rules([("nat", path)], _node())}


def test_no_default_route_has_no_rules() -> None:
    """Without a default route there are no rules."""
    assert make_rules([], _node()) == {}


def test_rule_names_the_objects_of_its_family() -> None:
    """A rule serves every default route of its family, and none of the other family."""
    paths = [NextHops.via(pack_address(each), ETH0) for each in ("10.0.0.1", "10.0.0.3", "fd00::1")]
    rules = make_rules(zip("abc", paths, strict=True), _node())

    owners = {(rule.priority, rule.family): names for rule, names in rules.items()}
    assert owners == {
        (PRIORITY_OF_REPLIES, "IPv4"): ("a", "b"),
        (PRIORITY_OF_MAIN, "IPv4"): ("a", "b"),
        (PRIORITY_OF_OURS, "IPv4"): ("a", "b"),
        (PRIORITY_OF_MAIN, "IPv6"): ("c",),
        (PRIORITY_OF_OURS, "IPv6"): ("c",),
    }
    assert all(rule.ours for rule in rules)


def test_every_default_route_of_main_has_its_replies() -> None:
    """The kernel may use any of several default routes later, so the addresses of each one's interface have a rule."""
    second = NextHops.via(pack_address("10.9.0.254"), ETH1 + 1)
    node = replace(
        _node(),
        foreign=ForeignRib({PUBLIC: keys("0.0.0.0/0"), second: pack([make_key("0.0.0.0/0", 254, 7)])}),
    )
    path = NextHops.via(pack_address("10.0.0.1"), ETH0)

    replies = [str(rule) for rule in sorted(make_rules([("nat", path)], node)) if rule.priority == PRIORITY_OF_REPLIES]
    assert replies == [
        "32700: from 10.9.0.1 lookup main",
        "32700: from 198.51.100.2 lookup main",
        "32700: from 198.51.100.3 lookup main",
    ]


@pytest.mark.parametrize("default", [PUBLIC, UNKNOWN_IPV4], ids=["via a gateway", "unreachable"])
def test_bypass_routes_lead_to_the_next_rule(default: NextHops) -> None:
    """A protected prefix takes the kernel's choice in main, so the type of main's default route does not matter."""
    (bypass,) = make_bypass_routes([4], _node(default))

    assert bypass == (THROW_IPV4, pack([make_key("203.0.113.6", 245, 0)]))
    assert not len(make_bypass_routes([4], replace(_node(default), protected=protection({}))))
