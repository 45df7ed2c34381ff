"""StaticRoutes from a directory of YAML files, for hosts without Kubernetes."""

import hashlib
import itertools
import logging
import os
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from static_route_operator.api.manifest import parse_manifest, unwrap
from static_route_operator.api.resolution import ResolvedRoute
from static_route_operator.api.staticroute import StaticRoute
from static_route_operator.errors import InvalidSpecError, ManifestError, shown
from static_route_operator.node.inventory import Inventory
from static_route_operator.node.rollback.unconfirmed import RolledBack
from static_route_operator.standalone.documents import Document, DocumentError, line_of, read_documents
from static_route_operator.standalone.files import STDIN, decode, read_file, words
from static_route_operator.standalone.schema import check_head, check_spec

logger = logging.getLogger(__name__)

SUFFIXES = frozenset({".yaml", ".yml", ".json"})

# Limits of one directory: manifests, and bytes of all of them.
MOST_FILES = 10_000
MOST_TOTAL = 128 << 20

# Times of the quiet period that a removal waits at most: other files may never rest.
MOST_QUIET = 10

EMPTY = "holds no object; to remove its StaticRoutes delete the file"


class Item(NamedTuple):
    """An object in a file.

    Attributes:
        document: the document that contains the object.
        path: of the object in the document; empty for the document itself.
        body: the object.
    """

    document: Document
    path: str
    body: Any

    def line(self, field: str) -> int:
        """Return the line of a field of the object, or of the nearest that exists."""
        return line_of(self.document, f"{self.path}.{field}")

    def place(self, field: str) -> str:
        """Return document and line of a field, for people."""
        number = f"document {self.document.number}, " if self.document.number > 1 else ""
        return f"{number}line {self.line(field)}"


def items_of(documents: Iterable[Document]) -> Iterator[Item]:
    """Yield the objects of documents.

    Raises:
        ManifestError: a List has no list of items.
    """
    for document in documents:
        for path, body in unwrap(document.body):
            yield Item(document, path, body)


def read_manifest(file: Path) -> list[StaticRoute]:
    """Read the StaticRoutes of one file, as strictly as the API server does.

    Raises:
        ManifestError: the file cannot be read, is not YAML, or holds anything but valid StaticRoutes.
    """
    return parse_text(file, decode(file, read_file(file)))


def parse_text(file: Path, text: str) -> list[StaticRoute]:
    """Return the StaticRoutes of the text of a file; see `read_manifest`.

    Raises:
        ManifestError: the text is not YAML, or holds anything but valid StaticRoutes.
    """
    found = []
    for index, item in enumerate(_items(file, text)):
        try:
            found.append(_parse(item.body))
        except InvalidSpecError as error:
            # The JSON reader is fast and knows no lines.
            place = _items(file, text, lines=True)[index].place(error.field)
            raise ManifestError(f"{file}: {place}: {error}") from None
    return found


def _items(file: Path, text: str, *, lines: bool = False) -> list[Item]:
    try:
        documents = read_documents(text, lines=lines)
        items = list(items_of(documents))
    except DocumentError as error:
        raise ManifestError(f"{file}: is not valid YAML: {error}") from None
    except ManifestError as error:
        raise ManifestError(f"{file}: {error}") from None
    if not documents:
        # As a write that was interrupted leaves a file.
        raise ManifestError(f"{file}: {EMPTY}")
    for item in items:
        if not isinstance(item.body, dict):
            where = f"{item.place('')}: " if lines else ""
            raise ManifestError(f"{file}: {where}holds something that is not a Kubernetes object: {shown(item.body)}")
    return items


def _parse(body: Mapping[str, Any]) -> StaticRoute:
    """Read an object, and refuse what the API server would refuse but for sizes: no API server has to store it.

    Raises:
        InvalidSpecError: the API server would refuse the object.
    """
    route = parse_manifest(body)
    # The parser has checked the destinations: there may be very many.
    problems = itertools.chain(check_head(body), check_spec(body["spec"], leave_out=("destinations",)))
    for path, problem in problems:
        raise InvalidSpecError(route.name, path, problem)
    return route


