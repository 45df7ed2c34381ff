"""The programs of Kubernetes and etcd, built from source as Go modules: one public proxy has them all, in any version.

Minutes the first time, then nothing: they are kept in the cache.
"""

import contextlib
import fcntl
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.lab import directories
from tests.lab.go import Go

KUBERNETES_VERSION = os.environ.get("KUBE_VERSION") or "v1.37.2"

_KUBERNETES = "k8s.io/kubernetes"
_PROGRAMS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kubectl")
_VERSION_PACKAGES = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
_ETCD = "go.etcd.io/etcd/server/v3"
_ETCD_VERSION = "v3.7.3"
_ETCD_VERSIONS = {"v1.34": "v3.6.15"}  # of older Kubernetes releases
_ETCD_MAIN = f"""\
package main

import (
	"os"

	"{_ETCD}/etcdmain"
)

func main() {{ etcdmain.Main(os.Args) }}
"""


def directory(version: str = KUBERNETES_VERSION) -> Path:
    """The directory of etcd and the programs of one Kubernetes version, once built."""
    return directories.cache() / f"kubernetes-{version}"


def build(version: str = KUBERNETES_VERSION) -> None:
    """Build them, unless they are there.

    Raises:
        LabError: there is no Go, or the build failed; with the compiler's words.
    """
    built = directory(version)
    built.parent.mkdir(parents=True, exist_ok=True)
    with locked(built.parent / f"{built.name}.lock"):
        if not built.exists():
            print(f"building Kubernetes {version}: minutes, once", file=sys.stderr)
            # Renamed when complete: an interrupted build is never taken for a finished one.
            with tempfile.TemporaryDirectory(prefix=f"{built.name}-", dir=built.parent) as workspace:
                _build(version, Path(workspace)).rename(built)


def _build(version: str, workspace: Path) -> Path:
    """Build everything in a workspace and return the directory of the programs."""
    go = Go.find()
    target = workspace / "bin"
    kubernetes, etcd = workspace / "kubernetes", workspace / "etcd"
    for each in (target, kubernetes, etcd):
        each.mkdir()
    (kubernetes / "go.mod").write_text(_kubernetes_module(go, version, workspace))
    commands = [f"{_KUBERNETES}/cmd/{program}" for program in _PROGRAMS]
    go.run(
        "build", "-trimpath", "-ldflags", _linker_flags(version), "-o", f"{target}/", *commands, directory=kubernetes
    )
    etcd_version = _ETCD_VERSIONS.get(version.rpartition(".")[0], _ETCD_VERSION)
    (etcd / "go.mod").write_text(f"module etcd\n\nrequire {_ETCD} {etcd_version}\n")
    (etcd / "main.go").write_text(_ETCD_MAIN)
    go.run("build", "-trimpath", "-ldflags", "-s -w", "-o", target / "etcd", directory=etcd)
    return target


def _kubernetes_module(go: Go, version: str, workspace: Path) -> str:
    """A go.mod that can build Kubernetes' commands.

    Kubernetes' own names its staging modules by paths in its repository; published, they have versions of their own:
    v0.37.2 for v1.37.2.
    """
    download = json.loads(go.run("mod", "download", "-json", f"{_KUBERNETES}@{version}", directory=workspace))
    module = json.loads(go.run("mod", "edit", "-json", download["GoMod"], directory=workspace))
    staging_version = f"v0.{version.removeprefix('v1.')}"
    staging = [each["Old"]["Path"] for each in module["Replace"] if each["New"]["Path"].startswith("./staging/")]
    lines = ["module lab", f"go {module['Go']}", f"require {_KUBERNETES} {version}"]
    lines += [f"replace {path} => {path} {staging_version}" for path in staging]
    return "\n".join(lines)


def _linker_flags(version: str) -> str:
    """Flags that leave out debug information and put in the version, which clients and servers compare."""
    major, minor, _ = version.removeprefix("v").split(".")
    values = {"gitVersion": version, "gitMajor": major, "gitMinor": minor}
    settings = [f"-X {package}.{name}={value}" for package in _VERSION_PACKAGES for name, value in values.items()]
    return " ".join(["-s", "-w", *settings])


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock between processes, so that labs that start together build once."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
