"""The programs the lab needs from the distribution, and the Debian packages that have them."""

import os
import shutil
from pathlib import Path

from tests.lab.errors import LabError

NETWORK = {"ip": "iproute2", "ss": "iproute2", "nft": "nftables", "nsenter": "util-linux", "sysctl": "procps"}
CONTROL_PLANE = {"openssl": "openssl"}
NODE = {
    "busybox": "busybox-static",
    "containerd": "containerd",
    "curl": "curl",
    "iptables": "iptables",
    "runc": "runc",
}
CNI_PACKAGE = "containernetworking-plugins"
CNI_DIRECTORIES = (Path("/usr/lib/cni"), Path("/opt/cni/bin"))  # Debian's, everybody else's
# A user's own shell may lack the administrator's directories.
SEARCH_PATH = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"))


def packages() -> list[str]:
    """Return the Debian packages of all programs that the lab runs."""
    return sorted({*NETWORK.values(), *CONTROL_PLANE.values(), *NODE.values(), CNI_PACKAGE})


def find(program: str) -> str:
    """Return the path of a program of the distribution.

    Raises:
        LabError: it is not installed.
    """
    if path := shutil.which(program, path=SEARCH_PATH):
        return path
    package = (NETWORK | CONTROL_PLANE | NODE).get(program, program)
    raise LabError(f"{program} is not installed: run `tools/apt-install {package}`")


def find_cni() -> Path:
    """Return the directory of the CNI plugins.

    Raises:
        LabError: there is none.
    """
    for directory in CNI_DIRECTORIES:
        if (directory / "bridge").exists():
            return directory
    raise LabError(f"no CNI plugins in {' or '.join(map(str, CNI_DIRECTORIES))}: run `tools/apt-install {CNI_PACKAGE}`")


def require(*groups: dict[str, str]) -> None:
    """Check that this process may run a lab and that all programs of these groups are installed.

    Raises:
        LabError: not root, or programs are missing; names every package to install.
    """
    if os.geteuid() != 0:
        raise LabError("the lab makes network namespaces and cgroups: run it as root")
    needed = {program: package for group in groups for program, package in group.items()}
    missing = {package for program, package in needed.items() if not shutil.which(program, path=SEARCH_PATH)}
    if missing:
        raise LabError(f"programs are missing: run `tools/apt-install {' '.join(sorted(missing))}`")
