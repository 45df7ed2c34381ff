"""Manifests, read as the API server reads them."""

from typing import Any

import pytest

from static_route_operator.api.manifest import parse_manifest, unwrap
from static_route_operator.errors import InvalidSpecError, ManifestError
from tests.unit.builders import manifest


def test_lists_are_unwrapped_with_the_path_of_each_item() -> None:
    """A List may hold Lists, and each object has the path at which it is found."""
    inner = {"kind": "List", "items": [manifest("b"), None]}
    document = {"kind": "List", "items": [manifest("a"), inner]}

    assert list(unwrap(document)) == [
        ("items[0]", manifest("a")),
        ("items[1].items[0]", manifest("b")),
        ("items[1].items[1]", None),
    ]
    assert list(unwrap(manifest("c"))) == [("", manifest("c"))]
    assert list(unwrap({"kind": "List"})) == []
    with pytest.raises(ManifestError, match="items of a List is not a list"):
        list(unwrap({"kind": "List", "items": {"a": 1}}))


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"kind": "StaticRoute"}, "apiVersion"),
        ({"apiVersion": "networking.digitalocean.com/v1", "metadata": None}, "kind"),
        (manifest(destinations=["192.0.2.1", "127.0.0.1"]), "spec.destinations"),
        (manifest(gateway=None), "spec.gateway"),
    ],
)
def test_what_the_api_server_refuses_is_refused(body: dict[str, Any], field: str) -> None:
    """An object without kind or version, or with one bad destination, is refused as a whole."""
    with pytest.raises(InvalidSpecError) as caught:
        parse_manifest(body)

    assert caught.value.field == field


def test_good_object_is_read() -> None:
    """A valid manifest becomes the StaticRoute that it describes."""
    assert parse_manifest(manifest("nat")).name == "nat"
