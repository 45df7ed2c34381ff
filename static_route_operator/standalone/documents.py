"""Documents of a YAML or JSON text, read as kubectl reads them, in bounded time and memory.

PyYAML constructs YAML 1.1: it takes ``1:2:3:4:5:6:7:8`` for a number in base 60 and ``2024-01-01`` for a date, keeps
the last of two equal keys, and expands aliases without limit. Here only its parser is used. The events of the parser
become JSON values, with the line of each, and each rule of kubectl's reader (goyaml.v2) that matters is below.
"""

import json
import math
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import yaml

from static_route_operator.errors import shown

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

# Values of one text, after all aliases are expanded: ten times as many as destinations of the largest cluster tested.
MOST_VALUES = 1_000_000
# Levels of lists and objects in each other. A StaticRoute has 8.
MOST_LEVELS = 64

_CORE = "tag:yaml.org,2002:"
_WORDS: dict[str, bool | None] = {
    **{word: True for name in ("y", "yes", "true", "on") for word in (name, name.capitalize(), name.upper())},
    **{word: False for name in ("n", "no", "false", "off") for word in (name, name.capitalize(), name.upper())},
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
}
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_INTEGER = re.compile(r"([-+]?)(?:0[xX]([0-9a-fA-F]{1,16})|0[bB]([01]{1,64})|0[oO]?([0-7]{1,22})|(0|[1-9][0-9]{0,19}))")
_BASES = (16, 2, 8, 10)
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
# Characters of the longest number that is read as one.
_LONGEST_NUMBER = 400
# The first number from which on not every integer is a float.
_EXACT = 1 << 53
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


class DocumentError(Exception):
    """A text that is not YAML as kubectl accepts it.

    Args:
        line: of the error; 0 when unknown.
        problem: the error, and the correction.
    """

    def __init__(self, line: int, problem: str) -> None:
        super().__init__(f"line {line}: {problem}" if line else problem)
        self.line = line
        self.problem = problem


class Object(dict[str, Any]):
    """A JSON object with the line of each value."""

    __slots__ = ("line", "lines")

    def __init__(self, line: int) -> None:
        super().__init__()
        self.line = line
        self.lines: dict[str, int] = {}


class Array(list[Any]):
    """A JSON array with the line of each value."""

    __slots__ = ("line", "lines")

    def __init__(self, line: int) -> None:
        super().__init__()
        self.line = line
        self.lines: list[int] = []


class Document(NamedTuple):
    """A document of a text that is not empty.

    Attributes:
        number: place in the text, from 1, empty documents included.
        line: the first one.
        body: its JSON value.
    """

    number: int
    line: int
    body: Any


_STEP = re.compile(r"\[(\d{1,9})\]|([^.\[\]]+)")


def line_of(document: Document, path: str) -> int:
    """Return the line of the value at a path of a document, or of its nearest ancestor that has one."""
    value, line = document.body, document.line
    for index, name in _STEP.findall(path):
        if name and isinstance(value, Object) and name in value:
            line, value = value.lines.get(name, line), value[name]
        elif index and isinstance(value, Array) and int(index) < len(value):
            line, value = value.lines[int(index)], value[int(index)]
        else:
            break
    return line


def read_documents(text: str, *, lines: bool = False) -> list[Document]:
    """Return the documents of a text that are not empty.

    Args:
        text: YAML or JSON.
        lines: give each value its line, which costs a JSON text most of its speed.

    Raises:
        DocumentError: the text is not YAML as kubectl accepts it, or is too large.
    """
    if not lines and (body := _read_json(text)) is not None:
        return [Document(1, 1, body)]
    try:
        return list(_Builder().build(text))
    except yaml.YAMLError as error:
        raise _parser_error(text, error) from None


def _parser_error(text: str, error: yaml.YAMLError) -> DocumentError:
    """Return the error of the parser with its line."""
    if isinstance(error, yaml.reader.ReaderError):
        position = error.position if isinstance(error.position, int) else 0
        line = text.encode()[:position].count(b"\n") + 1
        return DocumentError(line, f"{error.reason}; the file must be text in UTF-8")
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or " ".join(str(error).split())
    line = mark.line + 1 if mark else 0
    if mark and text[mark.index : mark.index + 1] == "\t":
        problem += "; indent with spaces, not with tabs"
    return DocumentError(line, problem)


