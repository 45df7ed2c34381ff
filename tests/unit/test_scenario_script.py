"""The text of scenarios: what is read, compared and written."""

from pathlib import Path

import pytest

from tests.kernel.scenario.script import Script, ScriptError, agrees, difference, merge, parse, rewrite

STORY = """A promise,
of two lines.

runs: engine (there is a reason)

# Begin.
$ put nat
    gateway: 10.0.0.1
    options:
      mtu: 1400

$ ip route
    192.0.2.1   via 10.0.0.1

    (more)
$! ip route show table 7
"""


def _parse(folder: Path, text: str) -> Script:
    file = folder / "story.txt"
    file.write_text(text)
    return parse(file)


def test_story_is_read(tmp_path: Path) -> None:
    """Promise, header, commands with their lines, and the lines below keep their order and inner indentation."""
    script = _parse(tmp_path, STORY)

    assert script.promise == "A promise,\nof two lines."
    assert script.runners == ("engine",)
    assert [(step.line, step.text, step.fails, step.below) for step in script.steps] == [
        (7, "put nat", False, ("gateway: 10.0.0.1", "options:", "  mtu: 1400")),
        (12, "ip route", False, ("192.0.2.1   via 10.0.0.1", "(more)")),
        (16, "ip route show table 7", True, ()),
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("$ rows\n", "story.txt:1: begin with the promise"),
        ("# A comment is no promise.\n\n$ rows\n", "story.txt:1: begin with the promise"),
        ("A promise.\n", "story.txt: has no command; a command begins with '$ '"),
        ("A promise.\n\nruns: engine\n\n$ rows\n", "story.txt: 'runs: engine' is no header; write 'runs: engine (rea"),
        ("A promise.\n\n$ rows\n  x\n", "story.txt:4: '  x' is neither"),
        ("A promise.\n\n$ rows\nrows\n", "story.txt:4: 'rows' is neither"),
        ("A promise.\n\n$rows\n", "story.txt:3: '$rows' is neither: begin a command with '$ '"),
    ],
)
def test_mistake_is_named(tmp_path: Path, text: str, words: str) -> None:
    """A mistake has file, line and remedy."""
    with pytest.raises(ScriptError) as error:
        _parse(tmp_path, text)

    assert words in str(error.value)


@pytest.mark.parametrize(
    ("expected", "output", "result"),
    [
        (["a  b", "c"], "a b\n\n  c\n", True),
        (["a b"], "a b c\n", False),
        (["a b"], "a b\nc\n", False),
        (["a ... c"], "a b b c\n", True),
        (["a ... c"], "a b\nc\n", False),
        (["a*"], "aa\n", False),
        (["...", "c"], "a\nb\nc\n", True),
        (["...", "c"], "c\n", True),
        (["(nothing)"], "", True),
        (["(nothing)"], "a\n", False),
    ],
)
def test_output_is_compared_by_words(expected: list[str], output: str, *, result: bool) -> None:
    """Spaces count as one; dots stand for any text of a line, or for any lines."""
    assert agrees(expected, output) is result


def test_difference_shows_only_what_differs() -> None:
    """A line that agrees by its dots is no difference."""
    shown = difference(["a ... c", "d"], "a b c\ne\n", "story.txt:3").splitlines()

    assert shown[3:] == [" a ... c", "-d", "+e"]


def test_present_output_is_written(tmp_path: Path) -> None:
    """The output takes the place of the expected one; lines with dots that agree stay, and times become dots."""
    script = _parse(tmp_path, STORY)
    output = "192.0.2.9 via 10.0.0.9\n\n2024-01-01T00:00:00Z  up 7.5 ms\nbefore this\n"
    lines = merge(["before ...", "gone ..."], output)
    assert lines == ["192.0.2.9 via 10.0.0.9", "...  up ... ms", "before ..."]

    (tmp_path / "story.txt").write_text(rewrite(script, {12: lines, 16: ["(nothing)"]}))

    again = parse(tmp_path / "story.txt")
    assert [step.below for step in again.steps] == [script.steps[0].below, tuple(lines), ("(nothing)",)]
    assert again.promise == script.promise
