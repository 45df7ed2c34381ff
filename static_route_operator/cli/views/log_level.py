"""View of the log level of each process."""

from collections.abc import Iterator, Mapping
from typing import Any

from static_route_operator.cli.views.forms import columns, unanswered


def table(answer: Mapping[str, Any], *, wide: bool = False) -> Iterator[str]:
    """Show the answer of `log-level`; the wide form is the same."""
    del wide
    yield from unanswered(answer["unanswered"])
    yield from columns(("HOST", "LEVEL"), [(each["host"], each["level"]) for each in answer["processes"]])
