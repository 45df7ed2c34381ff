"""The program without a cluster, at work on StaticRoutes that can change."""

import contextlib
import json
import re
import tempfile
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from static_route_operator.api import API_VERSION
from static_route_operator.observability.metrics import PREFIX
from tests.kernel.machine import wait_until
from tests.kernel.program import Program, running


class Host:
    """The program, as a process on the machine that this thread is on.

    Attributes:
        program: the process.
    """

    def __init__(self, program: Program, manifests: Path) -> None:
        self.program = program
        self._manifests = manifests

    def put(self, name: str, spec: Mapping[str, Any]) -> None:
        """Write a StaticRoute."""
        _write(self._manifests, name, spec)

    def remove(self, name: str) -> None:
        """Remove a StaticRoute."""
        (self._manifests / f"{name}.json").unlink()

    def ready(self) -> bool:
        """Report whether the program has applied all StaticRoutes."""
        try:
            return self._get("/readyz") == "ok\n"
        except OSError:
            return False

    def report(self) -> dict[str, Any]:
        """Return the program's report on routes and gateways."""
        report: dict[str, Any] = json.loads(self._get("/routes"))
        return report

    def metric(self, name: str) -> float:
        """Return the value of a metric without labels, which is cheaper than the report."""
        found = re.search(rf"^{PREFIX}_{name} (\S+)$", self._get("/metrics"), re.MULTILINE)
        assert found, f"there is no metric {name}"
        return float(found[1])

    def installed(self) -> int:
        """Return the number of installed routes."""
        return int(self.metric("installed_routes"))

    @staticmethod
    def _get(path: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:9245{path}", timeout=60) as answer:
            text: str = answer.read().decode()
            return text


@contextlib.contextmanager
def host(specs: Mapping[str, Mapping[str, Any]]) -> Iterator[Host]:
    """Run the program on StaticRoutes; it is killed in the end, and its routes stay.

    Args:
        specs: of the StaticRoutes, by their names.
    """
    with tempfile.TemporaryDirectory() as directory:
        manifests = Path(directory) / "manifests"
        manifests.mkdir()
        for name, spec in specs.items():
            _write(manifests, name, spec)
        with running(manifests, Path(directory) / "log") as program:
            at_work = Host(program, manifests)
            wait_until(at_work.ready, "the program is ready")
            yield at_work


def _write(manifests: Path, name: str, spec: Mapping[str, Any]) -> None:
    body = {"apiVersion": API_VERSION, "kind": "StaticRoute", "metadata": {"name": name}, "spec": spec}
    # Written beside it and moved, so that nobody reads half of it.
    part = manifests / f"{name}.part"
    part.write_text(json.dumps(body))
    part.rename(manifests / f"{name}.json")
