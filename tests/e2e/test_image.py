"""The operator's image: what is in it, and nothing else."""

import json
import re
import stat
import tarfile
from pathlib import Path, PurePosixPath

import pytest

from tests.e2e.conftest import ROOT

# Programs that build, fetch or unpack others, and so help intruders.
TOOLS = {
    *("cc", "c++", "gcc", "g++", "clang", "ld", "as", "make", "cmake", "go", "cargo", "rustc"),
    *("pip", "pip3", "uv", "git", "curl", "wget", "gdb", "strace"),
}
# Caches and lists that a build leaves behind.
LEFTOVERS = ("root/.cache/", "var/lib/apt/lists/", "var/cache/apt/archives/", "src/", "opt/build/", "run/secrets/")


@pytest.fixture(scope="module")
def files(image: Path) -> dict[str, tarfile.TarInfo]:
    """All files of the image by path, its layers on top of each other."""
    found: dict[str, tarfile.TarInfo] = {}
    with tarfile.open(image) as archive:
        manifest = archive.extractfile("manifest.json")
        assert manifest is not None
        for layer in json.load(manifest)[0]["Layers"]:
            with tarfile.open(fileobj=archive.extractfile(layer)) as content:
                for entry in content:
                    path = PurePosixPath(entry.name)
                    if path.name.startswith(".wh."):
                        gone = str(path.with_name(path.name.removeprefix(".wh.")))
                        found = {name: each for name, each in found.items() if not f"{name}/".startswith(f"{gone}/")}
                    else:
                        found[str(path)] = entry
    assert any(name.endswith("static_route_operator/agent/main.py") for name in found)
    return found


def test_no_tool_is_in_it(files: dict[str, tarfile.TarInfo]) -> None:
    """No compiler, installer or downloader is in the image, nor pip as a module."""
    programs = {name for name, entry in files.items() if entry.isfile() or entry.issym()}
    tools = {name for name in programs if re.match(r"(usr/(local/)?|opt/venv/)?s?bin/", name) and _plain(name) in TOOLS}
    modules = {name for name in files if re.search(r"-packages/(pip|setuptools|wheel|hatchling)(/|-|$)", name)}

    assert tools | modules == set()


def _plain(name: str) -> str:
    """The name of a program without target and version, as in ``x86_64-linux-gnu-gcc-14``."""
    return re.sub(r"^[a-z0-9_]+-linux-gnu-|-?[0-9.]+$", "", Path(name).name)


def test_no_leftover_of_the_build_is_in_it(files: dict[str, tarfile.TarInfo]) -> None:
    """No cache, package list, source or secret of the build is in the image."""
    assert [name for name, entry in files.items() if entry.isfile() and name.startswith(LEFTOVERS)] == []


def test_nothing_can_be_written_or_raises_rights(files: dict[str, tarfile.TarInfo]) -> None:
    """Nobody but root can write a file of the image, all programs are root's, and none lends its owner's rights."""
    plain = {name: entry for name, entry in files.items() if entry.isfile()}

    assert [name for name, entry in plain.items() if entry.mode & (stat.S_IWGRP | stat.S_IWOTH)] == []
    assert [name for name, entry in plain.items() if entry.mode & (stat.S_ISUID | stat.S_ISGID)] == []
    assert [name for name, entry in plain.items() if name.startswith(("opt/", "usr/")) and entry.uid != 0] == []


def test_packages_are_those_of_the_lock(files: dict[str, tarfile.TarInfo]) -> None:
    """The program's environment has just the locked packages, in their versions: what `make sbom` tells of."""
    lines = [line for line in (ROOT / "requirements/image.lock").read_text().splitlines() if "win32" not in line]
    pinned = {_normal(match[1]): match[2] for line in lines if (match := re.match(r"([\w.-]+)==([^ ;]+)", line))}
    place = re.compile(r"opt/venv/lib/python[\d.]+/site-packages/([^/]+)-([^/-]+)\.dist-info")
    found = {_normal(match[1]): match[2] for name in files if (match := place.fullmatch(name))}

    assert found.pop("static-route-operator")
    assert found == pinned


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
