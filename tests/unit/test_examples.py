"""The examples are what their comments say."""

import re
from pathlib import Path

import pytest
import yaml

from static_route_operator.api.resolution import resolve
from static_route_operator.api.staticroute import StaticRoute

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.name)
def test_example_is_valid(path: Path) -> None:
    """Every StaticRoute of the examples is valid once its placeholder is filled in."""
    text = path.read_text()
    gateway = "fd00:116::5" if "2001:db8" in text else "10.116.0.5"
    for index, placeholder in enumerate(dict.fromkeys(re.findall("<[A-Z0-9_]+>", text))):
        text = text.replace(placeholder, gateway + str(index))
    for document in yaml.safe_load_all(text):
        if document["kind"] == "StaticRoute":
            assert resolve(StaticRoute.parse(document)).refused == ()


@pytest.mark.parametrize(
    ("name", "destination"),
    [("static-route-ifconfig.me", "34.160.111.145"), ("static-route-ipinfo.io", "34.117.59.81")],
)
def test_example_of_the_retired_operator(name: str, destination: str) -> None:
    """The retired operator's examples are here under their names, with a placeholder that the API server refuses."""
    document = yaml.safe_load((EXAMPLES / f"{name}.yaml").read_text())
    assert document["metadata"]["name"] == name
    assert document["spec"]["destinations"] == [destination]
    assert re.fullmatch("<[A-Z_]+>", document["spec"]["gateway"])
