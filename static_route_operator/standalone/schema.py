"""Check of an object against the schema of the CRD, with an error for each field."""

import difflib
import functools
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from static_route_operator.api import API_VERSION
from static_route_operator.api.crd.staticroute import custom_resource_definition
from static_route_operator.errors import MOST_SHOWN, shown

# Object names that the API server accepts (DNS subdomain, RFC 1123).
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_MAX_NAME_LENGTH = 253

_TYPES: dict[str, type | tuple[type, ...]] = {
    "object": dict,
    "array": list,
    "string": str,
    "integer": int,
    "boolean": bool,
    "number": (int, float),
    "integer or string": (int, str),
}


def check_head(body: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield path and problem of version and name."""
    if body.get("apiVersion") != API_VERSION:
        yield "apiVersion", f"is {shown(body.get('apiVersion'))}; it must be {API_VERSION}"
    name = name_of(body)
    if len(name) > _MAX_NAME_LENGTH or not _NAME.fullmatch(name):
        yield "metadata.name", f"{shown(name)} is not a name: use lower case letters, digits, '-' and '.'"


def name_of(body: Mapping[str, Any]) -> str:
    """Return the name of an object; empty if it has none."""
    metadata = body.get("metadata")
    name = metadata.get("name") if isinstance(metadata, Mapping) else None
    return name if isinstance(name, str) else ""


def check_spec(spec: Any, *, leave_out: Collection[str] = ()) -> Iterator[tuple[str, str]]:
    """Yield path and problem of each part of a spec that breaks the schema.

    Args:
        spec: the spec.
        leave_out: fields of the spec whose values are not checked.
    """
    if leave_out and isinstance(spec, dict):
        spec = {name: None if name in leave_out else value for name, value in spec.items()}
    yield from _conform(spec, _schema(), "spec")


@functools.cache
def _schema() -> Mapping[str, Any]:
    (version,) = custom_resource_definition()["spec"]["versions"]
    schema: Mapping[str, Any] = version["schema"]["openAPIV3Schema"]["properties"]["spec"]
    return schema


def _conform(value: Any, schema: Mapping[str, Any], path: str) -> Iterator[tuple[str, str]]:
    """Yield path and problem of each part of a value that breaks a schema."""
    kind = "integer or string" if schema.get("x-kubernetes-int-or-string") else schema["type"]
    if not isinstance(value, _TYPES[kind]) or (isinstance(value, bool) and kind != "boolean"):
        quoted = "; write it in quotes" if kind == "string" and isinstance(value, int | float | dict) else ""
        yield path, "is missing" if value is None else f"{shown(value)} is not of type {kind}{quoted}"
    elif isinstance(value, dict):
        yield from _conform_object(value, schema, path)
    elif isinstance(value, list):
        yield from _bounds(len(value), schema, path, "Items", "entries")
        for index, each in enumerate(value):
            yield from _conform(each, schema["items"], f"{path}[{index}]")
    else:
        yield from _conform_scalar(value, schema, path)


def _conform_object(value: Mapping[str, Any], schema: Mapping[str, Any], path: str) -> Iterator[tuple[str, str]]:
    known = schema.get("properties", {})
    for name in schema.get("required", ()):
        if name not in value:
            yield f"{path}.{name}", "is missing"
    for name, each in value.items():
        if name in known:
            # The API server drops a null field.
            if each is not None:
                yield from _conform(each, known[name], f"{path}.{name}")
        elif known:
            close = difflib.get_close_matches(_shortened(name), known, n=1)
            hint = f"did you mean {close[0]}?" if close else f"the fields are {', '.join(known)}"
            yield f"{path}.{_shortened(name)}", f"is not a field: {hint}"


def _conform_scalar(value: Any, schema: Mapping[str, Any], path: str) -> Iterator[tuple[str, str]]:
    if "enum" in schema and value not in schema["enum"]:
        yield path, f"{shown(value)} is not one of {', '.join(map(str, schema['enum']))}"
    if isinstance(value, str):
        sizes = list(_bounds(len(value), schema, path, "Length", "characters"))
        if "pattern" in schema and not sizes and not re.search(schema["pattern"], value):
            yield path, f"{shown(value)} does not match the pattern {schema['pattern']}"
        yield from sizes
    elif "minimum" in schema and value < schema["minimum"]:
        yield path, f"{value} is less than {schema['minimum']}"
    elif "maximum" in schema and value > schema["maximum"]:
        yield path, f"{value} is more than {schema['maximum']}"


def _bounds(size: int, schema: Mapping[str, Any], path: str, what: str, unit: str) -> Iterator[tuple[str, str]]:
    if size < schema.get(f"min{what}", 0):
        yield path, f"has {size} {unit}; at least {schema[f'min{what}']} are needed"
    elif size > schema.get(f"max{what}", size):
        yield path, f"has {size} {unit}; at most {schema[f'max{what}']} are allowed"


def _shortened(name: str) -> str:
    return shown(name)[1:-1] if len(name) <= MOST_SHOWN else shown(name)
