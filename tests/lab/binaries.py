"""The programs that no distribution has in the version wanted: Kubernetes, etcd and Helm, built from their Go modules.

`make` builds them before the first test starts, and keeps them in the cache. Nothing that starts a cluster builds: a
missing program is an error that names the target.
"""

import contextlib
import fcntl
import json
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.lab import directories, versions
from tests.lab.errors import LabError
from tests.lab.go import Go

API_SERVER = "kube-apiserver"

_KUBERNETES = "k8s.io/kubernetes"
_KUBERNETES_PROGRAMS = (API_SERVER, "kube-controller-manager", "kube-scheduler", "kubelet", "kubectl")
_VERSION_PACKAGES = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
_ETCD = "go.etcd.io/etcd/server/v3"
_HELM = "helm.sh/helm/v4"
# The Go version of a module of our own. From 1.17 on, Go skips the requirements that no imported package needs.
_GO = "1.26"

WriteModule = Callable[[Go], str]


@dataclass(frozen=True)
class Build:
    """Programs of one Go module, kept in one directory of the cache."""

    title: str
    directory: Path
    """The directory of the finished programs."""
    packages: Mapping[str, str]
    """The Go package of each program."""
    module: WriteModule
    """Returns the go.mod that the packages are built with."""
    target: str
    """The make target that builds the programs."""
    cost: str
    """The time and the disk that the build takes, in words."""
    linker_flags: str = "-s -w"

    def require(self) -> Path:
        """Return the directory of the programs.

        Raises:
            LabError: one is not built.
        """
        if missing := self._missing():
            raise LabError(f"{self.title} is not built, {', '.join(missing)} missing: run `make {self.target}`")
        return self.directory

    def run(self) -> None:
        """Build the programs that are not there.

        An interrupted build continues from the programs that are finished and from Go's caches of the build.

        Raises:
            LabError: there is no Go, or the build failed; with the compiler's words.
        """
        self.directory.parent.mkdir(parents=True, exist_ok=True)
        with _locked(self.directory.with_name(f"{self.directory.name}.lock")):
            if not self._missing():
                return
            _say(f"Building {self.title}: {self.cost}. An interrupted build continues where it stopped.")
            started = time.monotonic()
            workspace = self.directory.with_name(f"{self.directory.name}.build")
            workspace.mkdir(exist_ok=True)
            # A killed compiler leaves its unfinished work; its finished packages are in the cache.
            for leftover in workspace.glob("go-build[0-9]*"):
                shutil.rmtree(leftover)
            self._build(Go.find(workspace), workspace)
            # Gigabytes that only an unfinished build needs.
            shutil.rmtree(workspace)
            _say(f"{self.title} is built after {time.monotonic() - started:.0f} s.")

    def _missing(self) -> list[str]:
        return [program for program in self.packages if not (self.directory / program).exists()]

    def _build(self, go: Go, workspace: Path) -> None:
        (workspace / "go.mod").write_text(self.module(go))
        self.directory.mkdir(exist_ok=True)
        for program in self._missing():
            started = time.monotonic()
            unfinished = workspace / program
            go.run("build", "-trimpath", "-ldflags", self.linker_flags, "-o", unfinished, self.packages[program])
            # Renamed when complete: an interrupted build is never taken for a finished one.
            unfinished.rename(self.directory / program)
            _say(f"  {program}: {time.monotonic() - started:.0f} s")


def kubernetes(version: str = versions.KUBERNETES) -> Build:
    """Return the build of a whole Kubernetes."""
    return _kubernetes(
        version, _KUBERNETES_PROGRAMS, "kubernetes", "about 10 minutes on 2 cores, 5 GB of disk meanwhile, 0.5 GB after"
    )


def api_server(version: str) -> Build:
    """Return the build of the API server of a Kubernetes version, alone."""
    return _kubernetes(
        version, (API_SERVER,), "api-servers", "about 4 minutes on 2 cores, 4 GB of disk meanwhile, 0.1 GB after"
    )


def etcd() -> Build:
    """Return the build of etcd."""
    cost = "about 1 minute on 2 cores, 1 GB of disk meanwhile"
    return _single("etcd", versions.ETCD, _ETCD, _ETCD, target="kubernetes", cost=cost)


def helm() -> Build:
    """Return the build of Helm."""
    cost = "about 3 minutes on 2 cores, 2 GB of disk meanwhile, 0.1 GB after"
    return _single("helm", versions.HELM, _HELM, f"{_HELM}/cmd/helm", target="helm", cost=cost)


def _single(program: str, version: str, module: str, package: str, *, target: str, cost: str) -> Build:
    """Return the build of a module's one program."""
    requirement = f"module lab\n\ngo {_GO}\n\nrequire {module} {version}\n"
    return Build(
        title=f"{program} {version}",
        directory=directories.cache() / f"{program}-{version}",
        packages={program: package},
        module=lambda _: requirement,
        target=target,
        cost=cost,
    )


def _kubernetes(version: str, programs: tuple[str, ...], target: str, cost: str) -> Build:
    return Build(
        title=f"Kubernetes {version}",
        directory=directories.cache() / f"kubernetes-{version}",
        packages={program: f"{_KUBERNETES}/cmd/{program}" for program in programs},
        module=lambda go: _kubernetes_module(go, version),
        target=target,
        cost=cost,
        linker_flags=_linker_flags(version),
    )


def _kubernetes_module(go: Go, version: str) -> str:
    """Return a go.mod that can build Kubernetes' commands.

    Kubernetes' own names its staging modules by paths in its repository; published, they have versions of their own:
    v0.37.2 for v1.37.2.
    """
    download = json.loads(go.run("mod", "download", "-json", f"{_KUBERNETES}@{version}"))
    module = json.loads(go.run("mod", "edit", "-json", download["GoMod"]))
    staging_version = f"v0.{version.removeprefix('v1.')}"
    staging = [each["Old"]["Path"] for each in module["Replace"] if each["New"]["Path"].startswith("./staging/")]
    lines = ["module lab", f"go {module['Go']}", f"require {_KUBERNETES} {version}"]
    lines += [f"replace {path} => {path} {staging_version}" for path in staging]
    return "\n".join(lines)


def _linker_flags(version: str) -> str:
    """Return flags that leave out debug information and put in the version, which clients and servers compare."""
    major, minor, _ = version.removeprefix("v").split(".")
    values = {"gitVersion": version, "gitMajor": major, "gitMinor": minor}
    settings = [f"-X {package}.{name}={value}" for package in _VERSION_PACKAGES for name, value in values.items()]
    return " ".join(["-s", "-w", *settings])


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a lock between processes: two builds of the same programs would write over each other."""
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _say(f"Waiting for another build, which holds {path}")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
