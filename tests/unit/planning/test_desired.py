"""JSON form of the desired state of a node."""

import json
from typing import Any

from static_route_operator.planning.desired import describe_desired, parse_desired
from static_route_operator.planning.plan import make_plan
from static_route_operator.routing.options import METRIC_OPTIONS
from tests.unit.builders import facts, key, resolved


def test_what_is_told_is_read_again() -> None:
    """Routes of every kind, what is held, and whose each is come through JSON as they were."""
    metrics: dict[str, Any] = {option.field: option.maximum for option in METRIC_OPTIONS}
    gateways = [{"address": "10.0.0.1", "weight": 3}, {"address": "10.0.0.3"}]
    plan = make_plan(
        [
            resolved("plain", source="10.0.0.2", onLink=True, **metrics),
            resolved("several", None, ["192.0.2.2", "192.0.2.4/31"], gateways=gateways),
            resolved("far", "172.31.0.1", ["192.0.2.9"]),
            resolved("dropped", "172.31.0.1", ["192.0.2.10"], whenAllGatewaysDown="Blackhole"),
            resolved("ipv6", "fd00::1", ["2001:db8::/32"], table=7, metric=9),
            resolved("default", destinations=["0.0.0.0/0"], allowDefaultRoute=True),
        ],
        facts(),
    )

    desired = parse_desired(json.loads(json.dumps(describe_desired(plan, {}))))

    assert desired.routes == plan.desired
    assert desired.retained == plan.retained
    assert desired.rules == plan.rules
    assert set(desired.rules.values()) == {("default",)}
    owners = {name: desired.owner(key(name)) for name in ("192.0.2.2", "192.0.2.9", "192.0.2.77")}
    assert {name: owner and owner.name for name, owner in owners.items()} == {
        "192.0.2.2": "several",
        "192.0.2.9": "far",
        "192.0.2.77": None,
    }
