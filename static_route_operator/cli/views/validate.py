"""What is wrong in files, a line each, as compilers write them."""

from collections.abc import Iterator, Mapping
from typing import Any

from static_route_operator.cli.views.forms import paint


def table(answer: Mapping[str, Any], *, wide: bool = False) -> Iterator[str]:
    """The answer of `validate`; the wide form is the same."""
    del wide
    for each in answer["findings"]:
        where = f"{each['file']}:{each['line']}" if each["line"] else each["file"]
        parts = [where, each["object"] and f"StaticRoute {each['object']}", each["field"], each["problem"]]
        yield paint(": ".join(filter(None, parts)), "red")
    checked, wrong = answer["checked"], len(answer["findings"])
    yield f"{checked} StaticRoute{'' if checked == 1 else 's'} checked: " + (
        f"{wrong} to mend." if wrong else "all are good."
    )
