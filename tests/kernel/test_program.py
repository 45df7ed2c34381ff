"""The standalone program as users run it: exit codes, words, files, signals, and death at any moment."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from static_route_operator.kernel.fib import Fib
from static_route_operator.routing.prefixes import pack_address
from tests.kernel.machine import Machine, wait_until
from tests.kernel.program import Program, call, command, running
from tests.unit.builders import manifest


class Manifests:
    """A directory of manifests."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def write(self, name: str, *objects: dict[str, Any]) -> Path:
        """Write a file as editors do: beside it, then renamed into its place."""
        file = self.directory / name
        aside = self.directory / f".{name}.new"
        aside.write_text(yaml.dump_all(objects, Dumper=getattr(yaml, "CSafeDumper", yaml.SafeDumper)))
        return aside.rename(file)


@pytest.fixture
def manifests(tmp_path: Path) -> Manifests:
    """An empty directory of manifests."""
    directory = tmp_path / "manifests"
    directory.mkdir()
    return Manifests(directory)


def _once(manifests: Manifests, *arguments: str) -> tuple[int, str, str]:
    done = call("run", "--manifests", str(manifests.directory), "--once", *arguments)
    return done.returncode, done.stdout, done.stderr


def _routes_are(machine: Machine, expected: dict[str, str]) -> None:
    wait_until(lambda: machine.routes() == expected, f"routes are {expected}")


@pytest.fixture
def program(machine: Machine, manifests: Manifests, tmp_path: Path) -> Iterator[Program]:
    """The program at work on the directory, with one object programmed."""
    manifests.write("nat.yaml", manifest())
    with running(manifests.directory, tmp_path / "log") as program:
        program.says("StaticRoute nat: Programmed: 1 of 1 destinations via 10.0.0.1")
        yield program


def test_once_makes_the_routes_and_says_so(machine: Machine, manifests: Manifests) -> None:
    """`run --once` programs everything, shows it, and ends with 0; a second run changes nothing."""
    manifests.write("a.yaml", manifest("nat"), manifest("v6", "fd00::1", ["2001:db8::/32"]))

    for _ in range(2):
        code, output, errors = _once(manifests)
        assert (code, machine.routes()) == (
            0,
            {"192.0.2.1/32": "10.0.0.1 eth0", "2001:db8::/32": "fd00::1 eth0"},
        ), errors
        assert output == (
            "DESTINATION     GATEWAY    INTERFACE   STATICROUTE\n"
            "192.0.2.1/32    10.0.0.1   eth0        nat\n"
            "2001:db8::/32   fd00::1    eth0        v6\n"
            "\n"
            "STATICROUTE   GATEWAY    ROUTES   STATE        MESSAGE\n"
            "nat           10.0.0.1   1/1      Programmed   -\n"
            "v6            fd00::1    1/1      Programmed   -\n"
        )


def test_once_tells_of_a_conflict(machine: Machine, manifests: Manifests) -> None:
    """`run --once` with a foreign route in the way programs the rest, names the holder, and ends with 1."""
    machine.ip("route add 192.0.2.1 via 10.0.0.3 proto static")
    manifests.write("a.yaml", manifest(destinations=["192.0.2.1", "192.0.2.2"]))

    code, output, _ = _once(manifests)

    assert (code, machine.routes()) == (1, {"192.0.2.2/32": "10.0.0.1 eth0"})
    assert machine.routes("static") == {"192.0.2.1/32": "10.0.0.3 eth0"}
    assert "1/2      Conflict   another program's route holds 192.0.2.1/32 (via 10.0.0.3 proto static)" in output


def test_once_removes_what_is_not_wanted(machine: Machine, manifests: Manifests) -> None:
    """An empty directory and `--once` remove all our routes, and no other."""
    machine.ip("route add 192.0.2.1 via 10.0.0.1 proto 245", "route add 192.0.2.2 via 10.0.0.1 proto static")

    assert _once(manifests)[:2] == (0, "No routes.\n")
    assert (machine.routes(), machine.routes("static")) == ({}, {"192.0.2.2/32": "10.0.0.1 eth0"})