# JSON is valid YAML, but the JSON parser is many times as fast for a list of 100,000 destinations.


def _read_json(text: str) -> Any:
    """Return the value of a JSON text; None if it is not JSON, or if the YAML reader may refuse it."""
    try:
        body = json.loads(
            text, object_pairs_hook=_unique, parse_int=resolve, parse_float=resolve, parse_constant=_refuse_constant
        )
        if _SURROGATE.search(text):
            json.dumps(body, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return None
    return body if _is_small(body) else None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key occurs twice")
    return found


def _refuse_constant(text: str) -> None:
    raise ValueError(text)


def _is_small(body: Any) -> bool:
    """Report whether a value is within the limits."""
    level, count = [body], 0
    for _ in range(MOST_LEVELS + 1):
        inner: list[Any] = []
        for each in level:
            values = each.values() if isinstance(each, dict) else each if isinstance(each, list) else ()
            count += len(values)
            inner += [value for value in values if isinstance(value, dict | list)]
        if not inner:
            return count <= MOST_VALUES
        level = inner
    return False


def resolve(text: str) -> Any:
    """Return the value of a scalar without quotes, as goyaml.v2 reads it.

    Raises:
        ValueError: the value is no JSON.
    """
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in "+-.0123456789":
        return text
    if _NOT_FINITE.fullmatch(text):
        raise ValueError(f"{text} is a number that JSON does not have")
    if len(text) > _LONGEST_NUMBER:
        return text
    plain = text if text[0] == "." else text.replace("_", "")
    if match := _INTEGER.fullmatch(plain):
        sign, *digits = match.groups()
        value = next(int(each, base) for each, base in zip(digits, _BASES, strict=True) if each)
        value = -value if sign == "-" else value
        if -(1 << 63) <= value < 1 << 64:
            return value
    if _FLOAT.fullmatch(plain) and math.isfinite(number := float(plain)):
        # As Go writes numbers into JSON: 8.0 is 8.
        return int(number) if number.is_integer() and abs(number) < _EXACT else number
    return text


class _Level(NamedTuple):
    """A list or an object that is not complete yet.

    Attributes:
        value: the list or object.
        anchor: its name for aliases.
        before: values of the text before it.
        merged: values of the key ``<<``, each with its line.
    """

    value: Object | Array
    anchor: str | None
    before: int
    merged: list[tuple[int, Any]]


# A key of an object that has no value yet: none, or ``<<``.
_NO_KEY = object()
_MERGE = object()


class _Builder:
    """A stack of lists and objects that the events of the parser fill. No function calls itself."""

    def __init__(self) -> None:
        self._levels: list[_Level] = []
        self._keys: list[Any] = []
        self._anchors: dict[str, tuple[Any, int]] = {}
        self._count = 0
        self._root: Any = None

    def build(self, text: str) -> Iterator[Document]:
        """Yield the documents that are not empty."""
        number = line = 0
        for event in yaml.parse(text, _Loader):
            line = event.start_mark.line + 1 if event.start_mark else 0
            match event:
                case yaml.ScalarEvent():
                    self._scalar(event, line)
                case yaml.AliasEvent():
                    self._alias(event.anchor or "", line)
                case yaml.CollectionStartEvent():
                    self._begin(event, line)
                case yaml.CollectionEndEvent():
                    self._end()
                case yaml.DocumentStartEvent():
                    number, self._root, self._anchors = number + 1, None, {}
                    self._counted(1, line)
                case yaml.DocumentEndEvent():
                    if self._root is not None:
                        yield Document(number, getattr(self._root, "line", line), self._root)

    def _scalar(self, event: yaml.ScalarEvent, line: int) -> None:
        value: Any = event.value
        try:
            if event.implicit[0]:
                value = resolve(value)
            elif event.tag not in {None, "!", f"{_CORE}str"}:
                value = _tagged(event.tag, value)
        except ValueError as error:
            raise DocumentError(line, str(error)) from None
        self._counted(1, line)
        if event.anchor is not None:
            self._anchors[event.anchor] = value, 1
        merge = event.value == "<<" and event.implicit[0] and self._awaits_key
        self._add(_MERGE if merge else value, line)

    def _alias(self, anchor: str, line: int) -> None:
        if anchor not in self._anchors:
            raise DocumentError(line, f"the alias *{shown(anchor)[1:-1]} stands for nothing before it")
        value, count = self._anchors[anchor]
        if not count:
            raise DocumentError(line, f"the alias *{anchor} contains itself")
        self._counted(count, line)
        self._add(value, line)

    def _begin(self, event: yaml.CollectionStartEvent, line: int) -> None:
        mapping = isinstance(event, yaml.MappingStartEvent)
        if event.tag not in {None, "!", _CORE + ("map" if mapping else "seq")}:
            raise DocumentError(line, f"the tag {shown(event.tag)} is not known; remove it")
        if len(self._levels) == MOST_LEVELS:
            raise DocumentError(line, f"more than {MOST_LEVELS} lists and objects are nested in each other")
        if self._awaits_key:
            raise DocumentError(line, "a key is a list or an object; keys are texts")
        value: Object | Array = Object(line) if mapping else Array(line)
        self._counted(1, line)
        self._add(value, line)
        if event.anchor is not None:
            self._anchors[event.anchor] = value, 0
        self._levels.append(_Level(value, event.anchor, self._count - 1, []))
        self._keys.append(_NO_KEY)

    def _end(self) -> None:
        level = self._levels.pop()
        self._keys.pop()
        if isinstance(level.value, Object):
            _merge(level.value, level.merged)
        if level.anchor is not None:
            self._anchors[level.anchor] = level.value, self._count - level.before

    @property
    def _awaits_key(self) -> bool:
        return bool(self._levels) and isinstance(self._levels[-1].value, Object) and self._keys[-1] is _NO_KEY

    def _add(self, value: Any, line: int) -> None:
        """Put a value where the next one belongs."""
        if not self._levels:
            self._root = value
            return
        level, key = self._levels[-1], self._keys[-1]
        if isinstance(level.value, Array):
            level.value.append(value)
            level.value.lines.append(line)
        elif key is _NO_KEY:
            self._keys[-1] = value if value is _MERGE else self._key(level.value, value, line)
        else:
            self._keys[-1] = _NO_KEY
            if key is _MERGE:
                level.merged.append((line, value))
            else:
                level.value[key] = value
                level.value.lines[key] = line

    def _key(self, parent: Object, value: Any, line: int) -> str:
        """Return a key as JSON has it; each may occur once."""
        key = json.dumps(value) if isinstance(value, bool | int) else value
        if not isinstance(key, str):
            raise DocumentError(line, f"the key {shown(value)} is not a text; write it in quotes")
        if key in parent:
            raise DocumentError(line, f"the key {shown(key)} is already set in line {parent.lines[key]}; remove one")
        return key

    def _counted(self, count: int, line: int) -> None:
        self._count += count
        if self._count > MOST_VALUES:
            raise DocumentError(line, f"there are more than {MOST_VALUES} values, aliases included; split the file")


def _merge(target: Object, sources: list[tuple[int, Any]]) -> None:
    """Add the values of the key ``<<``: what an object has itself stays."""
    for line, source in sources:
        for each in source if isinstance(source, list) else [source]:
            if not isinstance(each, Object):
                raise DocumentError(line, "the value of << is not an object or a list of objects")
            for key in each.keys() - set(target):
                target[key], target.lines[key] = each[key], each.lines[key]


def _tagged(tag: str, text: str) -> Any:
    """Return the value of a scalar with a tag.

    Raises:
        ValueError: the tag is not one of JSON, or does not fit.
    """
    kinds: dict[str, type] = {"bool": bool, "int": int, "float": float, "null": type(None)}
    kind = kinds.get(tag.removeprefix(_CORE)) if tag.startswith(_CORE) else None
    if kind is None:
        raise ValueError(f"the tag {shown(tag)} is not known; remove it")
    value = resolve(text)
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:
        raise ValueError(f"{shown(text)} does not fit its tag; remove the tag")
    return value
