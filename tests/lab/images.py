"""The images that every node has: that of pods' sandboxes, and one with curl to look at routes from inside a pod."""

import re
from pathlib import Path

from tests.lab import programs
from tests.lab.commands import run
from tests.lab.image import Image
from tests.lab.network import EXAMPLE_SITES

PAUSE = "docker.io/library/pause:lab"
CURL = "docker.io/curlimages/curl:7.80.0"  # the name in examples/curl-test.yaml

_FOREVER = str(2**31 - 1)  # seconds


def pause() -> Image:
    """Return the image that keeps a pod's namespaces open."""
    busybox = Path(programs.find("busybox"))
    return Image(PAUSE, ["/bin/busybox", "sleep", _FOREVER], {"/bin/busybox": busybox})


def curl() -> Image:
    """Return the image with this machine's curl and its libraries, `sleep` and a shell; it runs curl on its arguments.

    The lab has no DNS: this curl knows the sites of the examples by itself.
    """
    program = Path(programs.find("curl"))
    libraries = re.findall(r"(/\S+) \(0x", run(["ldd", program]).stdout)
    files: dict[str, Path | bytes] = {
        "/usr/bin/curl": program,
        "/bin/busybox": Path(programs.find("busybox")),
        "/etc/nsswitch.conf": b"hosts: files dns\n",
        "/etc/curl/.curlrc": "".join(f"resolve = {name}:80:{site}\n" for name, site in EXAMPLE_SITES.items()).encode(),
        **{library: Path(library) for library in libraries},
    }
    links = {"/bin/sleep": "busybox", "/bin/sh": "busybox"}
    return Image(CURL, ["/usr/bin/curl"], files, environment={"CURL_HOME": "/etc/curl"}, links=links)