def test_once_with_a_broken_file_removes_nothing(machine: Machine, manifests: Manifests) -> None:
    """A file that can't be read holds up removals, not the other files; it is named, and the code is 1."""
    machine.ip("route add 192.0.2.9 via 10.0.0.1 proto 245")
    manifests.write("a.yaml", manifest())
    (manifests.directory / "broken.yaml").write_text("spec: [")

    code, output, errors = _once(manifests)

    assert (code, machine.routes()) == (1, {"192.0.2.1/32": "10.0.0.1 eth0", "192.0.2.9/32": "10.0.0.1 eth0"})
    assert output.startswith("# this node has no complete list of StaticRoutes yet, and removes no routes until then\n")
    assert "192.0.2.9/32   10.0.0.1   eth0        -\n" in output
    assert f"{manifests.directory / 'broken.yaml'}: is not valid YAML" in errors


def test_once_without_the_capability_says_what_the_kernel_says(machine: Machine, manifests: Manifests) -> None:
    """Without CAP_NET_ADMIN nothing is programmed, and the kernel's own words are shown, in small buffers too."""
    destinations = [f"198.18.{each >> 8}.{each & 255}" for each in range(2000)]
    manifests.write("a.yaml", manifest(destinations=destinations))
    without = ["setpriv", "--inh-caps=-net_admin", "--bounding-set=-net_admin", "--"]

    done = call("run", "--manifests", str(manifests.directory), "--once", prefix=without)

    assert (done.returncode, machine.routes()) == (1, {})
    assert "the kernel refused 198.18.0.0/32 and 1999 more: Operation not permitted; it is tried again" in done.stdout


def test_mounted_config_map_is_watched(machine: Machine, manifests: Manifests, tmp_path: Path) -> None:
    """Files that are links into a directory behind another link, which is swapped, as in a ConfigMap's mount."""
    for version, gateway in ((1, "10.0.0.1"), (2, "10.1.0.1")):
        (manifests.directory / f"..{version}").mkdir()
        (manifests.directory / f"..{version}" / "nat.yaml").write_text(yaml.safe_dump(manifest("nat", gateway)))
    (manifests.directory / "..data").symlink_to("..1")
    (manifests.directory / "nat.yaml").symlink_to("..data/nat.yaml")
    with running(manifests.directory, tmp_path / "log"):
        _routes_are(machine, {"192.0.2.1/32": "10.0.0.1 eth0"})
        (manifests.directory / "..data_tmp").symlink_to("..2")
        (manifests.directory / "..data_tmp").rename(manifests.directory / "..data")
        _routes_are(machine, {"192.0.2.1/32": "10.1.0.1 eth1"})


def _switch(link: Path, target: str) -> None:
    aside = link.with_name("aside")
    aside.symlink_to(target)
    aside.rename(link)


def _release(parent: Path, name: str, gateway: str) -> Path:
    directory = parent / name
    directory.mkdir(parents=True)
    (directory / "nat.yaml").write_text(yaml.safe_dump(manifest("nat", gateway)))
    return directory


@pytest.mark.parametrize("below", ["", "config/routes"])
def test_release_that_a_link_selects_is_followed(machine: Machine, tmp_path: Path, below: str) -> None:
    """The link in the path of the manifests is switched, at any level, as deploy tools do it."""
    _release(tmp_path, f"1/{below}", "10.0.0.1")
    _release(tmp_path, f"2/{below}", "10.1.0.1")
    _switch(tmp_path / "current", "1")
    with running(tmp_path / "current" / below, tmp_path / "log"):
        _routes_are(machine, {"192.0.2.1/32": "10.0.0.1 eth0"})
        for target, expected in (("2", "10.1.0.1 eth1"), ("1", "10.0.0.1 eth0"), ("2", "10.1.0.1 eth1")):
            _switch(tmp_path / "current", target)
            _routes_are(machine, {"192.0.2.1/32": expected})


