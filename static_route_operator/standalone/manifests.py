"""StaticRoutes from a directory of YAML files, for hosts without Kubernetes."""

import contextlib
import dataclasses
import json
import logging
import sys
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from static_route_operator.api.manifest import parse_manifest, unwrap
from static_route_operator.api.staticroute import StaticRoute
from static_route_operator.errors import InvalidSpecError, ManifestError
from static_route_operator.node.inventory import Inventory

logger = logging.getLogger(__name__)

STDIN = Path("-")
SUFFIXES = frozenset({".yaml", ".yml", ".json"})

_SafeLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
# YAML loader that leaves timestamps as text, as Kubernetes does.
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
    """Read the StaticRoutes of one file, as strictly as the API server does.

    Raises:
        ManifestError: the file cannot be read, is not YAML, or holds anything but valid StaticRoutes.
    """
    return [_parse(file, document) for document in read_documents(file)]


def read_all_documents(paths: Iterable[Path]) -> list[dict[str, object]]:
    """Return the StaticRoutes of files and directories as JSON objects, each checked; ``-`` is standard input.

    Raises:
        ManifestError: see `read_manifest`.
    """
    found = []
    for path in paths:
        try:
            files = list_manifests(path) if path.is_dir() else [path]
        except OSError as error:
            raise ManifestError(f"{path}: can't be read: {error}") from error
        for file in files:
            documents = read_documents(file)
            for document in documents:
                _parse(file, document)
            found += documents
    return found


def read_documents(file: Path) -> list[dict[str, object]]:
    """Return the objects of one file, unchecked.

    Raises:
        ManifestError: the file cannot be read, or is not YAML.
    """
    try:
        text = sys.stdin.read() if file == STDIN else file.read_text(encoding="utf-8")
        documents = _documents(text)
        objects = [each for document in documents if document is not None for _, each in unwrap(document)]
    except (OSError, UnicodeDecodeError) as error:
        raise ManifestError(f"{file}: can't be read: {error}") from error
    except yaml.YAMLError as error:
        raise ManifestError(f"{file}: is not valid YAML: {' '.join(str(error).split())}") from error
    except ManifestError as error:
        raise ManifestError(f"{file}: {error}") from None
    if not all(isinstance(each, dict) for each in objects):
        raise ManifestError(f"{file}: holds something that is not a Kubernetes object")
    return objects


def list_manifests(directory: Path) -> list[Path]:
    """Return the manifest files of a directory: no subdirectories, hidden files or files of other kinds.

    Raises:
        OSError: the directory cannot be read.
    """
    return sorted(
        file
        for file in directory.iterdir()
        if file.suffix in SUFFIXES and not file.name.startswith(".") and file.is_file()
    )


def _documents(text: str) -> list[Any]:
    # JSON is valid YAML, but the JSON parser is a hundred times as fast for a list of 100,000 destinations.
    with contextlib.suppress(json.JSONDecodeError):
        return [json.loads(text)]
    return list(yaml.load_all(text, Loader))


def _parse(file: Path, document: dict[str, object]) -> StaticRoute:
    try:
        return parse_manifest(document)
    except InvalidSpecError as error:
        raise ManifestError(f"{file}: {error}") from error


class ManifestDirectory:
    """A directory of manifests, fed into an inventory.

    A file with errors keeps its last good version in force. A file that never had a good version suspends all
    removals, since the routes it asks for are unknown.

    Args:
        directory: where the files are; see `list_manifests`.
        inventory: where the StaticRoutes go.

    Attributes:
        problems: the errors of the last load.
    """

    def __init__(self, directory: Path, inventory: Inventory) -> None:
        self._directory = directory
        self._inventory = inventory
        self._good: dict[str, list[StaticRoute]] = {}
        self._known: dict[str, StaticRoute] = {}
        self.problems: list[str] = []

    def load(self) -> None:
        """Read the whole directory and pass on the changes. Errors that the last load did not have are logged."""
        before, self.problems = self.problems, []
        try:
            files = list_manifests(self._directory)
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
                    self._problem(f"{error}; no route is removed until this file is corrected", before)
        self._good = good
        self._take(good, unknown, before)

    def _take(self, good: dict[str, list[StaticRoute]], unknown: dict[str, int], before: list[str]) -> None:
        current: dict[str, StaticRoute] = {}
        origin: dict[str, str] = {}
        for file, routes in good.items():
            for route in routes:
                if route.name in current:
                    where = f"{self._directory / file}: StaticRoute {route.name} is also defined in"
                    self._problem(f"{where} {origin[route.name]}, which takes precedence", before)
                    continue
                origin[route.name] = file
                current[route.name] = self._numbered(route)
        for name, route in current.items():
            if self._known.get(name) != route:
                self._inventory.put(route, 1)
        self._known = current
        self._inventory.replace({**unknown, **{route.uid: 1 for route in current.values()}}, 1)

    def _numbered(self, route: StaticRoute) -> StaticRoute:
        """Give a route the uid that it had, and a generation that grows with each change, as an API server does."""
        known = self._known.get(route.name)
        if known is None:
            return dataclasses.replace(route, uid=uuid.uuid4().hex, generation=1)
        same = dataclasses.replace(route, uid=known.uid, generation=known.generation)
        return same if same == known else dataclasses.replace(same, generation=known.generation + 1)

    def _problem(self, text: str, before: list[str]) -> None:
        self.problems.append(text)
        if text not in before:
            logger.error("%s", text)
