"""A kubectl that answers as it was recorded: a program, since the real one is."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from static_route_operator.cli.fleet.kubectl import Kubectl

_PROGRAM = """\
#!{python}
import json, sys, pathlib
arguments = " ".join(each for each in sys.argv[1:] if not each.startswith("--context"))
for words, (code, output, errors) in json.loads(pathlib.Path({answers!r}).read_text()).items():
    if words in arguments:
        sys.stdout.write(output)
        sys.stderr.write(errors)
        sys.exit(code)
sys.exit("unexpected: " + arguments)
"""


def fake_kubectl(directory: Path, answers: Mapping[str, Any]) -> Kubectl:
    """A kubectl.

    Args:
        directory: for its files.
        answers: by words of its arguments: a JSON object; or exit code, standard output and standard error.
    """
    recorded = {
        words: answer if isinstance(answer, tuple) else (0, json.dumps(answer), "") for words, answer in answers.items()
    }
    file = directory / "answers.json"
    file.write_text(json.dumps(recorded))
    program = directory / "kubectl"
    program.write_text(_PROGRAM.format(python=sys.executable, answers=str(file)))
    program.chmod(0o755)
    return Kubectl(program=str(program))


def pod(name: str, node: str, *, ready: bool = True, waiting: str = "") -> dict[str, Any]:
    """A pod as the API server has it."""
    state = {"waiting": {"reason": waiting}} if waiting else {"running": {}}
    return {
        "metadata": {"name": name},
        "spec": {"nodeName": node},
        "status": {
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": str(ready), "message": "" if ready else "not all are ready"}],
            "containerStatuses": [{"restartCount": 2, "state": state}],
        },
    }
