"""docs/walkthrough.md: what it shows is what happens, on three real kubelets.

With WALKTHROUGH=write the page gets what its commands print now (`make walkthrough`).
"""

import functools
import os
import re
import time
from pathlib import Path

import pytest

from tests import console
from tests.e2e.conftest import NODES, ROOT
from tests.lab import images
from tests.lab.cluster import Cluster
from tests.lab.commands import run

PAGE = ROOT / "docs/walkthrough.md"
MACHINES = {"gateway1": "gw1", "gateway2": "gw2", "switch": "fab", "node1": "node1", "node2": "node2", "node3": "node3"}
PATIENCE = 90.0  # seconds until a question is answered as the page says
SETTLED = 5.0  # seconds for which an answer that is to be written has not changed

# Commands that only ask: they are asked again until the cluster has got there.
_ASKS = re.compile(
    r"(kubectl (get|describe|events|logs|rollout status|static-route|wait)|ip (route|rule) (show|get)|curl)\b"
)
# Parts of the output that differ from one time to the next, and columns whose width depends on them.
_VARIABLE = {
    r"\b(Up|Down) +\d{4}-.*": r"\1",  # since when, round-trip time, losses, and how the last one was noticed
    r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(,\d+)?( UTC|Z)?": "<when>",
    r"k8s-staticroute-operator-controller-[a-z0-9]+-[a-z0-9]{5}\b": "<controller>",
    r"k8s-staticroute-operator-[a-z0-9]{5}\b": "<agent>",
    r"\b\d+(\.\d+)? ?(ms|µs|s|m|h|d)(\d+[smh])?\b": "<time>",
    r"\b10\.244\.\d+\.0/24": "<pods>",
    r"[ \t─]+": " ",
}
_PROGRESS = re.compile("Waiting for daemon set ")
_POD = """\
apiVersion: v1
kind: Pod
metadata:
  name: on-{node}
  labels: {{for: walkthrough}}
spec:
  nodeName: {node}
  containers:
    - {{name: pause, image: {image}}}
"""


def shape(lines: list[str]) -> list[str]:
    """Return the output without the parts that differ from one time to the next."""
    lines = [line for line in lines if not _PROGRESS.match(line)]
    for pattern, word in _VARIABLE.items():
        lines = [re.sub(pattern, word, line) for line in lines]
    return [line.rstrip() for line in lines]


class Terminal:
    """The shell in which the page's commands are typed.

    Args:
        cluster: the cluster that they are about.
        directory: an empty one to be in, which gets the page's files.
    """

    def __init__(self, cluster: Cluster, directory: Path) -> None:
        self._cluster = cluster
        self._directory = directory
        for name in ("examples", "releases"):
            (directory / name).symlink_to(ROOT / name)
        for name, text in console.files(PAGE.read_text()).items():
            (directory / name).write_text(text)

    def type(self, command: console.Command) -> list[str]:
        """Type a command and return what it prints."""
        argv = ["sh", "-c", f"exec 2>&1\n{command.text}"]
        if command.machine:
            entered = self._cluster.namespace(MACHINES[command.machine]).enter(argv)
        else:
            entered = self._cluster.administer_command(*argv)
        return run(entered, check=False, cwd=self._directory).stdout.splitlines()

    def answer(self, command: console.Command, settled: float = PATIENCE) -> list[str]:
        """Type a command and return what it prints.

        If it only asks, it is typed until its answer is as the page has it, or has not changed for some seconds.
        """
        began = since = time.monotonic()
        answer = self.type(command)
        while _ASKS.match(command.text) and shape(answer) != shape(list(command.output)):
            if time.monotonic() > min(since + settled, began + PATIENCE):
                break
            time.sleep(0.5)
            newer = self.type(command)
            if shape(newer) != shape(answer):
                since = time.monotonic()
            answer = newer
        return answer


@pytest.fixture
def terminal(cluster: Cluster, tmp_path: Path) -> Terminal:
    """A terminal, and a cluster without the operator. Each node has had a pod, so that all have the CNI's interface."""
    pods = "\n---\n".join(_POD.format(node=node, image=images.PAUSE) for node in NODES)
    cluster.kubectl("apply", "-f", "-", input=pods)
    cluster.kubectl("wait", "--for=condition=Ready", "pod", "-l", "for=walkthrough", "--timeout=90s")
    cluster.kubectl("delete", "pod", "-l", "for=walkthrough", "--now")
    return Terminal(cluster, tmp_path)


@pytest.mark.timeout(900)
def test_walkthrough(terminal: Terminal) -> None:
    """Every command of the page prints what the page says."""
    page = PAGE.read_text()
    if os.environ.get("WALKTHROUGH") == "write":
        PAGE.write_text(console.rewrite(page, functools.partial(_written, terminal)))
        return
    for command in console.commands(page):
        answer = terminal.answer(command)
        assert shape(answer) == shape(list(command.output)), f"line {command.line}: {command.text}"


def _written(terminal: Terminal, command: console.Command) -> list[str]:
    """The lines for the page: those that are there if they are still true."""
    answer = terminal.answer(command, SETTLED)
    return list(command.output) if shape(answer) == shape(list(command.output)) else [each.rstrip() for each in answer]
