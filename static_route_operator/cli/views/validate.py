"""View of the findings in files, one per line, in the format of compilers."""

from collections.abc import Iterator, Mapping
from typing import Any

from static_route_operator.cli.views.forms import paint


def table(answer: Mapping[str, Any], *, wide: bool = False) -> Iterator[str]:
    """Show the answer of `validate`; the wide form is the same."""
    del wide
    for each in answer["findings"]:
        where = f"{each['file']}:{each['line']}" if each["line"] else each["file"]
        parts = [where, each["object"] and f"StaticRoute {each['object']}", each["field"], each["problem"]]
        yield paint(": ".join(filter(None, parts)), "red")
    checked, wrong = answer["checked"], len(answer["findings"])
    yield f"{checked} StaticRoute{'' if checked == 1 else 's'} checked: " + (
        f"{wrong} error{'' if wrong == 1 else 's'}." if wrong else "no errors."
    )