def test_directory_renamed_over_is_followed(machine: Machine, tmp_path: Path) -> None:
    """The directory moves away and another takes its place."""
    current = _release(tmp_path, "current", "10.0.0.1")
    following = _release(tmp_path, "next", "10.1.0.1")
    with running(current, tmp_path / "log"):
        _routes_are(machine, {"192.0.2.1/32": "10.0.0.1 eth0"})
        current.rename(tmp_path / "old")
        following.rename(current)
        _routes_are(machine, {"192.0.2.1/32": "10.1.0.1 eth1"})
        (current / "nat.yaml").write_text(yaml.safe_dump(manifest("nat", "10.0.0.3")))
        _routes_are(machine, {"192.0.2.1/32": "10.0.0.3 eth0"})


def test_directory_that_is_gone_removes_nothing(machine: Machine, tmp_path: Path) -> None:
    """A directory that is removed, and made again file by file, keeps its routes and is named meanwhile."""
    current = _release(tmp_path, "current", "10.0.0.1")
    with running(current, tmp_path / "log") as program:
        program.says("StaticRoute nat: Programmed")
        wait_until(lambda: _get("/readyz") == (200, "ok\n"), "the program is ready")
        shutil.rmtree(current)
        wait_until(
            lambda: "can't be read: No such file or directory; all routes stay" in _get("/readyz")[1], "it is told"
        )
        assert "static_route_operator_manifest_problems 1.0" in _get("/metrics")[1].splitlines()
        current.mkdir()
        program.says("has no manifest, and is another directory than before; all routes stay as they are")
        assert machine.routes() == {"192.0.2.1/32": "10.0.0.1 eth0"}
        (current / "more.yaml").write_text(yaml.safe_dump(manifest("more", destinations=["192.0.2.2"])))
        _routes_are(machine, {"192.0.2.1/32": "10.0.0.1 eth0", "192.0.2.2/32": "10.0.0.1 eth0"})
        (current / "nat.yaml").write_text(yaml.safe_dump(manifest("nat", "10.1.0.1")))
        _routes_are(machine, {"192.0.2.1/32": "10.1.0.1 eth1", "192.0.2.2/32": "10.0.0.1 eth0"})
        wait_until(lambda: _get("/readyz") == (200, "ok\n"), "the program is ready")
        assert "nat: gone" not in program.log


def test_mount_over_the_directory_is_followed(machine: Machine, tmp_path: Path) -> None:
    """A file system mounted over the directory counts, and what it hides counts again when it goes."""
    current = _release(tmp_path, "current", "10.0.0.1")
    other = _release(tmp_path, "other", "10.1.0.1")
    with running(current, tmp_path / "log"):
        _routes_are(machine, {"192.0.2.1/32": "10.0.0.1 eth0"})
        subprocess.run(["mount", "--bind", other, current], check=True)
        try:
            _routes_are(machine, {"192.0.2.1/32": "10.1.0.1 eth1"})
        finally:
            subprocess.run(["umount", current], check=True)
        _routes_are(machine, {"192.0.2.1/32": "10.0.0.1 eth0"})


def test_target_of_a_link_is_followed(machine: Machine, manifests: Manifests, tmp_path: Path) -> None:
    """A file that is a link into another directory is followed there; a link that leads nowhere keeps its routes."""
    target = _release(tmp_path, "elsewhere", "10.0.0.1") / "nat.yaml"
    (manifests.directory / "nat.yaml").symlink_to(target)
    with running(manifests.directory, tmp_path / "log") as program:
        _routes_are(machine, {"192.0.2.1/32": "10.0.0.1 eth0"})
        target.write_text(yaml.safe_dump(manifest("nat", "10.1.0.1")))
        _routes_are(machine, {"192.0.2.1/32": "10.1.0.1 eth1"})
        target.unlink()
        program.says("nat.yaml: can't be read: No such file or directory; its last good version stays in force")
        assert machine.routes() == {"192.0.2.1/32": "10.1.0.1 eth1"}


