"""The reader of YAML and JSON texts: as kubectl, and bounded."""

import contextlib
import json
import math
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from static_route_operator.standalone import documents
from static_route_operator.standalone.documents import DocumentError, line_of, read_documents, resolve


def _bodies(text: str) -> list[Any]:
    return [document.body for document in read_documents(text)]


def _body(text: str) -> Any:
    (body,) = _bodies(text)
    return body


@pytest.mark.parametrize(
    ("text", "value"),
    [
        # Base 60 of YAML 1.1, which kubectl does not know: most of all addresses without quotes.
        ("1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8"),
        ("12:34:56", "12:34:56"),
        ("2001:10:20:30::5", "2001:10:20:30::5"),
        ("190:20:30.15", "190:20:30.15"),
        ("10.0.0.1", "10.0.0.1"),
        ("::1", "::1"),
        ("2001-01-01", "2001-01-01"),
        ("2024-05-01T10:00:00Z", "2024-05-01T10:00:00Z"),
        ("yes", True),
        ("On", True),
        ("y", True),
        ("no", False),
        ("OFF", False),
        ("N", False),
        ("tRue", "tRue"),
        ("~", None),
        ("", None),
        ("NULL", None),
        ("010", 8),
        ("0o17", 15),
        ("08", 8),
        ("0x1F", 31),
        ("0b101", 5),
        ("-0b101", -5),
        ("1_000", 1000),
        ("+5", 5),
        ("1.5", 1.5),
        (".5", 0.5),
        ("1e3", 1000),
        ("1e400", "1e400"),
        ("18446744073709551615", 2**64 - 1),
        ("-9223372036854775808", -(2**63)),
        ("9" * 30, int("9" * 30) * 1.0),
        ("9" * 5000, "9" * 5000),
        ("0x" + "F" * 5000, "0x" + "F" * 5000),
        ("!!str 5", "5"),
        ("'5'", "5"),
        ('"yes"', "yes"),
        ("!!int 5", 5),
        ("!!float 5", 5.0),
        ("!!bool yes", True),
    ],
)
def test_scalars_are_read_as_kubectl_reads_them(text: str, value: Any) -> None:
    """A scalar has the value and the type that goyaml.v2 gives it."""
    found = _body(f"a: {text}")["a"]

    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ("a: 1\nb: 2\na: 3", 3, "the key 'a' is already set in line 1; remove one"),
        ('{"a": {"b": 1,\n"b": 2}}', 2, "the key 'b' is already set in line 1; remove one"),
        ("a: .nan", 1, ".nan is a number that JSON does not have"),
        ("a:\n  - -.inf", 2, "-.inf is a number that JSON does not have"),
        ("a: &a [*a]", 1, "the alias *a contains itself"),
        ("a: *b", 1, "the alias *b stands for nothing before it"),
        ("a: &x 1\n---\na: *x", 3, "the alias *x stands for nothing before it"),
        ("a: !!python/object/apply:os.system [id]", 1, "the tag 'tag:yaml.org,2002:python/object/apply:os.system'"),
        ("a: !secret x", 1, "the tag '!secret' is not known; remove it"),
        ("a: !!int x", 1, "'x' does not fit its tag; remove the tag"),
        ("a: !!binary aGVsbG8=", 1, "the tag 'tag:yaml.org,2002:binary' is not known"),
        ("? [a]\n: b", 1, "a key is a list or an object; keys are texts"),
        ("~: b", 1, "the key 'None' is not a text; write it in quotes"),
        ("a:\n\tb: 1", 2, "found character that cannot start any token; indent with spaces, not with tabs"),
        ("a: 1\nb: \0", 2, "control characters are not allowed; the file must be text in UTF-8"),
        ("a: [", 2, "did not find expected node content"),
        ("<<: 5", 1, "the value of << is not an object or a list of objects"),
        ("[" * 100_000, 1, "exceeded maximum nesting depth"),
        ("- " * 100_000, 1, "more than 64 lists and objects are nested in each other"),
        ('{"a":' * 100_000, 1, "more than 64 lists and objects are nested in each other"),
        ('{"a": "\\ud800"}', 1, "found invalid Unicode character escape code"),
        ('{"a": NaN, "a": 1}', 1, "the key 'a' is already set"),
    ],
)
def test_what_kubectl_refuses_is_refused_with_its_line(text: str, line: int, problem: str) -> None:
    """An error has the line, and says what to do."""
    with pytest.raises(DocumentError) as caught:
        read_documents(text)

    assert (caught.value.line, caught.value.problem.startswith(problem)) == (line, True), caught.value


