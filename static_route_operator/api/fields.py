"""Fields of a spec, read with errors that name the object and the field."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from static_route_operator.errors import InvalidPrefixError, InvalidSpecError, shown

# Durations as Go writes and Kubernetes reads them, without signs and without fractions of a millisecond.
DURATION = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$"
MAX_DURATION_LENGTH = 32
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}

T = TypeVar("T")


def seconds(text: str) -> float:
    """Return the length of a duration that `DURATION` matches."""
    return sum(float(number) * _UNITS[unit] for number, unit in re.findall(r"([0-9.]+)(ms|s|m|h)", text))


class Fields:
    """Reader of the fields of one object within a spec. A null field counts as absent.

    All methods raise `InvalidSpecError` when the value has the wrong type or is out of range.

    Args:
        name: the StaticRoute, for errors.
        path: of the object, below ``spec``; empty for the spec itself.
        value: the object.
    """

    def __init__(self, name: str, path: str, value: object) -> None:
        self._name = name
        self._path = f"spec.{path}" if path else "spec"
        if not isinstance(value, Mapping):
            raise InvalidSpecError(name, self._path, f"{shown(value)} is not an object with fields")
        self._value = value

    def get(self, field: str) -> Any:
        """Return a field as written."""
        return self._value.get(field)

    def boolean(self, field: str, *, default: bool = False) -> bool:
        """Return a field that is true or false."""
        value = self.get(field)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self.error(field, f"{shown(value)} is not true or false")
        return value

    def number(self, field: str, minimum: int, maximum: int) -> int | None:
        """Return a whole number."""
        value = self.get(field)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int):
            raise self.error(field, f"{shown(value)} is not a whole number")
        if not minimum <= value <= maximum:
            raise self.error(field, f"{value} is not from {minimum} to {maximum}")
        return value

    def text(self, field: str, pattern: str, max_length: int, what: str) -> str | None:
        """Return a text that matches a pattern; ``what`` describes such texts in the error."""
        value = self.get(field)
        if value is None:
            return None
        if not isinstance(value, str) or len(value) > max_length or not re.fullmatch(pattern, value):
            raise self.error(field, f"{shown(value)} is not {what}")
        return value

    def choice(self, field: str, choices: Sequence[str], default: str) -> str:
        """Return one of several words."""
        value = self.get(field)
        if value is None:
            return default
        if value not in choices:
            raise self.error(field, f"{shown(value)} is not one of {', '.join(choices)}")
        return str(value)

    def duration(self, field: str, bounds: tuple[str, str]) -> float | None:
        """Return a duration in seconds."""
        text = self.text(field, DURATION, MAX_DURATION_LENGTH, "a duration such as 100ms or 2s")
        if text is None:
            return None
        minimum, maximum = bounds
        if not seconds(minimum) <= (length := seconds(text)) <= seconds(maximum):
            raise self.error(field, f"'{text}' is not from {minimum} to {maximum}")
        return length

    def parse(self, field: str, parser: Callable[[object], T]) -> T | None:
        """Return a field as a parser reads it; its ValueError or InvalidPrefixError becomes an error of the field."""
        value = self.get(field)
        return None if value is None else self.parse_value(field, value, parser)

    def parse_value(self, field: str, value: object, parser: Callable[[object], T]) -> T:
        """Return a value of a field as a parser reads it; see `parse`."""
        try:
            return parser(value)
        except (InvalidPrefixError, ValueError) as error:
            raise self.error(field, str(error)) from None

    def error(self, field: str, problem: str) -> InvalidSpecError:
        """Return the error that reports a problem of a field."""
        return InvalidSpecError(self._name, f"{self._path}.{field}", problem)