def read_all_documents(paths: Iterable[Path]) -> list[dict[str, object]]:
    """Return the StaticRoutes of files and directories as JSON objects, each checked; ``-`` is standard input.

    Raises:
        ManifestError: see `read_manifest`.
    """
    found: list[dict[str, object]] = []
    paths = list(paths)
    for file in list_files(paths):
        text = decode(file, read_file(file, pipes=file in paths))
        parse_text(file, text)
        found += (item.body for item in _items(file, text))
    return found


def list_files(paths: Iterable[Path]) -> Iterator[Path]:
    """Yield files, and all manifests of directories.

    Raises:
        ManifestError: a directory cannot be read.
    """
    for path in paths:
        if path == STDIN or not path.is_dir():
            yield path
            continue
        try:
            yield from list_manifests(path)
        except OSError as error:
            raise ManifestError(f"{path}: can't be read: {words(error)}") from error


def list_manifests(directory: Path) -> list[Path]:
    """Return the manifest files of a directory: no subdirectories, hidden files or files of other kinds.

    A link counts as a file even if it leads nowhere: what it led to may come back.

    Raises:
        OSError: the directory cannot be read, or has too many manifests.
    """
    with os.scandir(directory) as entries:
        names = [entry.name for entry in entries if _is_manifest(entry.name) and not _is_directory(entry)]
    if len(names) > MOST_FILES:
        raise OSError(f"it has {len(names)} manifests, more than {MOST_FILES}; put several StaticRoutes into a file")
    return [directory / name for name in sorted(names)]


def _is_manifest(name: str) -> bool:
    return not name.startswith(".") and os.path.splitext(name)[1] in SUFFIXES  # noqa: PTH122  ten times as fast


