"""One network namespace: a machine of the lab as the network sees it."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from tests.lab import processes, programs
from tests.lab.commands import Argument, run

DIRECTORY = Path("/var/run/netns")


class Namespace:
    """A network namespace with a name that `ip netns` knows.

    Args:
        name: the name, as in ``sr-node1``.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.path = DIRECTORY / name

    def exists(self) -> bool:
        """Return True if the namespace exists."""
        return self.path.exists()

    def create(self) -> None:
        """Make the namespace, with loopback up."""
        run([programs.find("ip"), "netns", "add", self.name])
        self.configure(["link set lo up"])

    def delete(self) -> None:
        """Kill all processes in the namespace and delete it with its interfaces. A missing one is no error."""
        if not self.exists():
            return
        processes.kill(self.pids, f"the processes in {self.name}")
        run([programs.find("ip"), "netns", "delete", self.name])

    def configure(self, commands: Iterable[str]) -> None:
        """Run `ip` commands in the namespace, such as ``link set eth0 up``; the first to fail ends it.

        Raises:
            LabError: the kernel refused one.
        """
        run([programs.find("ip"), "-n", self.name, "-batch", "-"], stdin="\n".join(commands))

    def enter(self, argv: Sequence[Argument]) -> list[Argument]:
        """Return the command that runs a program in the namespace.

        Not `ip netns exec`, which hides /sys/fs/cgroup.
        """
        return [programs.find("nsenter"), f"--net={self.path}", "--", *argv]

    def pids(self) -> set[int]:
        """Return the ids of all processes in the namespace."""
        return processes.in_namespaces([self.path])
