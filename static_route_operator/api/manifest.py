"""Manifests, read as strictly as the API server reads them at `kubectl apply`."""

from collections.abc import Iterator, Mapping
from typing import Any

from static_route_operator.api.resolution import resolve
from static_route_operator.api.staticroute import StaticRoute
from static_route_operator.errors import InvalidSpecError, ManifestError


def unwrap(document: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the objects of a document, and the path of each in it: the items of a List, or the document itself.

    Raises:
        ManifestError: the items of a List are not a list.
    """
    if not isinstance(document, Mapping) or document.get("kind") != "List":
        yield path, document
        return
    items = document.get("items") or []
    if not isinstance(items, list):
        raise ManifestError("items of a List is not a list")
    for index, item in enumerate(items):
        yield from unwrap(item, f"{path}.items[{index}]".lstrip("."))


def parse_manifest(body: Mapping[str, Any]) -> StaticRoute:
    """Read a manifest of a StaticRoute, which names its kind, as `parse_routable` reads the object.

    Raises:
        InvalidSpecError: the API server would refuse the object.
    """
    metadata = body.get("metadata")
    name = str(metadata.get("name") or "(unnamed)") if isinstance(metadata, Mapping) else "(unnamed)"
    for field in ("apiVersion", "kind"):
        if field not in body:
            raise InvalidSpecError(name, field, "is missing")
    return parse_routable(body)


def parse_routable(body: Mapping[str, Any]) -> StaticRoute:
    """Read an object of the kind StaticRoute, and accept no destination that cannot be routed.

    Raises:
        InvalidSpecError: the API server would refuse the object.
    """
    route = StaticRoute.parse(body)
    if refused := resolve(route).refused:
        raise InvalidSpecError(route.name, "spec.destinations", "; ".join(each.problem for each in refused))
    return route