def _is_directory(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        # A link in a circle, or into a directory that this process may not enter.
        return False


class Fingerprint(NamedTuple):
    """The state of a directory and its manifests as the file system tells it, without their contents.

    Attributes:
        directory: device and inode; empty when the directory can't be read.
        files: for each manifest, its name and what changes with it.
    """

    directory: tuple[int, ...]
    files: tuple[tuple[str | int, ...], ...]


def look(directory: Path) -> Fingerprint:
    """Return the state of a directory. Links are followed, at every level of the path and in the directory."""
    try:
        about = directory.stat()
        files = list_manifests(directory)
    except OSError as error:
        return Fingerprint((), ((str(error),),))
    return Fingerprint((about.st_dev, about.st_ino), tuple(_look_at(file) for file in files))


def _look_at(file: Path) -> tuple[str | int, ...]:
    try:
        about = file.stat()
    except OSError as error:
        return file.name, error.errno or 0
    # The change time moves with permissions and owner too, and no program can set it back.
    return file.name, about.st_dev, about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns


@dataclass(frozen=True, slots=True)
class Reading:
    """All manifests of a directory, as one read has found them.

    Attributes:
        directory: device and inode; empty when the directory can't be read.
        error: reason why the directory can't be read.
        routes: by file name, the StaticRoutes of each good file.
        errors: by file name, the problem of each other file.
        digest: of all contents.
    """

    directory: tuple[int, ...] = ()
    error: str = ""
    routes: Mapping[str, list[StaticRoute]] = field(default_factory=dict)
    errors: Mapping[str, str] = field(default_factory=dict)
    digest: bytes = b""


class _Versions:
    """The uid and generation of each object, by name: an API server would set them, files can't.

    Args:
        confirmed: versions that the last run of the program confirmed.
        rolled_back: versions that it rolled back.
    """

    def __init__(self, confirmed: Iterable[ResolvedRoute], rolled_back: Iterable[RolledBack]) -> None:
        self._confirmed = {route.name: route.spec for route in confirmed}
        self._rolled_back = {each.name: each for each in rolled_back}

    def first(self, route: StaticRoute, make_uid: Callable[[], str]) -> StaticRoute:
        """Return an object that this run has not seen yet, with the version that the last run gave it."""
        confirmed, rolled_back = self._confirmed.pop(route.name, None), self._rolled_back.pop(route.name, None)
        if rolled_back is not None:
            uid, generation = rolled_back.version.uid, rolled_back.version.generation
            if rolled_back.digest == route.digest:
                return route.identified(uid, generation)
            latest = max(generation, confirmed.generation if confirmed else 0)
        elif confirmed is not None:
            uid, latest = confirmed.uid, confirmed.generation
        else:
            return route.identified(make_uid(), 1)
        if confirmed is not None and confirmed.uid == uid and confirmed.digest == route.digest:
            return route.identified(uid, confirmed.generation)
        return route.identified(uid, latest + 1)


class ManifestDirectory:
    """A directory of manifests, fed into an inventory.

    A file with errors keeps its last good version in force. A file that never had a good version suspends all
    removals, since the routes it asks for are unknown. A directory that can't be read, or is empty in place of one
    that was not, changes nothing.

    Args:
        directory: where the files are; see `list_manifests`.
        inventory: where the StaticRoutes go.
        confirmed: versions that the last run of the program confirmed.
        rolled_back: versions that it rolled back.
        quiet: seconds for which nothing may change before an object counts as removed: a tool that writes the files
            one after the other, or a long file, passes through states that nobody wants.
        clock: returns monotonic seconds.

    Attributes:
        problems: the errors of the last load.
        unsettled: an object may be removed: load again in a moment.
    """

    def __init__(  # noqa: PLR0913  one of each, and none goes with another
        self,
        directory: Path,
        inventory: Inventory,
        *,
        confirmed: Iterable[ResolvedRoute] = (),
        rolled_back: Iterable[RolledBack] = (),
        quiet: float = 0.0,
        clock: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self._directory = directory
        self._inventory = inventory
        self._versions = _Versions(confirmed, rolled_back)
        self._quiet = quiet
        self._clock = clock
        self._parsed: dict[str, tuple[bytes, list[StaticRoute] | str]] = {}
        self._good: dict[str, list[StaticRoute]] = {}
        self._known: dict[str, StaticRoute] = {}
        self._written: dict[str, StaticRoute] = {}
        self._listed: dict[str, int] | None = None
        self._identity: tuple[int, ...] = ()
        self._digest = b""
        self._changed_at = 0.0
        self._gone_since: float | None = None
        self._described = False
        self.problems: list[str] = []
        self.unsettled = False

    def load(self) -> None:
        """Read the whole directory and pass on the changes."""
        self.take(self.read())

    # Reading, which may be done in a thread, one after the other.

    def read(self) -> Reading:
        """Read the whole directory. Files with the same content as before are not parsed again."""
        try:
            about = self._directory.stat()
            files = list_manifests(self._directory)
        except OSError as error:
            return Reading(error=f"can't be read: {words(error)}")
        routes: dict[str, list[StaticRoute]] = {}
        errors: dict[str, str] = {}
        digest, total = hashlib.blake2b(), 0
        parsed: dict[str, tuple[bytes, list[StaticRoute] | str]] = {}
        for file in files:
            try:
                data = read_file(file)
            except ManifestError as error:
                errors[file.name] = str(error)
                continue
            if (total := total + len(data)) > MOST_TOTAL:
                return Reading(error=f"can't be read: its manifests have more than {MOST_TOTAL >> 20} MiB")
            content = hashlib.blake2b(data).digest()
            digest.update(file.name.encode(errors="surrogateescape") + b"\0" + content)
            known = self._parsed.get(file.name)
            result = known[1] if known and known[0] == content else _parsed(file, data)
            parsed[file.name] = content, result
            if isinstance(result, str):
                errors[file.name] = result
            else:
                routes[file.name] = result
        self._parsed = parsed
        return Reading((about.st_dev, about.st_ino), "", routes, errors, digest.digest())

    # Passing on, in the event loop.

    def take(self, reading: Reading) -> None:
        """Pass on the changes. Errors that the last reading did not have are logged."""
        before, self.problems, self.unsettled = self.problems, [], False
        if reading.error:
            self.lost()
            self._problem(f"{self._directory}: {reading.error}; all routes stay as they are", before)
            return
        if self._known and reading.directory != self._identity and not reading.routes and not reading.errors:
            self._problem(
                f"{self._directory}: has no manifest, and is another directory than before; all routes stay as they"
                " are: to remove them, add a file with `kind: List` and `items: []`",
                before,
            )
            return
        self._identity = reading.directory
        good = dict(reading.routes)
        unknown: dict[str, int] = {}
        for name, error in reading.errors.items():
            if name in self._good:
                good[name] = self._good[name]
                self._problem(f"{error}; its last good version stays in force", before)
            else:
                unknown[f"file {name}"] = 0
                self._problem(f"{error}; no route is removed until this file is corrected", before)
        self._good = good
        self._pass_on(good, unknown, reading.digest, before)
        if before and not self.problems:
            logger.info("All manifests in %s are in force", self._directory)
        self._describe()

    def lost(self) -> None:
        """Take in that the directory was removed: one in its place is another, whatever its inode number."""
        self._identity = ()
        self._gone_since = None

    def stuck(self, seconds: float) -> None:
        """Take in that a read goes on for some time, as when a network file system does not answer."""
        before, self.problems = self.problems, []
        self._problem(
            f"{self._directory}: can't be read within {seconds:g} s, and is tried on; all routes stay as they are",
            before,
        )

    def _pass_on(
        self, good: dict[str, list[StaticRoute]], unknown: dict[str, int], digest: bytes, before: list[str]
    ) -> None:
        current: dict[str, StaticRoute] = {}
        written: dict[str, StaticRoute] = {}
        origin: dict[str, str] = {}
        for file in sorted(good):
            for route in good[file]:
                if route.name in current:
                    where = f"{self._directory / file}: StaticRoute {route.name} is also defined in"
                    self._problem(f"{where} {origin[route.name]}, which takes precedence", before)
                    continue
                origin[route.name] = file
                current[route.name] = self._numbered(route)
                written[route.name] = route
        gone = self._known.keys() - current.keys()
        if not gone:
            self._gone_since = None
        else:
            self.unsettled = not self._is_quiet(digest)
            if self.unsettled:
                current |= {name: self._known[name] for name in gone}
        for name, route in current.items():
            if self._known.get(name) != route:
                self._inventory.put(route, 1)
        for name in self._known.keys() - current.keys():
            self._inventory.remove(self._known[name].uid)
        self._known, self._written = current, written
        listed = {**unknown, **{route.uid: 1 for route in current.values()}}
        # Each list wakes the reconciler, and most reads find nothing new.
        if listed != self._listed:
            self._listed = listed
            self._inventory.replace(listed, 1)

    def _is_quiet(self, digest: bytes) -> bool:
        """Report whether nothing has changed for long enough for a removal."""
        now = self._clock()
        if digest != self._digest:
            self._digest, self._changed_at = digest, now
        if self._gone_since is None:
            self._gone_since = now
        if now - self._changed_at < self._quiet and now - self._gone_since < MOST_QUIET * self._quiet:
            return False
        self._gone_since = None
        return True

    def _numbered(self, route: StaticRoute) -> StaticRoute:
        """Give a route the uid that it had, and a generation that grows with each change, as an API server does."""
        known = self._known.get(route.name)
        if known is None:
            return self._versions.first(route, _new_uid)
        if self._written.get(route.name) is route:
            return known
        same = route.identified(known.uid, known.generation)
        return known if same == known else route.identified(known.uid, known.generation + 1)

    def _describe(self) -> None:
        """Log once what is watched."""
        if self._described:
            return
        self._described = True
        pattern = ", ".join(f"*{suffix}" for suffix in sorted(SUFFIXES))
        if self._good:
            logger.info("%d StaticRoutes in %d files (%s) of %s", *self._counts(), pattern, self._directory)
        else:
            logger.info(
                "No manifest in %s yet: put files with StaticRoutes there (%s); they are read at once",
                self._directory,
                pattern,
            )

    def _counts(self) -> tuple[int, int]:
        return len(self._known), len(self._good)

    def _problem(self, text: str, before: list[str]) -> None:
        self.problems.append(text)
        if text not in before:
            logger.error("%s", text)


def _new_uid() -> str:
    return uuid.uuid4().hex


def _parsed(file: Path, data: bytes) -> list[StaticRoute] | str:
    """Return the StaticRoutes of a file with some content, or its problem."""
    try:
        return parse_text(file, decode(file, data))
    except ManifestError as error:
        return str(error)
    except Exception as error:
        # A defect in the reader of one file must not stop the others.
        logger.exception("Reading %s failed", file)
        return f"{file}: can't be read: {type(error).__name__}"