def test_documents_have_numbers_and_values_have_lines() -> None:
    """Empty documents count, and every value of the others is found again."""
    first, second = read_documents("# heading\n---\n---\na:\n  - b\n  - c: 1\n...\n---\nd: 2\n")

    assert (first.number, second.number) == (2, 3)
    paths = ("", "a", "a[1]", "a[1].c", "a[1].missing", "a[7]", "x")
    assert [line_of(first, path) for path in paths] == [4, 5, 6, 6, 6, 5, 4]
    assert line_of(second, "d") == 9


def test_merge_keys_add_what_is_missing() -> None:
    """The key << adds the fields of an alias, of a list of them, or of an object that stands there."""
    text = "a: &a {x: 1, w: 1}\nb: &b {w: 2, z: 2}\nc:\n  w: 3\n  <<: [*a, *b]\nd:\n  <<: {x: 5}\n  '<<': 7\n"

    body = _body(text)

    assert body["c"] == {"w": 3, "x": 1, "z": 2}
    assert body["d"] == {"x": 5, "<<": 7}


_DOUBLED = "".join(f"a{each}: &a{each} [*a{each - 1}, *a{each - 1}]\n" for each in range(1, 60))


@pytest.mark.parametrize("text", ["a0: &a0 [x, x]\n" + _DOUBLED, "a0: &a0 {x: 1}\n" + _DOUBLED])
def test_aliases_are_not_expanded_without_end(text: str) -> None:
    """A text that doubles a value sixty times is refused in moments."""
    with pytest.raises(DocumentError, match="more than 1000000 values, aliases included; split the file"):
        read_documents(text)


@pytest.mark.parametrize(
    "text", ["- a\n" * 1001, "---\n" * 1001, json.dumps([1] * 1001), "a: &a b\nc: [" + "*a, " * 1001]
)
def test_large_texts_are_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """A text of too many values is refused, whichever values they are."""
    monkeypatch.setattr(documents, "MOST_VALUES", 1000)

    with pytest.raises(DocumentError, match="more than 1000 values"):
        read_documents(text)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(_JSON.filter(lambda value: value is not None))
def test_json_and_yaml_give_the_same(value: Any) -> None:
    """A JSON text means the same to the fast reader and to that with lines, which is that of YAML."""
    text = json.dumps(value, ensure_ascii=False)
    try:
        (slow,) = read_documents(text, lines=True)
    except DocumentError:
        # libyaml refuses characters that JSON allows, such as U+007F.
        assert not text.isprintable()
        return

    assert slow.body == value
    assert _body(text) == value


@given(_JSON)
def test_dumped_yaml_means_the_same(value: Any) -> None:
    """What PyYAML writes, with quotes and tags, is read as it was."""
    text = yaml.safe_dump(value, default_style='"')

    assert _bodies(text) == ([] if value is None else [value])


_PIECES = [
    *(
        "a",
        "b: ",
        "- ",
        "? ",
        ": ",
        "\n",
        "  ",
        "\t",
        "[",
        "]",
        "{",
        "}",
        ",",
        "&x ",
        "*x",
        "!!str ",
        "!y ",
        "|\n",
        ">-\n",
    ),
    *(
        "'",
        '"',
        "#",
        "---\n",
        "...\n",
        "%YAML 1.2\n",
        "<<: ",
        "\\",
        "\0",
        "\ufeff",
        "\x85",
        "é",
        "1:2",
        "0x",
        "1e5",
        "~",
    ),
]


@given(st.lists(st.sampled_from(_PIECES) | st.text(max_size=3), max_size=60).map("".join))
def test_no_text_raises_anything_else(text: str) -> None:
    """Any text has documents or a `DocumentError`, and every value is one that JSON has."""
    with contextlib.suppress(DocumentError):
        json.dumps(_bodies(text), allow_nan=False)


@given(st.from_regex(r"[-+]?[0-9_.eExobXOB]{1,30}", fullmatch=True))
def test_numbers_are_finite_or_text(text: str) -> None:
    """A scalar that looks like a number is one that JSON has, or stays text."""
    value = resolve(text)

    assert isinstance(value, str | int) or math.isfinite(value)
