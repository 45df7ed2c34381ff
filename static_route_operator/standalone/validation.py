"""Offline validation of StaticRoutes in files: the errors that the API server would report, each with its line.

The fields are checked against the schema of the CRD. The parser that runs on the nodes stands in for the CEL rules of
the CRD; tests compare the two.
"""

import difflib
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from static_route_operator.api import API_VERSION
from static_route_operator.api.crd.staticroute import custom_resource_definition
from static_route_operator.api.manifest import unwrap
from static_route_operator.api.resolution import resolve
from static_route_operator.api.staticroute import KIND, StaticRoute
from static_route_operator.errors import InvalidSpecError, ManifestError
from static_route_operator.standalone.manifests import Loader, list_manifests

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
_STEP = re.compile(r"\[(\d+)\]|([^.\[\]]+)")


@dataclass(frozen=True, slots=True)
class Finding:
    """An error that the API server would report.

    Attributes:
        line: 0 when unknown.
        object: name of the StaticRoute; empty when it has none.
        field: path, such as ``spec.gateway``.
        problem: the error, and the correction.
    """

    file: str
    line: int
    object: str
    field: str
    problem: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else self.file
        what = f"StaticRoute {self.object}: " if self.object else ""
        return f"{where}: {what}{self.field}{': ' if self.field else ''}{self.problem}"


class _Document(NamedTuple):
    """An object in a file: its values, and the YAML nodes that they were read from."""

    body: Any
    node: yaml.Node


def validate(files: Mapping[str, str]) -> dict[str, Any]:
    """Check files, given by name and content, and return the findings as a JSON object.

    Objects of other kinds are skipped.
    """
    findings: list[Finding] = []
    checked = 0
    known: dict[str, str] = {}
    for file, text in files.items():
        try:
            documents = list(_documents(text))
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            words = getattr(error, "problem", None) or " ".join(str(error).split())
            findings.append(Finding(file, mark.line + 1 if mark else 0, "", "", f"is not valid YAML: {words}"))
            continue
        except ManifestError as error:
            findings.append(Finding(file, 0, "", "", str(error)))
            continue
        for document in documents:
            if isinstance(document.body, Mapping) and document.body.get("kind") == KIND:
                checked += 1
                findings += _check(file, document, known)
    if not checked and not findings:
        findings = [Finding(file, 0, "", "", f"the file has no {KIND}: is it the right file?") for file in files]
    return {"checked": checked, "findings": [asdict(each) for each in findings]}


def read(paths: list[Path]) -> Iterator[tuple[str, str]]:
    """Yield name and content of files, and of all manifests in directories.

    Raises:
        OSError: a file cannot be read.
        UnicodeDecodeError: a file is not text.
    """
    for path in paths:
        for file in list_manifests(path) if path.is_dir() else [path]:
            yield str(file), file.read_text(encoding="utf-8")


def _documents(text: str) -> Iterator[_Document]:
    loader = Loader(text)
    try:
        while loader.check_node():
            node = loader.get_node()
            if node is not None:
                for path, body in unwrap(loader.construct_document(node)):
                    yield _Document(body, _find(node, path))
    finally:
        loader.dispose()


def _check(file: str, document: _Document, known: dict[str, str]) -> Iterator[Finding]:
    body, node = document
    name = _name(body)

    def finding(field: str, problem: str) -> Finding:
        return Finding(file, _find(node, field).start_mark.line + 1, name, field, problem)

    here = f"{file}:{node.start_mark.line + 1}"
    if body.get("apiVersion") != API_VERSION:
        yield finding("apiVersion", f"is '{body.get('apiVersion')}'; it must be {API_VERSION}")
    if not _NAME.fullmatch(name) or len(name) > _MAX_NAME_LENGTH:
        yield finding("metadata.name", f"'{name}' is not a name: use lower case letters, digits, '-' and '.'")
    elif name in known:
        yield finding("metadata.name", f"{known[name]} also has a StaticRoute with this name")
    known.setdefault(name, here)
    (version,) = custom_resource_definition()["spec"]["versions"]
    schema = version["schema"]["openAPIV3Schema"]["properties"]["spec"]
    found = [finding(field, problem) for field, problem in _conform(body.get("spec"), schema, "spec")]
    yield from found
    if found:
        return
    try:
        route = StaticRoute.parse(
            {**body, "apiVersion": API_VERSION, "metadata": {**body["metadata"], "name": name or "x"}}
        )
    except InvalidSpecError as error:
        yield finding(error.field, error.problem)
        return
    places = {str(entry): index for index, entry in enumerate(body["spec"]["destinations"])}
    for each in resolve(route).refused:
        index = f"[{places[each.text]}]" if each.text in places else ""
        yield finding(f"spec.destinations{index}", each.problem)


def _name(body: Mapping[str, Any]) -> str:
    metadata = body.get("metadata")
    name = metadata.get("name") if isinstance(metadata, Mapping) else None
    return name if isinstance(name, str) else ""


def _conform(value: Any, schema: Mapping[str, Any], path: str) -> Iterator[tuple[str, str]]:
    """Yield path and problem of each part of a value that breaks a schema."""
    kind = "integer or string" if schema.get("x-kubernetes-int-or-string") else schema["type"]
    if not isinstance(value, _TYPES[kind]) or (isinstance(value, bool) and kind != "boolean"):
        quoted = "; write it in quotes" if kind == "string" and isinstance(value, int | float) else ""
        yield path, "is missing" if value is None else f"'{value}' is not of type {kind}{quoted}"
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
            close = difflib.get_close_matches(str(name), known, n=1)
            hint = f"did you mean {close[0]}?" if close else f"the fields are {', '.join(known)}"
            yield f"{path}.{name}", f"is not a field: {hint}"


def _conform_scalar(value: Any, schema: Mapping[str, Any], path: str) -> Iterator[tuple[str, str]]:
    if "enum" in schema and value not in schema["enum"]:
        yield path, f"'{value}' is not one of {', '.join(map(str, schema['enum']))}"
    if "pattern" in schema and isinstance(value, str) and not re.search(schema["pattern"], value):
        yield path, f"'{value}' does not match the pattern {schema['pattern']}"
    if isinstance(value, str):
        yield from _bounds(len(value), schema, path, "Length", "characters")
    elif "minimum" in schema and value < schema["minimum"]:
        yield path, f"{value} is less than {schema['minimum']}"
    elif "maximum" in schema and value > schema["maximum"]:
        yield path, f"{value} is more than {schema['maximum']}"


def _bounds(size: int, schema: Mapping[str, Any], path: str, what: str, unit: str) -> Iterator[tuple[str, str]]:
    if size < schema.get(f"min{what}", 0):
        yield path, f"has {size} {unit}; at least {schema[f'min{what}']} are needed"
    elif size > schema.get(f"max{what}", size):
        yield path, f"has {size} {unit}; at most {schema[f'max{what}']} are allowed"


def _find(node: yaml.Node, path: str) -> yaml.Node:
    """Return the node at a path, or its nearest ancestor that exists."""
    for index, name in _STEP.findall(path):
        found = None
        if name and isinstance(node, yaml.MappingNode):
            found = next((value for key, value in node.value if key.value == name), None)
        elif index and isinstance(node, yaml.SequenceNode) and int(index) < len(node.value):
            found = node.value[int(index)]
        if found is None:
            break
        node = found
    return node
