"""The choice of a snapshotter of containerd that works on this machine."""

import tempfile
from pathlib import Path

from tests.lab import programs
from tests.lab.commands import Argument, run


def choose(directory: Path) -> str:
    """Return the best snapshotter for images kept below a directory.

    overlayfs gives a container its image at once. Where it can't be mounted, as on the overlay of a container that the
    lab itself is in, there is native, which copies the whole image for each.
    """
    with tempfile.TemporaryDirectory(dir=directory) as scratch:
        lower, upper, work, merged = (Path(scratch) / name for name in ("lower", "upper", "work", "merged"))
        for each in (lower, upper, work, merged):
            each.mkdir()
        options = f"lowerdir={lower},upperdir={upper},workdir={work}"
        mount: list[Argument] = ["mount", "-t", "overlay", "overlay", "-o", options, merged]
        # In a mount namespace that ends with the command, and the mount with it.
        trial = run([programs.find("unshare"), "--mount", "--propagation=private", "--", *mount], check=False)
    return "overlayfs" if trial.returncode == 0 else "native"
