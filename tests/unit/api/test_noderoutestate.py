"""The object in which a node says how its StaticRoutes fare."""

import json
from dataclasses import replace

from static_route_operator.api.crd.noderoutestate import custom_resource_definition
from static_route_operator.api.noderoutestate import (
    MAX_MESSAGE_LENGTH,
    GatewayRow,
    NodeRouteState,
    Reason,
    Row,
    RowState,
)


def _row(name: str, state: RowState = RowState.PROGRAMMED, message: str = "", programmed: int = 1) -> Row:
    return Row(name, 3, "10.0.0.1", state, Reason.PROGRAMMED, message, 2, programmed)


def test_counts() -> None:
    """Standby counts as ready; what only waits is neither ready nor failed."""
    rows = tuple(_row(f"r{number}", state) for number, state in enumerate(RowState))
    status = NodeRouteState("node1", "uid-1", rows).to_json()["status"]

    assert (status["summary"], status["staticRoutes"], status["ready"], status["failed"]) == ("2/7", 7, 2, 3)
    assert status["routes"] == 7


def test_owned_by_its_node() -> None:
    """The object bears the node's name, and the garbage collector takes it with the Node."""
    metadata = NodeRouteState("node1", "uid-1", ()).to_json()["metadata"]

    owner = {"apiVersion": "v1", "kind": "Node", "name": "node1", "uid": "uid-1"}
    assert metadata == {"name": "node1", "ownerReferences": [owner]}


def test_long_message_is_cut() -> None:
    """A message never is longer than the schema allows; one that fits stays as it is."""
    longest = "x" * MAX_MESSAGE_LENGTH
    assert _row("a", message=longest).to_json()["message"] == longest
    cut = _row("a", message=longest + "x").to_json()["message"]
    assert len(cut) == MAX_MESSAGE_LENGTH
    assert cut.endswith("x…")


def test_two_hundred_failures_are_far_below_the_limit_of_etcd() -> None:
    """An object of 200 rows that fail with the longest messages is a quarter of a megabyte."""
    rows = tuple(_row(f"route-{number}", RowState.FAILED, "x" * 5000) for number in range(200))

    assert len(json.dumps(NodeRouteState("node1", "uid-1", rows).to_json())) < 256 * 1024


def test_schema_knows_every_field() -> None:
    """The API server prunes no field: each that is written stands in the schema, and each in the schema is written."""
    (version,) = custom_resource_definition()["spec"]["versions"]
    status = version["schema"]["openAPIV3Schema"]["properties"]["status"]
    row = replace(_row("a"), up=("10.0.0.1",), down=("10.0.0.3",))
    gateway = GatewayRow("10.0.0.1", "eth0", "ICMP every 1 s", "Down", 1_700_000_000, 1_700_000_002)
    written = NodeRouteState("node1", "uid-1", (row,), (gateway,)).to_json()["status"]

    assert status["properties"].keys() == written.keys()
    assert status["properties"]["rows"]["items"]["properties"].keys() == written["rows"][0].keys()
    assert status["properties"]["gateways"]["items"]["properties"].keys() == written["gateways"][0].keys()
    assert written["gateways"][0]["since"] == "2023-11-14T22:13:20Z"
    assert written["gateways"][0]["heldUntil"] == "2023-11-14T22:13:22Z"


def test_gateway_that_is_not_held_says_nothing_of_a_hold_down() -> None:
    """A gateway that failed once has no field for a hold-down."""
    assert "heldUntil" not in GatewayRow("10.0.0.1", "eth0", "ICMP every 1 s", "Down", 1_700_000_000).to_json()


def test_node_that_probes_nothing_says_nothing_of_it() -> None:
    """Objects without a health check look as ever."""
    written = NodeRouteState("node1", "uid-1", (_row("a"),)).to_json()["status"]

    assert "gateways" not in written
    assert not written["rows"][0].keys() & {"gatewaysUp", "gatewaysDown"}
