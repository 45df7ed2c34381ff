"""The cgroup of one node: all its processes are in it, so killing it is the node's power cut."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from tests.lab import processes
from tests.lab.commands import wait_until

_ROOT = Path("/sys/fs/cgroup")
_UNIFIED = (_ROOT / "cgroup.controllers").exists()  # cgroup v2


def _hierarchies() -> list[Path]:
    """Return the root of the one hierarchy of cgroup v2, or of all those of cgroup v1."""
    return [_ROOT] if _UNIFIED else [path.parent for path in sorted(_ROOT.glob("*/cgroup.procs"))]


class Cgroup:
    """A cgroup below the root, in every hierarchy.

    Args:
        name: its name, as in ``sr-node1``.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        # The daemons are in a leaf of their own (cgroup v2 allows no processes beside children); with cgroup v1 in one
        # hierarchy only, and in one where the kubelet does not look for itself.
        self._daemons = (_ROOT if _UNIFIED else _ROOT / "pids") / name / "daemons"

    @classmethod
    def all(cls, prefix: str) -> list["Cgroup"]:
        """Return all existing cgroups of a lab."""
        names = {path.name for root in _hierarchies() for path in root.glob(f"{prefix}-node[0-9]*")}
        return [cls(name) for name in sorted(names)]

    def create(self) -> None:
        """Make the cgroup, ready for a kubelet to make those of pods in it. An existing one is no error."""
        if _UNIFIED:
            controllers = (_ROOT / "cgroup.controllers").read_text().split()
            (_ROOT / "cgroup.subtree_control").write_text(" ".join(f"+{controller}" for controller in controllers))
        for root in _hierarchies():
            directory = root / self.name
            directory.mkdir(exist_ok=True)
            for file in ("cpuset.cpus", "cpuset.mems"):
                # Empty in a new cgroup of cgroup v1, which then takes no process.
                if not _UNIFIED and (root / file).exists():
                    (directory / file).write_text((root / file).read_text())
        self._daemons.mkdir(exist_ok=True)

    def add(self, pid: int) -> None:
        """Move a process into the cgroup; its children will be in it too."""
        (self._daemons / "cgroup.procs").write_text(str(pid))

    def pids(self) -> set[int]:
        """Return the ids of all processes in the cgroup or below it."""
        found: set[int] = set()
        for directory in self._directories():
            with contextlib.suppress(OSError):  # removed meanwhile
                found.update(map(int, (directory / "cgroup.procs").read_text().split()))
        return found

    def kill(self) -> None:
        """Kill all processes in the cgroup."""
        processes.kill(self.pids, f"the processes in cgroup {self.name}")

    def remove(self) -> None:
        """Kill all processes in the cgroup and remove it. A missing one is no error."""
        self.kill()

        def removed() -> bool:
            for directory in self._directories():
                with contextlib.suppress(OSError):  # busy for a moment after its last process ended
                    directory.rmdir()
            return not any(self._directories())

        wait_until(removed, f"cgroup {self.name} is removed", timeout=20)

    def _directories(self) -> Iterator[Path]:
        """Return all directories of the cgroup, the deepest first."""
        for root in _hierarchies():
            # Unlike rglob, this takes it well when one goes meanwhile.
            yield from (Path(directory) for directory, _, _ in os.walk(root / self.name, topdown=False))