def test_no_file_ends_the_program(machine: Machine, manifests: Manifests, program: Program) -> None:
    """Whatever is put into the directory is named, keeps the other files in force, and removes nothing."""
    directory = manifests.directory
    nines = "9" * 5000
    bad = {
        "digits": f"a: {nines}",
        "length": yaml.safe_dump(manifest("length", destinations=[f"192.0.2.9/{nines}"])),
        "label": yaml.safe_dump(
            manifest(
                "label",
                nodeSelector={
                    "nodeSelectorTerms": [{"matchExpressions": [{"key": "a", "operator": "Gt", "values": [nines]}]}]
                },
            )
        ),
        "deep": "[" * 100_000,
        "bomb": "a: &a [x, x]\n" + "".join(f"k{each}: &a [*a, *a]\n" for each in range(60)),
        "tag": "a: !!python/object/apply:os.system [id]",
        "empty": "",
    }
    for name, text in bad.items():
        (directory / f"{name}.yaml").write_text(text)
    (directory / "binary.yaml").write_bytes(bytes(range(256)))
    os.mkfifo(directory / "pipe.yaml")
    (directory / "zero.yaml").symlink_to("/dev/zero")
    (directory / "loop.yaml").symlink_to("loop.yaml")
    for name in (*bad, "binary", "pipe", "zero", "loop"):
        program.says(f"{directory}/{name}.yaml: ")
    manifests.write("nat.yaml", manifest("nat", "10.1.0.1"))
    _routes_are(machine, {"192.0.2.1/32": "10.1.0.1 eth1"})
    assert program.lives
    assert "Traceback" not in program.log
    assert _get("/readyz")[0] == 503
    for name in (*bad, "binary", "pipe", "zero", "loop"):
        (directory / f"{name}.yaml").unlink()
    wait_until(lambda: _get("/readyz") == (200, "ok\n"), "the program is ready")


def test_file_that_became_empty_removes_nothing(machine: Machine, manifests: Manifests, program: Program) -> None:
    """A write that was interrupted keeps the routes; deleting the file, or an empty List, removes them."""
    file = manifests.directory / "nat.yaml"
    file.write_text("")
    program.says("nat.yaml: holds no object; to remove its StaticRoutes delete the file; its last good version stays")
    assert machine.routes() == {"192.0.2.1/32": "10.0.0.1 eth0"}
    file.write_text("kind: List\nitems: []\n")
    _routes_are(machine, {})


def test_empty_directory_is_described(machine: Machine, manifests: Manifests, tmp_path: Path) -> None:
    """Started on an empty directory the program says what it waits for."""
    with running(manifests.directory, tmp_path / "log") as program:
        program.says(
            f"No manifest in {manifests.directory} yet: put files with StaticRoutes there (*.json, *.yaml, *.yml)"
        )
        manifests.write("nat.yaml", manifest())
        _routes_are(machine, {"192.0.2.1/32": "10.0.0.1 eth0"})


def test_broken_file_keeps_its_last_good_version(machine: Machine, manifests: Manifests, program: Program) -> None:
    """A file that breaks while the program runs changes nothing and is named; mended it counts again."""
    (manifests.directory / "nat.yaml").write_text("spec: [")
    program.says("nat.yaml: is not valid YAML")
    program.says("its last good version stays in force")
    manifests.write("more.yaml", manifest("more", destinations=["192.0.2.2"]))
    _routes_are(machine, {"192.0.2.1/32": "10.0.0.1 eth0", "192.0.2.2/32": "10.0.0.1 eth0"})

    manifests.write("nat.yaml", manifest("nat", "10.1.0.1"))
    _routes_are(machine, {"192.0.2.1/32": "10.1.0.1 eth1", "192.0.2.2/32": "10.0.0.1 eth0"})


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_end_keeps_the_routes(machine: Machine, program: Program, signum: signal.Signals) -> None:
    """Asked to end the program ends with 0, leaves its routes, and says how to remove them."""
    assert program.send(signum) == 0
    assert machine.routes() == {"192.0.2.1/32": "10.0.0.1 eth0"}
    assert "Stopped; 1 routes stay in the kernel. To remove them: empty" in program.log
    assert "`ip route flush proto 245`" in program.log
    assert "Traceback" not in program.log


