"""The rules that lead to a default route, and when there can be none."""

from dataclasses import replace

from static_route_operator.planning.defaultroute import followers, make_bypass_routes, make_rules, unpinnable
from static_route_operator.routing.facts import Facts
from static_route_operator.routing.foreign import ForeignRib
from static_route_operator.routing.nexthops import UNKNOWN_IPV4, NextHops
from static_route_operator.routing.prefixes import pack_address
from tests.unit.builders import ETH0, facts, keys, protection

ETH1 = 3
PUBLIC = NextHops.via(pack_address("198.51.100.1"), ETH1)


def _node(default: NextHops = PUBLIC) -> Facts:
    """A node whose default route is on eth1, with gateways on eth0."""
    own = {"10.0.0.2": "eth0", "198.51.100.2": "eth1", "198.51.100.3": "eth1", "2001:db8::2": "eth1", "10.9.0.1": "br0"}
    return replace(
        facts(addresses=own),
        interfaces={ETH0: "eth0", ETH1: "eth1"},
        foreign=ForeignRib({default: keys("0.0.0.0/0")}),
        protected=protection({"203.0.113.6": "API server"}),
    )


def test_replies_leave_where_the_request_came_in() -> None:
    """Each address of the old default route's interface has a rule; those of the gateway's and of bridges have none."""
    path = NextHops.via(pack_address("10.0.0.1"), ETH0)

    assert [str(rule) for rule in sorted(make_rules([path], _node()))] == [
        "32700: from 198.51.100.2 lookup main",
        "32700: from 198.51.100.3 lookup main",
        "32701: lookup main suppress_prefixlength 0",
        "32702: lookup 245",
    ]


def test_source_of_a_default_route_is_not_led_elsewhere() -> None:
    """Packets that get a source by the default route would else leave by the old one."""
    path = NextHops.via(pack_address("10.0.0.1"), ETH0, source=pack_address("198.51.100.3"))

    assert "32700: from 198.51.100.3 lookup main" not in {str(rule) for rule in make_rules([path], _node())}


def test_no_default_route_has_no_rules() -> None:
    """There is nothing to lead to."""
    assert make_rules([], _node()) == frozenset()


def test_default_route_that_can_not_be_copied_is_told() -> None:
    """Something that is protected must follow it, so it stands in the way."""
    assert unpinnable(4, _node()) is None
    node = _node(UNKNOWN_IPV4)
    assert unpinnable(4, node) == followers(4, node)[0]
    assert not len(make_bypass_routes([4], node))
    assert unpinnable(4, replace(node, protected=protection({}))) is None
