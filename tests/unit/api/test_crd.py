"""The generated CustomResourceDefinition: its drop-in names, and that it says what the parser says."""

from typing import Any

import pytest

from static_route_operator.api import API_VERSION
from static_route_operator.api.crd.staticroute import custom_resource_definition
from static_route_operator.api.staticroute import DEFAULT_PRIORITY
from static_route_operator.controller.rollup import FailingNode, roll_up
from static_route_operator.controller.status import make_status
from static_route_operator.controller.summaries import RouteSummary
from tests.unit.builders import manifest


@pytest.fixture
def spec() -> dict[str, Any]:
    """The ``spec`` of the CRD."""
    crd = custom_resource_definition()
    assert isinstance(crd["spec"], dict)
    return crd["spec"]


@pytest.fixture
def version(spec: dict[str, Any]) -> dict[str, Any]:
    """Its one version."""
    (version,) = spec["versions"]
    assert isinstance(version, dict)
    return version


@pytest.fixture
def properties(version: dict[str, Any]) -> dict[str, Any]:
    """The fields of a StaticRoute's ``spec``."""
    properties = version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
    assert isinstance(properties, dict)
    return properties


def test_names_are_those_of_the_reference_operator(spec: dict[str, Any], version: dict[str, Any]) -> None:
    """Manifests and commands for the reference operator find the same group, version, scope and names."""
    crd = custom_resource_definition()

    assert (crd["apiVersion"], crd["kind"]) == ("apiextensions.k8s.io/v1", "CustomResourceDefinition")
    assert crd["metadata"]["name"] == "staticroutes.networking.digitalocean.com"
    assert (spec["group"], spec["scope"]) == ("networking.digitalocean.com", "Cluster")
    assert spec["names"] == {
        "kind": "StaticRoute",
        "listKind": "StaticRouteList",
        "plural": "staticroutes",
        "singular": "staticroute",
        "shortNames": ["sr"],
    }
    assert (version["name"], version["served"], version["storage"]) == ("v1", True, True)
    assert API_VERSION == "networking.digitalocean.com/v1"


def test_columns_are_those_of_the_reference_operator(version: dict[str, Any]) -> None:
    """`kubectl get -o wide` shows destinations, gateway and age, in this order and from the spec."""
    columns = {column["name"]: column["jsonPath"] for column in version["additionalPrinterColumns"]}

    assert list(columns)[:2] == ["Destinations", "Gateway"]
    assert list(columns)[-1] == "Age"
    assert columns["Destinations"] == ".spec.destinations"
    # A test in tests/cluster shows what the API server makes of it: that of spec, else that of status.
    assert columns["Gateway"] == ".*.gateway"


def test_columns_answer_whether_it_is_everywhere(version: dict[str, Any]) -> None:
    """`kubectl get sr` shows ready nodes and the reason; destinations, which may be thousands, only with -o wide."""
    columns = version["additionalPrinterColumns"]

    assert [each["name"] for each in columns] == ["Destinations", "Gateway", "Routes", "Ready", "Status", "Age"]
    assert [each["name"] for each in columns if each.get("priority")] == ["Destinations"]


def test_status_has_the_fields_that_are_written(version: dict[str, Any]) -> None:
    """The fields that the controller writes are in the schema, one by one."""
    schema = version["schema"]["openAPIV3Schema"]["properties"]["status"]["properties"]
    summary = RouteSummary.parse(
        manifest(gateway=None, gateways=[{"address": "10.0.0.1"}], healthCheck={}, rollout={}, metadata={"uid": "u"})
    )
    status = make_status(summary, roll_up(summary, [], lambda _: None), {}, "now")

    assert status.keys() == schema.keys()
    assert status["nodes"].keys() == schema["nodes"]["properties"].keys()
    assert status["rollout"].keys() == schema["rollout"]["properties"].keys()
    assert set(FailingNode._fields) == schema["failingNodes"]["items"]["properties"].keys()
    assert all(each.keys() == schema["conditions"]["items"]["properties"].keys() for each in status["conditions"])


def test_status_is_a_subresource(version: dict[str, Any]) -> None:
    """The status is written apart from the spec, so it never moves the generation; an old object's is kept."""
    assert version["subresources"] == {"status": {}}
    status = version["schema"]["openAPIV3Schema"]["properties"]["status"]
    assert status["x-kubernetes-preserve-unknown-fields"] is True


def test_spec_takes_ten_thousand_destinations_and_more(properties: dict[str, Any]) -> None:
    """Destinations are a list that applies as a whole, of at least one and of many thousands."""
    destinations = properties["destinations"]

    assert destinations["minItems"] == 1
    assert destinations["maxItems"] >= 10_000
    assert destinations["x-kubernetes-list-type"] == "atomic"


def test_defaults_are_those_of_the_parser(properties: dict[str, Any]) -> None:
    """An object that the API server has filled in means the same as one that the parser has."""
    assert properties["priority"]["default"] == DEFAULT_PRIORITY


def _rules(schema: Any) -> list[dict[str, str]]:
    if isinstance(schema, list):
        return [rule for each in schema for rule in _rules(each)]
    if not isinstance(schema, dict):
        return []
    own = schema.get("x-kubernetes-validations", [])
    return [*own, *(rule for key, each in schema.items() if key != "x-kubernetes-validations" for rule in _rules(each))]


def test_every_rule_says_what_is_wrong(version: dict[str, Any]) -> None:
    """Each CEL rule has a text of its own, and none shows a parsed CIDR, which the cost estimator never accepts."""
    rules = _rules(version["schema"])

    assert rules
    for rule in rules:
        assert rule.get("message") or rule.get("messageExpression")
        assert "cidr(" not in rule.get("messageExpression", "")


def test_every_list_and_text_in_the_spec_is_bounded(version: dict[str, Any]) -> None:
    """Each list and text that a rule may look at has an upper bound: without one the API server refuses the CRD."""

    def unbounded(schema: Any, path: str) -> list[str]:
        if not isinstance(schema, dict):
            return []
        found = [path] if schema.get("type") == "array" and "maxItems" not in schema else []
        if schema.get("type") == "string" and "maxLength" not in schema and "enum" not in schema:
            found.append(path)
        return found + [each for key, value in schema.items() for each in unbounded(value, f"{path}.{key}")]

    assert unbounded(version["schema"]["openAPIV3Schema"]["properties"]["spec"], "spec") == []


def test_each_call_gives_an_equal_and_separate_object() -> None:
    """The CRD is the same each time, and changing one does not change the next."""
    first = custom_resource_definition()
    assert first == custom_resource_definition()

    first["spec"]["names"]["plural"] = "x"
    assert custom_resource_definition()["spec"]["names"]["plural"] == "staticroutes"