def _get(path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:9245{path}", timeout=20) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_program_is_not_ready_before_all_is_known(machine: Machine, manifests: Manifests, tmp_path: Path) -> None:
    """With a file that was never good the program works, but does not call itself ready."""
    (manifests.directory / "broken.yaml").write_text("spec: [")
    manifests.write("nat.yaml", manifest())
    with running(manifests.directory, tmp_path / "log") as program:
        program.says("StaticRoute nat: Programmed")
        assert _get("/healthz")[0] == 200
        assert _get("/readyz")[0] == 503

        (manifests.directory / "broken.yaml").unlink()
        wait_until(lambda: _get("/readyz")[0] == 200, "the program is ready")


def test_taken_port_is_told_in_one_line(machine: Machine, manifests: Manifests) -> None:
    """A program whose port another program has ends at once with 1 and says which setting to change."""
    with socket.create_server(("127.0.0.1", 9245)):
        done = call("run", "--manifests", str(manifests.directory))

    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "--http-port" in done.stderr
    assert "9245" in done.stderr


def _ps(program: Program) -> str:
    return f"pid {program.pid}, `run --manifests "


def test_second_program_refuses_to_start(
    machine: Machine, manifests: Manifests, program: Program, tmp_path: Path
) -> None:
    """One engine keeps the routes of a host: a second one changes nothing, names the first, and ends with 1."""
    other = tmp_path / "other"
    other.mkdir()
    done = call("run", "--manifests", str(other), "--once")

    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith(
        f"error: another engine keeps the routes of this host: {_ps(program)}"
    )
    assert machine.routes() == {"192.0.2.1/32": "10.0.0.1 eth0"}


def test_second_program_in_a_container_is_refused_too(machine: Machine, manifests: Manifests, program: Program) -> None:
    """Neither another PID namespace nor another root hides the first program: both have the same routes."""
    done = call(
        *("run", "--manifests", str(manifests.directory), "--http-port", "0"),
        prefix=["unshare", "--pid", "--fork", "--mount", "--mount-proc", "--uts", "--ipc", "--cgroup"],
    )

    assert done.returncode == 1
    assert (
        "another engine keeps the routes of this host: a process of another container, `run --manifests" in done.stderr
    )


def test_next_program_waits_for_the_end_of_the_last(
    machine: Machine, manifests: Manifests, program: Program, tmp_path: Path
) -> None:
    """A restart within seconds waits for the process that still ends, whether it ends or is killed."""
    with running(manifests.directory, tmp_path / "second", "--http-port", "0") as second:
        second.says("waiting for its end")
        manifests.write("nat.yaml", manifest("nat", "10.1.0.1"))
        program.says("StaticRoute nat: Programmed: 1 of 1 destinations via 10.1.0.1")
        program.kill()
        second.says("The other engine has ended")
        second.says("StaticRoute nat: Programmed: 1 of 1 destinations via 10.1.0.1")
        assert second.send(signal.SIGTERM) == 0


def test_program_that_waits_ends_on_request(
    machine: Machine, manifests: Manifests, program: Program, tmp_path: Path
) -> None:
    """A program that waits for another one ends with 0 when asked to, and has changed nothing."""
    with running(manifests.directory, tmp_path / "second", "--http-port", "0") as second:
        second.says("waiting for its end")
        assert second.send(signal.SIGTERM) == 0
    assert machine.routes() == {"192.0.2.1/32": "10.0.0.1 eth0"}


_SQUATTER = r"""
import os, socket, sys, time
os.setgroups([])
os.setresgid(65534, 65534, 65534)
os.setresuid(65534, 65534, 65534)
held = []
for number in range(int(sys.argv[1])):
    held.append(socket.socket(socket.AF_UNIX))
    held[-1].bind(f"\0static-route-operator/engine/{number}")
    if number % 2:
        held[-1].listen(0)
print("ready", flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("names", [1, 8])
def test_other_users_keep_no_program_from_starting(
    machine: Machine, manifests: Manifests, tmp_path: Path, names: int
) -> None:
    """A user without rights who takes the names by which programs find each other is told of, and stops nothing."""
    manifests.write("nat.yaml", manifest())
    with subprocess.Popen([sys.executable, "-c", _SQUATTER, str(names)], stdout=subprocess.PIPE) as squatter:
        try:
            assert squatter.stdout is not None
            assert squatter.stdout.readline() == b"ready\n"
            with running(manifests.directory, tmp_path / "log") as program:
                program.says("StaticRoute nat: Programmed")
                assert "A process that is no engine has the name" in program.log
                if names == 1:
                    done = call("run", "--manifests", str(manifests.directory), "--once")
                    assert (done.returncode, _ps(program) in done.stderr) == (1, True)
        finally:
            squatter.kill()


def test_full_disk_stops_nothing(machine: Machine, manifests: Manifests) -> None:
    """A program whose output can't be written works on, and ends on request."""
    manifests.write("nat.yaml", manifest())
    with running(manifests.directory, Path("/dev/full")) as program:
        _routes_are(machine, {"192.0.2.1/32": "10.0.0.1 eth0"})
        machine.ip("route del 192.0.2.1")
        _routes_are(machine, {"192.0.2.1/32": "10.0.0.1 eth0"})
        manifests.write("nat.yaml", manifest("nat", "10.1.0.1"))
        _routes_are(machine, {"192.0.2.1/32": "10.1.0.1 eth1"})
        program.send(signal.SIGTERM)
    assert machine.routes() == {"192.0.2.1/32": "10.1.0.1 eth1"}


MANY = 60_000


def test_killed_at_any_point_the_next_start_makes_all_right(
    machine: Machine, manifests: Manifests, tmp_path: Path
) -> None:
    """SIGKILL in the midst of 60,000 changes leaves old and new routes; the next start has exactly those wanted."""
    hosts = [f"198.18.{each >> 8}.{each & 255}" for each in range(MANY)]
    words = {"10.0.0.1": "10.0.0.1 eth0", "10.1.0.1": "10.1.0.1 eth1"}
    interrupted = 0
    with contextlib.closing(Fib()) as fib:

        def gateway_of(host: str) -> int | None:
            lookup = fib.look_up([pack_address(host)]).get(pack_address(host))
            return lookup.interface if lookup else None

        for round_number, place in enumerate([0, MANY // 3, MANY // 2, 100]):
            gateway = ["10.1.0.1", "10.0.0.1"][round_number % 2]
            host, before = hosts[place], gateway_of(hosts[place])
            manifests.write("nat.yaml", manifest("nat", gateway, hosts))
            with running(manifests.directory, tmp_path / "log", "--http-port", "0") as program:
                while gateway_of(host) == before:
                    assert program.lives, program.log
                program.kill()
            left = machine.routes()
            assert left.keys() <= {f"{each}/32" for each in hosts}
            assert set(left.values()) <= set(words.values())
            interrupted += 0 < sum(each == words[gateway] for each in left.values()) < MANY

    manifests.write("nat.yaml", manifest("nat", "10.1.0.1", hosts[: MANY // 2]))
    code, _, errors = _once(manifests)
    assert code == 0, errors
    assert machine.routes() == {f"{each}/32": words["10.1.0.1"] for each in hosts[: MANY // 2]}
    assert interrupted, "no kill came in the midst of the changes"


def test_program_is_a_module_and_a_command(machine: Machine) -> None:
    """The program can be run as a module, and names itself as the command."""
    done = call("--help")

    assert done.stdout.startswith("Usage: static-route-operator [OPTIONS] COMMAND")
    assert command()[1:] == ["-m", "static_route_operator"]
