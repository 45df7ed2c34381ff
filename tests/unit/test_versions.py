"""The pages promise the versions of Kubernetes that are tested, and no others."""

import re
from pathlib import Path

import pytest

from tests.lab import versions

ROOT = Path(__file__).resolve().parents[2]


def minor(version: str) -> str:
    """Return a version without its patch number and prefix, as in ``1.32``."""
    return version.removeprefix("v").rpartition(".")[0]


@pytest.mark.parametrize(
    ("page", "promise"),
    [
        ("README.md", r"Kubernetes (\S+) or later"),
        ("docs/guarantees.md", r"Kubernetes (\S+) or later"),
        ("docs/comparison.md", r"Kubernetes than (\S+)\.$"),
        ("CHANGELOG.md", r"Needs Kubernetes (\S+) and"),
    ],
)
def test_oldest_version(page: str, promise: str) -> None:
    """Every page names the oldest version that is tested."""
    assert re.findall(promise, (ROOT / page).read_text(), re.MULTILINE) == [minor(versions.OLDEST_KUBERNETES)]


def test_tested_versions() -> None:
    """The guarantees name the versions that CRDs and policies are applied to."""
    guarantees = " ".join((ROOT / "docs/guarantees.md").read_text().split())
    oldest, newest = (version.removeprefix("v") for version in versions.PROMISED)

    assert f"API servers of {oldest} and {newest};" in guarantees
