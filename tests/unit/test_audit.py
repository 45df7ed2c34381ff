"""`tools/audit`: a known vulnerability fails the check; data that can't be reached does not."""

import json
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
KNOWN = {"name": "kopf", "version": "1.45.2", "vulns": []}
UNKNOWN = {"name": "kopf", "skip_reason": "Dependency not found on PyPI and could not be audited: kopf (1.45.2)"}
VULNERABLE = {"name": "aiohttp", "version": "3.0.0", "vulns": [{"id": "PYSEC-1", "fix_versions": ["3.0.1"]}]}

Audit = Callable[[], subprocess.CompletedProcess[str]]
Answer = Callable[..., Audit]


@pytest.fixture
def answer(tmp_path: Path) -> Answer:
    """Have pip-audit, which can't be made to find something on demand, answer with these dependencies, and audit."""

    def answer(*dependencies: dict[str, Any], text: str = "") -> Audit:
        program = tmp_path / "environment/bin/pip-audit"
        program.parent.mkdir(parents=True, exist_ok=True)
        said = text or json.dumps({"dependencies": dependencies})
        program.write_text(f"#!/bin/sh\necho asked >&2\necho {shlex.quote(said)}\n")
        program.chmod(0o755)
        (tmp_path / "environment/ready").touch()
        command = [sys.executable, str(ROOT / "tools/audit"), str(tmp_path / "environment")]
        return lambda: subprocess.run(command, check=False, capture_output=True, text=True)

    return answer


def test_vulnerability_fails(answer: Answer) -> None:
    """A locked dependency with a known vulnerability is named with the version that mends it, each time."""
    audit = answer(KNOWN, VULNERABLE)

    for _ in range(2):
        done = audit()
        assert done.returncode == 1
        assert "aiohttp 3.0.0: PYSEC-1, fixed in 3.0.1" in done.stderr


def test_nothing_found_is_asked_once_a_day(answer: Answer) -> None:
    """Dependencies that are in order are not asked for again by each check of the same day."""
    assert answer(KNOWN)().stdout == "audit: no known vulnerability in 1 dependencies\n"

    assert answer(VULNERABLE)().returncode == 0


@pytest.mark.parametrize("said", [{"dependencies": [UNKNOWN, UNKNOWN]}, "no JSON at all"])
def test_data_out_of_reach_is_said(answer: Answer, said: object) -> None:
    """Without data the check goes on, and says that nothing was looked at."""
    done = answer(text=json.dumps(said) if isinstance(said, dict) else str(said))()

    assert done.returncode == 0
    assert done.stdout.startswith("audit: not done, since the data of vulnerabilities can't be reached: ")
