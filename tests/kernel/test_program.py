"""The standalone program as users run it: exit codes, words, files, signals, and death at any moment."""

import contextlib
import json
import signal
import time
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


def test_once_obeys_the_node_selector(machine: Machine, manifests: Manifests) -> None:
    """Name and labels of this host are given by flags, and decide which objects are for it."""
    zone = {"nodeSelectorTerms": [{"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a"]}]}]}
    name = {"nodeSelectorTerms": [{"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["gw"]}]}]}
    manifests.write("a.yaml", manifest("zone", nodeSelector=zone))
    manifests.write("b.yaml", manifest("name", destinations=["192.0.2.2"], nodeSelector=name))

    assert _once(manifests, "--label", "zone=a")[0] == 0
    assert machine.routes() == {"192.0.2.1/32": "10.0.0.1 eth0"}
    assert _once(manifests, "--label", "zone=b", "--node-name", "gw")[0] == 0
    assert machine.routes() == {"192.0.2.2/32": "10.0.0.1 eth0"}


def test_once_without_the_capability_says_what_the_kernel_says(machine: Machine, manifests: Manifests) -> None:
    """Without CAP_NET_ADMIN nothing is programmed, and the kernel's own words are shown, in small buffers too."""
    destinations = [f"198.18.{each >> 8}.{each & 255}" for each in range(2000)]
    manifests.write("a.yaml", manifest(destinations=destinations))
    without = ["setpriv", "--inh-caps=-net_admin", "--bounding-set=-net_admin", "--"]

    done = call("run", "--manifests", str(manifests.directory), "--once", prefix=without)

    assert (done.returncode, machine.routes()) == (1, {})
    assert "the kernel refused 198.18.0.0/32 and 1999 more: Operation not permitted; it is tried again" in done.stdout


def test_directory_is_watched(machine: Machine, manifests: Manifests, program: Program) -> None:
    """Files that come, change and go are followed, without a restart."""
    manifests.write("more.yaml", manifest("more", destinations=["192.0.2.2"]))
    _routes_are(machine, {"192.0.2.1/32": "10.0.0.1 eth0", "192.0.2.2/32": "10.0.0.1 eth0"})
    manifests.write("nat.yaml", manifest("nat", "10.1.0.1"))
    _routes_are(machine, {"192.0.2.1/32": "10.1.0.1 eth1", "192.0.2.2/32": "10.0.0.1 eth0"})
    (manifests.directory / "more.yaml").unlink()
    _routes_are(machine, {"192.0.2.1/32": "10.1.0.1 eth1"})


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


def test_broken_file_keeps_its_last_good_version(machine: Machine, manifests: Manifests, program: Program) -> None:
    """A file that breaks while the program runs changes nothing and is named; mended it counts again."""
    (manifests.directory / "nat.yaml").write_text("spec: [")
    program.says("nat.yaml: is not valid YAML")
    program.says("its last good version stays in force")
    manifests.write("more.yaml", manifest("more", destinations=["192.0.2.2"]))
    _routes_are(machine, {"192.0.2.1/32": "10.0.0.1 eth0", "192.0.2.2/32": "10.0.0.1 eth0"})

    manifests.write("nat.yaml", manifest("nat", "10.1.0.1"))
    _routes_are(machine, {"192.0.2.1/32": "10.1.0.1 eth1", "192.0.2.2/32": "10.0.0.1 eth0"})


def test_drift_is_repaired_by_the_program(machine: Machine, program: Program) -> None:
    """A route that somebody deletes is back without anything else happening."""
    machine.ip("route del 192.0.2.1")

    _routes_are(machine, {"192.0.2.1/32": "10.0.0.1 eth0"})


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


def test_routes_asks_the_running_program(machine: Machine, program: Program) -> None:
    """With a program at work `routes` shows its routes with their objects, in every form."""
    table = call("routes")
    assert (table.returncode, table.stderr) == (0, "")
    assert table.stdout.startswith(
        "DESTINATION    GATEWAY    INTERFACE   STATICROUTE\n192.0.2.1/32   10.0.0.1   eth0        nat\n"
    )
    report = json.loads(call("routes", "-o", "json").stdout)
    assert report == yaml.safe_load(call("routes", "-o", "yaml").stdout)
    assert [(each["name"], each["state"]) for each in report["objects"]] == [("nat", "Programmed")]


def test_routes_without_a_program_asks_the_kernel(machine: Machine) -> None:
    """Without a program `routes` shows what the kernel has, and says that no one can tell whose it is."""
    machine.ip("route add 192.0.2.1 via 10.0.0.1 proto 245", "route add 192.0.2.2 via 10.0.0.1 proto static")

    done = call("routes")

    assert (done.returncode, done.stderr) == (0, "")
    note, *table = done.stdout.splitlines()
    assert note.startswith("# no agent answers on 127.0.0.1:9245 (")
    assert table == [
        "DESTINATION    GATEWAY    INTERFACE   STATICROUTE",
        "192.0.2.1/32   10.0.0.1   eth0        -",
    ]


def test_probes_and_metrics_are_served(machine: Machine, manifests: Manifests, program: Program) -> None:
    """The program answers that it is alive and ready, and shows its metrics and routes."""
    wait_until(lambda: _get("/readyz") == (200, "ok\n"), "the program is ready")

    assert _get("/healthz") == (200, "ok\n")
    metrics = _get("/metrics")[1].splitlines()
    assert "static_route_operator_synced 1.0" in metrics
    assert "static_route_operator_desired_routes 1.0" in metrics
    assert "static_route_operator_installed_routes 1.0" in metrics
    assert json.loads(_get("/routes")[1])["routes"][0]["destination"] == "192.0.2.1/32"


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


def test_taken_port_is_told_in_one_line(machine: Machine, manifests: Manifests, program: Program) -> None:
    """A second program on the same port ends at once with 1 and says which setting to change."""
    done = call("run", "--manifests", str(manifests.directory))

    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "--http-port" in done.stderr
    assert "9245" in done.stderr


def test_two_programs_agree(machine: Machine, manifests: Manifests, program: Program, tmp_path: Path) -> None:
    """Two programs at once, as in an overlapping update, want the same and neither undoes the other's work."""
    with running(manifests.directory, tmp_path / "second", "--http-port", "0") as second:
        second.says("StaticRoute nat: Programmed")
        manifests.write("nat.yaml", manifest("nat", "10.1.0.1", ["192.0.2.1", "192.0.2.2"]))
        for each in (program, second):
            each.says("StaticRoute nat: Programmed: 2 of 2 destinations via 10.1.0.1")
        desired = {"192.0.2.1/32": "10.1.0.1 eth1", "192.0.2.2/32": "10.1.0.1 eth1"}
        _routes_are(machine, desired)
        time.sleep(0.5)
        assert machine.routes() == desired


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
