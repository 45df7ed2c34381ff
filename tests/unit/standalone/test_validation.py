"""StaticRoutes in files, checked without a cluster."""

import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from static_route_operator.cli.program import program
from static_route_operator.standalone.validation import read, validate
from tests.unit.builders import manifest

MIXED = """\
apiVersion: v1
kind: ConfigMap
metadata: {name: other}
---
apiVersion: networking.digitalocean.com/v1
kind: List
items:
  - apiVersion: networking.digitalocean.com/v1
    kind: StaticRoute
    metadata:
      name: bad
    spec:
      destinations:
        - 192.0.2.1
        - 10.0.0.5/24
      gateway: 10.0.0.1
---
apiVersion: networking.digitalocean.com/v1
kind: StaticRoute
metadata: {name: bad}
spec:
  destinations: [192.0.2.2]
  gatway: 10.0.0.1
  priority: "5"
"""


def _findings(text: str) -> list[tuple[int, str, str]]:
    return [(each["line"], each["object"], each["field"]) for each in validate({"a.yaml": text})["findings"]]


def _problem(spec: dict[str, Any]) -> str:
    body = manifest()
    body["spec"] |= spec
    body["spec"] = {name: value for name, value in body["spec"].items() if value != "(none)"}
    (finding,) = validate({"a.yaml": yaml.safe_dump(body)})["findings"]
    return f"{finding['field']}: {finding['problem']}"


def test_every_problem_has_its_line_object_and_field() -> None:
    """Every problem of every object in a file, also in a List, is reported with its place; other kinds are not."""
    assert _findings(MIXED) == [
        (15, "bad", "spec.destinations[1]"),
        (20, "bad", "metadata.name"),
        (23, "bad", "spec.gatway"),
        (24, "bad", "spec.priority"),
    ]


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        ({"destination": ["192.0.2.1"]}, "spec.destination: is not a field: did you mean destinations?"),
        ({"xyz": 1}, "spec.xyz: is not a field: the fields are destinations,"),
        ({"destinations": "(none)"}, "spec.destinations: is missing"),
        ({"destinations": []}, "spec.destinations: has 0 entries; at least 1 are needed"),
        ({"destinations": ["192.0.2.1"] * 20_001}, "spec.destinations: has 20001 entries; at most 20000 are allowed"),
        ({"destinations": [5]}, "spec.destinations[0]: '5' is not of type string; write it in quotes"),
        ({"destinations": ["9" * 50]}, "spec.destinations[0]: has 50 characters; at most 49 are allowed"),
        ({"destinations": ["127.0.0.1"]}, "spec.destinations[0]: '127.0.0.1' is in 127.0.0.0/8 (loopback)"),
        ({"gateway": "x"}, "spec.gateway: gateway 'x' is not an IP address"),
        ({"gateway": "(none)"}, "spec.gateway"),
        ({"priority": -1}, "spec.priority: -1 is less than 0"),
        ({"priority": 1001}, "spec.priority: 1001 is more than 1000"),
        ({"priority": True}, "spec.priority: 'True' is not of type integer"),
        ({"healthCheck": {"type": "UDP"}}, "spec.healthCheck.type: 'UDP' is not one of ICMP, TCP, HTTP"),
        ({"healthCheck": {"type": "ICMP", "interval": "soon"}}, "spec.healthCheck.interval: "),
    ],
)
def test_what_the_api_server_refuses_is_told(spec: dict[str, Any], problem: str) -> None:
    """Fields of the schema and rules of the nodes alike are checked, in words that say what would be right."""
    assert _problem(spec).startswith(problem)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"metadata": {"name": "No_Name"}}, "metadata.name: 'No_Name' is not a name"),
        ({"metadata": {}}, "metadata.name: '' is not a name"),
        ({"apiVersion": "networking.digitalocean.com/v2"}, "apiVersion: is 'networking.digitalocean.com/v2'"),
        ({"spec": None}, "spec: is missing"),
    ],
)
def test_the_frame_is_checked(change: dict[str, Any], problem: str) -> None:
    """Name, version and spec must be there."""
    (finding,) = validate({"a.yaml": yaml.safe_dump(manifest() | change)})["findings"]

    assert f"{finding['field']}: {finding['problem']}".startswith(problem)


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ("a: [", 2, "is not valid YAML: "),
        ("a: 1", 0, "the file has no StaticRoute"),
        ("", 0, "the file has no StaticRoute"),
        ("{kind: List, items: 5}", 0, "items of a List is not a list"),
    ],
)
def test_file_that_holds_none_is_told(text: str, line: int, problem: str) -> None:
    """A text that is not YAML, or holds no StaticRoute, does not pass."""
    (finding,) = validate({"a.yaml": text})["findings"]

    assert (finding["line"], finding["problem"].startswith(problem)) == (line, True)


def test_verb_reads_files_directories_and_standard_input(tmp_path: Path) -> None:
    """The exit code says whether all are good; each problem is a line that starts with its place."""
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_text(yaml.safe_dump(manifest()))
    bad.write_text(MIXED)

    def run(*files: str, text: str = "") -> tuple[int, list[str]]:
        done = CliRunner().invoke(program, ["validate", *files], input=text)
        return done.exit_code, done.stdout.splitlines()

    assert run(str(good)) == (0, ["1 StaticRoute checked: no errors."])
    code, lines = run(str(tmp_path))
    assert (code, lines[-1]) == (1, "3 StaticRoutes checked: 4 errors.")
    assert lines[0].startswith(f"{bad}:15: StaticRoute bad: spec.destinations[1]: '10.0.0.5/24' has host bits set")
    assert run("-", text=good.read_text()) == (0, ["1 StaticRoute checked: no errors."])
    assert list(read([tmp_path])[0]) == [str(bad), str(good)]


def test_one_file_that_cannot_be_read_does_not_stop_the_others(tmp_path: Path) -> None:
    """An unreadable file and an empty one are findings, the former sets the exit code to 3; the others are checked."""
    bad = tmp_path / "bad.yaml"
    bad.write_text(MIXED)
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "empty.yaml").write_text("# nothing\n")

    done = CliRunner().invoke(program, ["validate", str(tmp_path), str(tmp_path / "missing")])

    lines = done.stdout.splitlines()
    assert (done.exit_code, lines[-1]) == (3, "2 StaticRoutes checked: 7 errors.")
    assert f"{tmp_path}/pipe.yaml: can't be read: it is a pipe, not a regular file; remove or rename it" in lines
    assert f"{tmp_path}/missing: can't be read: No such file or directory" in lines
    assert f"{tmp_path}/empty.yaml: the file has no StaticRoute: is it the right file?" in lines


def test_findings_of_a_file_are_bounded() -> None:
    """A file with an error in each of its many lines is reported by the first of them."""
    text = yaml.safe_dump(manifest(destinations=["x"] * 5000))
    findings = validate({"a.yaml": text})["findings"]

    assert len(findings) == 101
    assert findings[-1]["problem"] == "has more than 100 errors; these are the first"
