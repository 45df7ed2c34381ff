"""The workflow that releases: it runs only what is pinned, and what is there."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
WORKFLOW: dict[str, Any] = yaml.safe_load((ROOT / ".github/workflows/release.yml").read_text())
(JOB,) = WORKFLOW["jobs"].values()
ACTIONS = [step["uses"] for step in JOB["steps"] if "uses" in step]
SCRIPTS = "\n".join(step.get("run", "") for step in JOB["steps"])


@pytest.mark.parametrize("action", ACTIONS)
def test_actions_are_pinned(action: str) -> None:
    """An action is named by its commit: who takes over a tag of it does not get into a release."""
    assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", action)


def test_rights_are_the_least() -> None:
    """The job may write the release and ask for signatures, and nothing else."""
    assert WORKFLOW["permissions"] == {}
    assert JOB["permissions"] == {"contents": "write", "id-token": "write"}


def test_targets_that_it_makes_exist() -> None:
    """A target of the Makefile that is renamed is noticed before the day of a release."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    made = set(re.findall(r"\bmake ([a-z-]+)", SCRIPTS))

    assert made >= {"check", "release", "sbom"}
    assert made <= targets


def test_base_image_is_found_in_the_dockerfile() -> None:
    """The base whose digest is taken is the one that the Dockerfile starts both stages from."""
    dockerfile = (ROOT / "Dockerfile").read_text()

    assert len(re.findall(r"^ARG PYTHON=\S+:\S+$", dockerfile, re.MULTILINE)) == 1
    assert re.findall(r"^FROM (\S+)", dockerfile, re.MULTILINE) == ["${PYTHON}", "${PYTHON}"]
