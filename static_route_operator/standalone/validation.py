"""Offline validation of StaticRoutes in files: the errors that the API server would report, each with its line.

The fields are checked against the schema of the CRD. The parser that runs on the nodes stands in for the CEL rules of
the CRD; tests compare the two.
"""

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from static_route_operator.api import API_VERSION
from static_route_operator.api.resolution import resolve
from static_route_operator.api.staticroute import KIND, StaticRoute
from static_route_operator.errors import InvalidSpecError, ManifestError, shown
from static_route_operator.standalone.documents import DocumentError, read_documents
from static_route_operator.standalone.files import STDIN, decode, read_file
from static_route_operator.standalone.manifests import Item, items_of, list_files
from static_route_operator.standalone.schema import check_head, check_spec, name_of

_NONE = f"the file has no {KIND}: is it the right file?"

# Findings of one file that are reported.
MOST_FINDINGS = 100


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


def validate(files: Mapping[str, str], unreadable: Iterable[Finding] = ()) -> dict[str, Any]:
    """Check files, given by name and content, and return the findings as a JSON object.

    Objects of other kinds are skipped.

    Args:
        files: the files that can be read.
        unreadable: a finding for each of the others.
    """
    findings = list(unreadable)
    checked = 0
    known: dict[str, str] = {}
    for file, text in files.items():
        try:
            documents = read_documents(text, lines=True)
            items = list(items_of(documents))
        except DocumentError as error:
            findings.append(Finding(file, error.line, "", "", f"is not valid YAML: {error.problem}"))
            continue
        except ManifestError as error:
            findings.append(Finding(file, 0, "", "", str(error)))
            continue
        if not documents:
            # `run` takes it for a file that was not written to its end.
            findings.append(Finding(file, 0, "", "", _NONE))
        found = [item for item in items if isinstance(item.body, Mapping) and item.body.get("kind") == KIND]
        checked += len(found)
        findings += _first(file, itertools.chain.from_iterable(_check(file, item, known) for item in found))
    if not checked and not findings:
        findings = [Finding(file, 0, "", "", _NONE) for file in files]
    return {"checked": checked, "findings": [asdict(each) for each in findings]}


def read(paths: Iterable[Path]) -> tuple[dict[str, str], list[Finding]]:
    """Return the contents of files and of all manifests in directories, by name, and a finding for each unreadable."""
    contents: dict[str, str] = {}
    unreadable: list[Finding] = []
    for path in paths:
        try:
            files = list(list_files([path]))
        except ManifestError as error:
            unreadable.append(_unreadable(path, error))
            continue
        for file in files:
            try:
                contents[_name(file)] = decode(file, read_file(file, pipes=file == path))
            except ManifestError as error:
                unreadable.append(_unreadable(file, error))
    return contents, unreadable


def _name(path: Path) -> str:
    return "(standard input)" if path == STDIN else str(path)


def _unreadable(path: Path, error: ManifestError) -> Finding:
    return Finding(_name(path), 0, "", "", str(error).removeprefix(f"{path}: "))


def _first(file: str, findings: Iterator[Finding]) -> Iterator[Finding]:
    """Yield the first findings of a file: a large file may have an error in each of its lines."""
    yield from itertools.islice(findings, MOST_FINDINGS)
    if next(findings, None) is not None:
        yield Finding(file, 0, "", "", f"has more than {MOST_FINDINGS} errors; these are the first")


def _check(file: str, item: Item, known: dict[str, str]) -> Iterator[Finding]:
    body = item.body
    name = name_of(body)

    def finding(field: str, problem: str) -> Finding:
        return Finding(file, item.line(field), shown(name)[1:-1] if name else "", field, problem)

    yield from itertools.starmap(finding, check_head(body))
    if name and name in known:
        yield finding("metadata.name", f"{known[name]} also has a StaticRoute with this name")
    known.setdefault(name, f"{file}:{item.line('')}")
    wrong = False
    for field, problem in check_spec(body.get("spec")):
        wrong = True
        yield finding(field, problem)
    if wrong:
        return
    metadata = body.get("metadata")
    known_metadata = metadata if isinstance(metadata, Mapping) else {}
    try:
        route = StaticRoute.parse(
            {**body, "apiVersion": API_VERSION, "metadata": {**known_metadata, "name": name or "x"}}
        )
    except InvalidSpecError as error:
        yield finding(error.field, error.problem)
        return
    places = {str(entry): index for index, entry in enumerate(body["spec"]["destinations"])}
    for each in resolve(route).refused:
        index = f"[{places[each.text]}]" if each.text in places else ""
        yield finding(f"spec.destinations{index}", each.problem)
