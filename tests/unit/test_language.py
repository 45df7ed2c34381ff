"""The language of the source: docstrings and comments as CONTRIBUTING asks for them."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("static_route_operator", "benchmarks", "tools", "examples")

# A free relative in place of a verb or a noun; and words of ours that readers stumble over.
_OPENING = re.compile(r"(What|Of|Which|Whether|How|Why|Where|When|Who)\s")
_WORDS = re.compile(r"\b(anew|lest|is told|so (?:many|long))\b")


def _docstrings(source: str) -> Iterator[tuple[int, str]]:
    """Yield line and text of each docstring."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and ast.get_docstring(node):
                yield first.lineno, str(first.value.value)


def _comments(source: str) -> Iterator[tuple[int, str]]:
    """Yield first line and text of each comment, whose lines belong together."""
    start, column, lines = 0, 0, list[str]()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type != tokenize.COMMENT:
            continue
        row, text = token.start[0], token.string.lstrip("#").strip()
        if lines and (row, token.start[1]) == (start + len(lines), column):
            lines.append(text)
            continue
        if lines:
            yield start, "\n".join(lines)
        (start, column), lines = token.start, [text]
    if lines:
        yield start, "\n".join(lines)


def findings(source: str) -> list[tuple[int, str]]:
    """Return line and words of each place that breaks the rule."""
    found = []
    for line, text in [*_docstrings(source), *_comments(source)]:
        paragraphs = re.finditer(r"(?:\A|\n[ \t]*\n)\s*", text)
        opened = [match for each in paragraphs if (match := _OPENING.match(text, each.end()))]
        for match in [*opened, *_WORDS.finditer(text)]:
            words = " ".join(text[match.start() :].split()[:6])
            found.append((line + text.count("\n", 0, match.start()), words))
    return sorted(found)


@pytest.mark.parametrize("folder", FOLDERS)
def test_docstrings_and_comments_are_plain(folder: str) -> None:
    """No docstring, paragraph or comment begins with a question word, and none has the words that are refused."""
    refused = [
        f"{file.relative_to(ROOT)}:{line}: {words}"
        for file in sorted((ROOT / folder).rglob("*.py"))
        for line, words in findings(file.read_text())
    ]

    if refused:
        pytest.fail("\n".join([f"{len(refused)} to rewrite:", *refused]), pytrace=False)


def test_findings_have_line_and_words() -> None:
    """Each kind of place is found, at its own line; sentences that go on and code are not."""
    source = '''"""Which way it goes.

How it gets there is anew told.
"""

# Whether this is
# so long as
# When needed
X = "What is this"  # Of course
Y = 1  # as long as needed; What then


def f() -> None:
    """Return what is there.

    Where to go: so
    many places.
    """
    # Keep it. Why not?
'''
    assert findings(source) == [
        (1, "Which way it goes. How it"),
        (3, "How it gets there is anew"),
        (3, "anew told."),
        (6, "Whether this is so long as"),
        (7, "so long as When needed"),
        (9, "Of course"),
        (16, "Where to go: so many places."),
    ]
