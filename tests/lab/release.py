"""The operator as users get it: the image that `make image-tar` built of this tree, and the release manifest."""

import json
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path

from static_route_operator import __version__
from tests.lab.cluster import Cluster
from tests.lab.errors import LabError

NAMESPACE = "static-routes"
_ROOT = Path(__file__).resolve().parents[2]
_SOURCES = (
    "Dockerfile",
    "pyproject.toml",
    "requirements/agent.lock",
    "requirements/build.lock",
    "static_route_operator/**/*.py",
)
_IMAGE = re.compile(r"^\s*(?:- )?image: *\"?([^\s\"]+)", re.MULTILINE)


def manifest() -> Path:
    """Return the newest release manifest.

    Raises:
        LabError: there is none.
    """
    if found := sorted(_ROOT.glob("releases/v*/*.yaml"), key=lambda path: path.stat().st_mtime):
        return found[-1]
    raise LabError(f"no release manifest in {_ROOT / 'releases'}: run `make generate`")


def image_archive() -> Path:
    """Return the docker-archive of the operator's image.

    Raises:
        LabError: it is not built, is older than its sources, or has another name than the manifest's image.
    """
    archive = _ROOT / f"dist/k8s-staticroute-operator-v{__version__}.tar"
    build = "run `make image-tar`"
    if not archive.exists():
        raise LabError(f"{archive} is not there: {build}")
    built = archive.stat().st_mtime
    if newer := [path for path in _sources() if path.stat().st_mtime > built]:
        raise LabError(f"{archive} is older than {newer[0]}: {build}")
    names = _names(archive)
    match = _IMAGE.search(manifest().read_text())
    if not match or match.group(1) not in names:
        raise LabError(f"{archive} holds {' '.join(names)}, not the image of {manifest()}: {build}")
    return archive


def install(cluster: Cluster) -> None:
    """Load the image into all nodes, apply the manifest and wait until the operator is ready.

    Raises:
        LabError: one of these failed.
    """
    cluster.load_image(image_archive())
    cluster.kubectl("apply", "-f", manifest())
    for kind in ("daemonset", "deployment"):
        names = cluster.kubectl("get", kind, "-n", NAMESPACE, "-o", "name").split()
        for name in names:
            cluster.kubectl("rollout", "status", name, "-n", NAMESPACE, "--timeout=100s")


def _sources() -> Iterator[Path]:
    for pattern in _SOURCES:
        yield from _ROOT.glob(pattern)


def _names(archive: Path) -> list[str]:
    """Return the names, with their tags, of the image in a docker-archive."""
    with tarfile.open(archive) as tar:
        content = tar.extractfile("manifest.json")
        return [name for image in json.load(content) for name in image["RepoTags"]] if content else []
