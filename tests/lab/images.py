"""The images that every node has: that of pods' sandboxes, and one with curl to look at routes from inside a pod."""

import re
from pathlib import Path

from tests.lab import programs
from tests.lab.commands import run
from tests.lab.image import Image

PAUSE = "docker.io/library/pause:lab"
CURL = "docker.io/curlimages/curl:7.80.0"  # the name in examples/curl-test.yaml

_FOREVER = str(2**31 - 1)  # seconds


def pause() -> Image:
    """The image that keeps a pod's namespaces open."""
    busybox = Path(programs.find("busybox"))
    return Image(PAUSE, ["/bin/busybox", "sleep", _FOREVER], {"/bin/busybox": busybox})


def curl() -> Image:
    """This machine's curl with its libraries, `sleep` and a shell. Like the original, it runs curl on its arguments."""
    program = Path(programs.find("curl"))
    libraries = re.findall(r"(/\S+) \(0x", run(["ldd", program]).stdout)
    files: dict[str, Path | bytes] = {
        "/usr/bin/curl": program,
        "/bin/busybox": Path(programs.find("busybox")),
        "/etc/nsswitch.conf": b"hosts: files dns\n",
        **{library: Path(library) for library in libraries},
    }
    return Image(CURL, ["/usr/bin/curl"], files, links={"/bin/sleep": "busybox", "/bin/sh": "busybox"})
