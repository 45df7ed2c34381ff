"""Fields of a spec, read with errors that name the object and the field."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from static_route_operator.errors import InvalidSpecError

# As Go writes and Kubernetes reads them, without signs and without parts of a millisecond.
DURATION = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$"
MAX_DURATION_LENGTH = 32
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def seconds(text: str) -> float:
    """The length of a duration that `DURATION` matches."""
    return sum(float(number) * _UNITS[unit] for number, unit in re.findall(r"([0-9.]+)(ms|s|m|h)", text))


class Fields:
    """Reads the fields of one object within a spec; one that is null is as if it were absent."""

    def __init__(self, name: str, where: str, value: object) -> None:
        self._name = name
        self._where = f"spec.{where}" if where else "spec"
        if not isinstance(value, Mapping):
            raise InvalidSpecError(name, self._where, f"'{value}' is not an object with fields")
        self._value = value

    def get(self, field: str) -> Any:
        """The field as it stands."""
        return self._value.get(field)

    def number(self, field: str, least: int, most: int) -> int | None:
        """A whole number."""
        value = self.get(field)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int):
            raise self.error(field, f"'{value}' is not a whole number")
        if not least <= value <= most:
            raise self.error(field, f"{value} is not from {least} to {most}")
        return value

    def text(self, field: str, pattern: str, longest: int, what: str) -> str | None:
        """A text of some form."""
        value = self.get(field)
        if value is None:
            return None
        if not isinstance(value, str) or len(value) > longest or not re.fullmatch(pattern, value):
            raise self.error(field, f"'{value}' is not {what}")
        return value

    def choice(self, field: str, choices: Sequence[str], default: str) -> str:
        """One of some words."""
        value = self.get(field)
        if value is None:
            return default
        if value not in choices:
            raise self.error(field, f"'{value}' is not one of {', '.join(choices)}")
        return str(value)

    def duration(self, field: str, bounds: tuple[str, str]) -> float | None:
        """A duration in seconds."""
        text = self.text(field, DURATION, MAX_DURATION_LENGTH, "a duration such as 100ms or 2s")
        if text is None:
            return None
        least, most = bounds
        if not seconds(least) <= (length := seconds(text)) <= seconds(most):
            raise self.error(field, f"'{text}' is not from {least} to {most}")
        return length

    def error(self, field: str, problem: str) -> InvalidSpecError:
        """What is wrong with a field."""
        return InvalidSpecError(self._name, f"{self._where}.{field}", problem)
