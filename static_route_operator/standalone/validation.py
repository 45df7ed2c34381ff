"""StaticRoutes in files, checked without a cluster: what the API server would refuse, and where it stands.

The fields are checked against the CRD's own schema; what its CEL rules hold, against the parser of nodes, which holds
the same (tests compare the two).
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
from static_route_operator.api.resolution import resolve
from static_route_operator.api.staticroute import KIND, StaticRoute
from static_route_operator.errors import InvalidSpecError
from static_route_operator.standalone.manifests import Loader

# As the API server has it for names of objects.
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_LONGEST_NAME = 253

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
    """Something that the API server would refuse.

    Attributes:
        file: its name.
        line: where in it; 0 when it is not known.
        object: the StaticRoute; empty when it has no name.
        field: the path of the field.
        problem: what is wrong with it, and what would be right.
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
    """An object in a file: as values, and as what they were read from."""

    body: Any
    node: yaml.Node


def validate(files: Mapping[str, str]) -> dict[str, Any]:
    """Check files, as a JSON object.

    Args:
        files: their contents by name. Objects of other kinds in them are passed over.
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
        for document in documents:
            if isinstance(document.body, Mapping) and document.body.get("kind") == KIND:
                checked += 1
                findings += _check(file, document, known)
    if not checked and not findings:
        findings = [Finding(file, 0, "", "", f"there is no {KIND} in it: is it the right file?") for file in files]
    return {"checked": checked, "findings": [asdict(each) for each in findings]}


def read(paths: list[Path]) -> Iterator[tuple[str, str]]:
    """Name and content of files; of directories, of all manifests in them.

    Raises:
        OSError: one can't be read.
        UnicodeDecodeError: one is no text.
    """
    for path in paths:
        if path.is_dir():
            yield from read(sorted(each for each in path.iterdir() if each.suffix in {".yaml", ".yml", ".json"}))
        else:
            yield str(path), path.read_text(encoding="utf-8")


def _documents(text: str) -> Iterator[_Document]:
    loader = Loader(text)
    try:
        while loader.check_node():
            node = loader.get_node()
            if node is not None:
                yield from _flatten(_Document(loader.construct_document(node), node))
    finally:
        loader.dispose()


def _flatten(document: _Document) -> Iterator[_Document]:
    body = document.body
    if isinstance(body, Mapping) and body.get("kind") == "List" and isinstance(body.get("items"), list):
        for index, item in enumerate(body["items"]):
            yield from _flatten(_Document(item, _find(document.node, f"items[{index}]")))
    else:
        yield document


def _check(file: str, document: _Document, known: dict[str, str]) -> Iterator[Finding]:
    body, node = document
    name = _name(body)

    def finding(field: str, problem: str) -> Finding:
        return Finding(file, _find(node, field).start_mark.line + 1, name, field, problem)

    here = f"{file}:{node.start_mark.line + 1}"
    if body.get("apiVersion") != API_VERSION:
        yield finding("apiVersion", f"is '{body.get('apiVersion')}'; it must be {API_VERSION}")
    if not _NAME.fullmatch(name) or len(name) > _LONGEST_NAME:
        yield finding("metadata.name", f"'{name}' is no name: use lower case letters, digits, '-' and '.'")
    elif name in known:
        yield finding("metadata.name", f"{known[name]} has a StaticRoute with this name too")
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
    """Where a value is not as a schema has it: path and problem."""
    kind = "integer or string" if schema.get("x-kubernetes-int-or-string") else schema["type"]
    if not isinstance(value, _TYPES[kind]) or (isinstance(value, bool) and kind != "boolean"):
        quoted = "; write it in quotes" if kind == "string" and isinstance(value, int | float) else ""
        yield path, "is missing" if value is None else f"'{value}' is no {kind}{quoted}"
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
            # A null is as good as nothing.
            if each is not None:
                yield from _conform(each, known[name], f"{path}.{name}")
        elif known:
            close = difflib.get_close_matches(str(name), known, n=1)
            meant = f"did you mean {close[0]}?" if close else f"there are {', '.join(known)}"
            yield f"{path}.{name}", f"there is no such field: {meant}"


def _conform_scalar(value: Any, schema: Mapping[str, Any], path: str) -> Iterator[tuple[str, str]]:
    if "enum" in schema and value not in schema["enum"]:
        yield path, f"'{value}' is none of {', '.join(map(str, schema['enum']))}"
    if "pattern" in schema and isinstance(value, str) and not re.search(schema["pattern"], value):
        yield path, f"'{value}' is not in the form {schema['pattern']}"
    if isinstance(value, str):
        yield from _bounds(len(value), schema, path, "Length", "characters")
    elif "minimum" in schema and value < schema["minimum"]:
        yield path, f"{value} is less than {schema['minimum']}"
    elif "maximum" in schema and value > schema["maximum"]:
        yield path, f"{value} is more than {schema['maximum']}"


def _bounds(size: int, schema: Mapping[str, Any], path: str, what: str, words: str) -> Iterator[tuple[str, str]]:
    if size < schema.get(f"min{what}", 0):
        yield path, f"has {size} {words}; at least {schema[f'min{what}']} are needed"
    elif size > schema.get(f"max{what}", size):
        yield path, f"has {size} {words}; at most {schema[f'max{what}']} are allowed"


def _find(node: yaml.Node, path: str) -> yaml.Node:
    """The node at a path, or the nearest above it that there is."""
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
