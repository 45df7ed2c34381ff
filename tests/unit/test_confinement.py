"""The admission policies: they name what the code writes, and their bounds are those of the code."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from static_route_operator.api.clusteraddresses import KINDS, LARGEST_DATA, NAME
from static_route_operator.api.crd.staticroute_status import status_schema
from static_route_operator.controller.events import CONTROLLER
from static_route_operator.controller.finalizer import RETIRED

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
DOCUMENTS: list[dict[str, Any]] = list(yaml.safe_load_all((DEPLOY / "confinement.yaml").read_text()))
POLICIES = {each["metadata"]["name"]: each for each in DOCUMENTS if each["kind"] == "ValidatingAdmissionPolicy"}


def _text(name: str) -> str:
    return str(POLICIES[f"k8s-staticroute-operator-{name}"]["spec"])


def test_every_policy_is_bound_and_fails_closed() -> None:
    """Each policy denies, and denies also when it can't be evaluated; it concerns one account alone."""
    bindings = {each["spec"]["policyName"]: each["spec"] for each in DOCUMENTS if each["kind"].endswith("Binding")}

    assert bindings.keys() == POLICIES.keys()
    for name, policy in POLICIES.items():
        assert bindings[name]["validationActions"] == ["Deny"]
        assert policy["spec"]["failurePolicy"] == "Fail"
        (condition,) = policy["spec"]["matchConditions"]
        assert condition["expression"].startswith('request.userInfo.username == "system:serviceaccount:static-routes:')


def test_status_has_the_fields_that_the_controller_may_write() -> None:
    """A field that is added to the status is added to the policy: the controller could not write the status else."""
    (variable,) = [
        each
        for each in POLICIES["k8s-staticroute-operator-controller"]["spec"]["variables"]
        if each["name"] == "bounded"
    ]

    assert set(re.findall(r'"(\w+)"', variable["expression"])) == set(status_schema()["properties"])


def test_addresses_have_the_keys_and_the_size_of_the_code() -> None:
    """The policy for the ConfigMap lets pass what the controller writes, and no more."""
    text = _text("controller-addresses")

    assert str([kind.key for kind in KINDS]).replace("'", '"') in text
    assert f"size(object.data[key]) <= {LARGEST_DATA})" in text
    assert NAME in text


def test_names_are_those_of_the_code() -> None:
    """Policies name the Events and the finalizer that the code writes and removes."""
    assert f'"{CONTROLLER}"' in _text("controller-events")
    assert f'"{RETIRED}"' in _text("controller")


@pytest.mark.parametrize("schema", [status_schema()])
def test_status_is_bounded(schema: dict[str, Any]) -> None:
    """Every text and list of a status has a bound, which the API server enforces on every writer."""

    def unbounded(node: dict[str, Any], path: str) -> list[str]:
        found = []
        if node.get("type") == "string" and not {"maxLength", "enum", "format"} & node.keys():
            found.append(path)
        if node.get("type") == "array":
            found += [] if "maxItems" in node else [path]
            found += unbounded(node["items"], f"{path}[]")
        for name, each in node.get("properties", {}).items():
            found += unbounded(each, f"{path}.{name}")
        return found

    assert unbounded(schema, "status") == []
