"""The pages of the docs hang together: on GitHub, and in the site that `make docs` builds."""

import re
import tomllib
from collections.abc import Iterator
from functools import cache
from itertools import takewhile
from pathlib import Path

import pytest

from static_route_operator.api.conditions import ConditionReason
from static_route_operator.api.noderoutestate import Reason

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = [*sorted(ROOT.glob("*.md")), *sorted(DOCS.rglob("*.md"))]

_FENCED = re.compile(r"^ *(```+).*?^ *\1$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(?:\]\(|(?:href|src|srcset)=\")([^)\s\"]+)")
_HEADING = re.compile(r"^#+ +(.+)$", re.MULTILINE)
_EXTERNAL = re.compile("[a-z]+:")


def prose(page: Path) -> str:
    """A page without its blocks of code."""
    return _FENCED.sub("", page.read_text())


@cache
def anchors(page: Path) -> frozenset[str]:
    """The anchors of a page's headings, as GitHub makes them: lower case, without punctuation, hyphens for spaces."""
    found: dict[str, int] = {}
    names = []
    for heading in _HEADING.findall(prose(page)):
        text = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading)
        name = re.sub(r"[^\w\- ]", "", text.strip().lower()).replace(" ", "-")
        names.append(f"{name}-{found[name]}" if name in found else name)
        found[name] = found.get(name, 0) + 1
    return frozenset(names)


def broken(page: Path) -> Iterator[str]:
    """The links of a page that lead nowhere in this repository."""
    for link in _LINK.findall(prose(page)):
        if _EXTERNAL.match(link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            yield link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links(page: Path) -> None:
    """Every link within the repository leads to a file, and to a heading where it names one."""
    assert list(broken(page)) == []


def test_every_page_is_in_the_navigation() -> None:
    """Every page of docs/ has its place in `nav` of mkdocs.yml."""
    nav = (ROOT / "mkdocs.yml").read_text().partition("\nnav:\n")[2]
    named = re.findall(r"(\S+\.md)$", nav, re.MULTILINE)
    assert {str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md")} - set(named) == set(), "add it to mkdocs.yml"


@pytest.mark.parametrize("reason", [*Reason, *ConditionReason])
def test_every_reason_is_explained(reason: Reason | ConditionReason) -> None:
    """Each reason of a status has a heading of its own in troubleshooting."""
    assert reason.lower() in anchors(DOCS / "troubleshooting.md")


def test_picture_of_the_architecture() -> None:
    """The picture in CONTRIBUTING.md has the layers that import-linter holds, and no others."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    package = "static_route_operator."
    layers = [{name.strip().removeprefix(package) for name in layer.split("|")} for layer in contracts[0]["layers"]]
    modules = set().union(*layers)
    picture = (ROOT / "CONTRIBUTING.md").read_text().partition("## Architecture")[2].split("```")[1]
    lines = (set(takewhile(modules.__contains__, line.split())) for line in picture.splitlines())
    assert [line for line in lines if line] == layers
