"""StaticRoutes from a directory of YAML files, for hosts without Kubernetes."""

import contextlib
import dataclasses
import json
import logging
import sys
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml

from static_route_operator.api.resolution import resolve
from static_route_operator.api.staticroute import StaticRoute
from static_route_operator.errors import InvalidSpecError, ManifestError
from static_route_operator.node.inventory import Inventory

logger = logging.getLogger(__name__)

STDIN = Path("-")
SUFFIXES = frozenset({".yaml", ".yml", ".json"})

_SafeLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
# As in Kubernetes a time is a text.
Loader: Any = type(
    "Loader",
    (_SafeLoader,),
    {
        "yaml_implicit_resolvers": {
            first: [each for each in resolvers if each[0] != "tag:yaml.org,2002:timestamp"]
            for first, resolvers in _SafeLoader.yaml_implicit_resolvers.items()
        }
    },
)


def read_manifest(file: Path) -> list[StaticRoute]:
    """The StaticRoutes of one file, checked as strictly as the API server would.

    Raises:
        ManifestError: it can't be read, is no YAML, or holds anything but valid StaticRoutes.
    """
    return [_parse(file, document) for document in read_documents(file)]


def read_all_documents(paths: Iterable[Path]) -> list[dict[str, object]]:
    """The StaticRoutes of files and of all files in directories as JSON objects, each checked; ``-`` is standard input.

    Raises:
        ManifestError: see `read_manifest`.
    """
    found = []
    for path in paths:
        try:
            files = sorted(each for each in path.iterdir() if _is_manifest(each)) if path.is_dir() else [path]
        except OSError as error:
            raise ManifestError(f"{path}: can't be read: {error}") from error
        for file in files:
            documents = read_documents(file)
            for document in documents:
                _parse(file, document)
            found += documents
    return found


def read_documents(file: Path) -> list[dict[str, object]]:
    """The objects of one file, unchecked.

    Raises:
        ManifestError: it can't be read, or is no YAML.
    """
    try:
        text = sys.stdin.read() if file == STDIN else file.read_text(encoding="utf-8")
        documents = _documents(text)
    except (OSError, UnicodeDecodeError) as error:
        raise ManifestError(f"{file}: can't be read: {error}") from error
    except yaml.YAMLError as error:
        raise ManifestError(f"{file}: is not valid YAML: {' '.join(str(error).split())}") from error
    return list(_flatten(file, documents))


def _documents(text: str) -> list[Any]:
    # JSON is YAML too, but its own reader takes a hundredth of the time for a list of 100,000 destinations.
    with contextlib.suppress(json.JSONDecodeError):
        return [json.loads(text)]
    return list(yaml.load_all(text, Loader))


def _flatten(file: Path, documents: object) -> Iterator[dict[str, object]]:
    if not isinstance(documents, list):
        raise ManifestError(f"{file}: items of a List is not a list")
    for document in documents:
        if document is None:
            continue
        if not isinstance(document, dict):
            raise ManifestError(f"{file}: holds something that is not a Kubernetes object")
        if document.get("kind") == "List":
            yield from _flatten(file, document.get("items") or [])
        else:
            yield document


def _parse(file: Path, document: dict[str, object]) -> StaticRoute:
    missing = [each for each in ("apiVersion", "kind") if each not in document]
    if missing:
        raise ManifestError(f"{file}: an object has no {' and no '.join(missing)}")
    try:
        route = StaticRoute.parse(document)
    except InvalidSpecError as error:
        raise ManifestError(f"{file}: {error}") from error
    if refused := resolve(route).refused:
        problems = "; ".join(each.problem for each in refused)
        raise ManifestError(f"{file}: StaticRoute {route.name}: spec.destinations: {problems}")
    return route


class ManifestDirectory:
    """A directory of manifests, fed into an inventory.

    A file that can't be used keeps its last good version in force. One that never had a good version holds up all
    removals: which routes it would want is not known.

    Args:
        directory: where the files are; those of other kinds, hidden ones and subdirectories are passed over.
        inventory: what to feed.
    """

    def __init__(self, directory: Path, inventory: Inventory) -> None:
        self._directory = directory
        self._inventory = inventory
        self._good: dict[str, list[StaticRoute]] = {}
        self._known: dict[str, StaticRoute] = {}
        self.problems: list[str] = []

    def load(self) -> None:
        """Read the whole directory and take in what has changed.

        What is wrong is logged, and kept in ``problems`` until the next load.
        """
        before, self.problems = self.problems, []
        try:
            files = sorted(each for each in self._directory.iterdir() if _is_manifest(each))
        except OSError as error:
            self._problem(f"{self._directory}: can't be read: {error}; all routes stay as they are", before)
            return
        good: dict[str, list[StaticRoute]] = {}
        unknown: dict[str, int] = {}
        for file in files:
            try:
                good[file.name] = read_manifest(file)
            except ManifestError as error:
                if file.name in self._good:
                    good[file.name] = self._good[file.name]
                    self._problem(f"{error}; its last good version stays in force", before)
                else:
                    unknown[f"file {file.name}"] = 0
                    self._problem(f"{error}; no route is removed until this is mended", before)
        self._good = good
        self._take(good, unknown, before)

    def _take(self, good: dict[str, list[StaticRoute]], unknown: dict[str, int], before: list[str]) -> None:
        current: dict[str, StaticRoute] = {}
        origin: dict[str, str] = {}
        for file, routes in good.items():
            for route in routes:
                if route.name in current:
                    where = f"{self._directory / file}: StaticRoute {route.name} is defined in {origin[route.name]} too"
                    self._problem(f"{where}; the first one counts", before)
                    continue
                origin[route.name] = file
                current[route.name] = self._numbered(route)
        for name, route in current.items():
            if self._known.get(name) != route:
                self._inventory.put(route, 1)
        self._known = current
        self._inventory.replace({**unknown, **{route.uid: 1 for route in current.values()}}, 1)

    def _numbered(self, route: StaticRoute) -> StaticRoute:
        """The route with the uid it had, and a generation that moves when it changes, as an API server would give."""
        known = self._known.get(route.name)
        if known is None:
            return dataclasses.replace(route, uid=uuid.uuid4().hex, generation=1)
        same = dataclasses.replace(route, uid=known.uid, generation=known.generation)
        return same if same == known else dataclasses.replace(same, generation=known.generation + 1)

    def _problem(self, text: str, before: list[str]) -> None:
        self.problems.append(text)
        if text not in before:
            logger.error("%s", text)


def _is_manifest(file: Path) -> bool:
    return file.suffix in SUFFIXES and not file.name.startswith(".") and file.is_file()
