"""The operator as users get it: its image built from this tree, and the release manifest."""

import re
import tempfile
from pathlib import Path

from tests.lab.cluster import Cluster
from tests.lab.commands import run
from tests.lab.errors import LabError

NAMESPACE = "static-routes"
_ROOT = Path(__file__).resolve().parents[2]
_BUILD_TIMEOUT = 1800.0  # seconds; the first time it may have to make the base image
_IMAGE = re.compile(r"^\s*(?:- )?image: *\"?([^\s\"]+)", re.MULTILINE)


def manifest() -> Path:
    """The newest release manifest.

    Raises:
        LabError: there is none.
    """
    if found := sorted(_ROOT.glob("releases/v*/*.yaml"), key=lambda path: path.stat().st_mtime):
        return found[-1]
    raise LabError(f"no release manifest in {_ROOT / 'releases'}: run `make generate`")


def build_image(archive: Path) -> Path:
    """Build the image that the manifest names, write it as a docker-archive and return the archive's path.

    Raises:
        LabError: the build failed; with the builder's words.
    """
    match = _IMAGE.search(manifest().read_text())
    if not match:
        raise LabError(f"{manifest()} names no image")
    image = match.group(1)
    run([_ROOT / "tools" / "image", image], timeout=_BUILD_TIMEOUT)
    run([_ROOT / "tools" / "image-tar", image, archive], timeout=_BUILD_TIMEOUT)
    return archive


def install(cluster: Cluster) -> None:
    """Build the image, load it into all nodes, apply the manifest and wait until the operator is ready.

    Raises:
        LabError: one of these failed.
    """
    with tempfile.TemporaryDirectory() as directory:
        cluster.load_image(build_image(Path(directory) / "operator.tar"))
    cluster.kubectl("apply", "-f", manifest())
    for kind in ("daemonset", "deployment"):
        names = cluster.kubectl("get", kind, "-n", NAMESPACE, "-o", "name").split()
        for name in names:
            cluster.kubectl("rollout", "status", name, "-n", NAMESPACE, "--timeout=100s")
