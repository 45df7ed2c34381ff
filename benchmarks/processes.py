"""Memory and processor time of processes."""

import re
from pathlib import Path
from typing import NamedTuple


class Memory(NamedTuple):
    """Memory of a process, in MiB.

    Attributes:
        resident: all of it that is in memory (RSS).
        own: the part that no other process shares (USS).
    """

    resident: float
    own: float


def memory(pid: int) -> Memory:
    """Return the current memory of a process."""
    return parse_smaps(Path(f"/proc/{pid}/smaps_rollup").read_text())


def parse_smaps(text: str) -> Memory:
    """Read the kernel's account of a process's memory."""
    values = {name: int(kilobytes) / 1024 for name, kilobytes in re.findall(r"^(\w+): +(\d+) kB$", text, re.MULTILINE)}
    return Memory(values["Rss"], values["Private_Clean"] + values["Private_Dirty"])


def highest(pid: int) -> float:
    """Return the peak memory of a process (RSS) in MiB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024


def processor_time(pid: int) -> float:
    """Return the seconds that all threads of a process have used."""
    tasks = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(each.read_text().split()[0]) for each in tasks) / 1e9
