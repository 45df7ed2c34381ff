"""A kubectl that answers as it was recorded: a program, since the real one is."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from static_route_operator.cli.fleet.kubectl import Kubectl

_PROGRAM = """\
#!{python} -IS
import json, sys, time
arguments = " ".join(each for each in sys.argv[1:] if not each.startswith("--context"))
for words, (code, output, errors) in json.load(open({answers!r})).items():
    if words in arguments:
        if output == "sleep":
            time.sleep(3600)
        while output == "flood":
            sys.stdout.write("x" * 65536)
        sys.stdout.write(output)
        sys.stderr.write(errors)
        sys.exit(code)
sys.exit("unexpected: " + arguments)
"""


def fake_kubectl(directory: Path, answers: Mapping[str, Any]) -> Kubectl:
    """A kubectl.

    Args:
        directory: for its files.
        answers: by words of its arguments: a JSON object; or exit code, standard output and standard error; or
            ``sleep`` for no answer, ``flood`` for one without end.
    """
    recorded = {
        words: answer
        if isinstance(answer, tuple)
        else (0, answer if isinstance(answer, str) else json.dumps(answer), "")
        for words, answer in answers.items()
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


def node(name: str, *, ready: bool = True, labels: Mapping[str, str] | None = None) -> dict[str, Any]:
    """A node as the API server has it."""
    message = "kubelet is posting ready status" if ready else "Kubelet stopped posting node status."
    return {
        "metadata": {"name": name, "labels": dict(labels or {})},
        "status": {"conditions": [{"type": "Ready", "status": str(ready) if ready else "Unknown", "message": message}]},
    }
