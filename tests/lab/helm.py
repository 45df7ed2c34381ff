"""Helm, built from source as a Go module and kept in the cache."""

import tempfile
from pathlib import Path

from tests.lab import directories
from tests.lab.binaries import locked
from tests.lab.go import Go

VERSION = "v4.3.1"

_MODULE = "helm.sh/helm/v4"
_GO = "1.26"  # from 1.17 on only what is needed of the requirements of requirements is looked at


def program() -> Path:
    """The path of helm; builds it the first time, which takes minutes.

    Raises:
        LabError: there is no Go, or the build failed; with the compiler's words.
    """
    built = directories.cache() / f"helm-{VERSION}"
    with locked(built.parent / f"{built.name}.lock"):
        if not built.exists():
            with tempfile.TemporaryDirectory(prefix="helm-", dir=built.parent) as workspace:
                module = Path(workspace)
                (module / "go.mod").write_text(f"module lab\n\ngo {_GO}\n\nrequire {_MODULE} {VERSION}\n")
                program = module / "helm"
                package = f"{_MODULE}/cmd/helm"
                Go.find().run("build", "-trimpath", "-ldflags", "-s -w", "-o", program, package, directory=module)
                # Renamed when complete: an interrupted build is never taken for a finished one.
                program.rename(built)
    return built
