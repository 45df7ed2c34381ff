"""The verbs that ask a host, with the program at work."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.kernel.machine import Machine, wait_until
from tests.kernel.program import Program, call, running
from tests.unit.builders import manifest


@pytest.fixture
def program(machine: Machine, tmp_path: Path) -> Iterator[Program]:
    """The program at work, with one object programmed."""
    directory = tmp_path / "manifests"
    directory.mkdir()
    objects = [manifest("nat", destinations=["192.0.2.0/24"]), manifest("taken", destinations=["203.0.113.7"])]
    machine.ip("route add 203.0.113.7 via 10.0.0.9 proto static")
    (directory / "all.yaml").write_text(yaml.safe_dump_all(objects))
    with running(directory, tmp_path / "log", "--node-name", "host1") as program:
        program.says("StaticRoute nat: Programmed: 1 of 1 destinations via 10.0.0.1")
        program.says("StaticRoute taken: Conflict")
        yield program


def test_explain_tells_the_way_of_a_packet(machine: Machine, program: Program) -> None:
    """A packet follows the StaticRoute until another program's rule takes it; text and exit code say so."""
    done = call("explain", "192.0.2.9", "--local")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(
        "host1: Follows\n  StaticRoute nat: via 10.0.0.1 dev eth0, by 192.0.2.0/24 via 10.0.0.1"
    )

    machine.ip("rule add to 192.0.2.8/29 fwmark 7 lookup 77", "route add default via 10.1.0.1 table 77")
    done = call("explain", "192.0.2.9", "--local", "--mark", "7", "-o", "json")
    assert done.returncode == 1
    (node,) = json.loads(done.stdout)["nodes"]
    assert (node["verdict"], node["object"], node["kernel"]["gateway"]) == ("Shadowed", "nat", "10.1.0.1")
    assert node["kernel"]["rule"].endswith("from all to 192.0.2.8/29 fwmark 0x7 lookup 77")
    assert call("explain", "192.0.2.9", "--local").returncode == 0


def test_explain_says_whose_route_is_not_there(machine: Machine, program: Program) -> None:
    """The cause is the agent's message if another program holds the place; if no StaticRoute asks, it says so."""
    (node,) = json.loads(call("explain", "203.0.113.7", "--local", "-o", "json").stdout)["nodes"]
    assert (node["verdict"], node["object"]) == ("Missing", "taken")
    assert "another program's route holds 203.0.113.7/32 (via 10.0.0.9 proto static)" in node["cause"]
    (node,) = json.loads(call("explain", "8.8.8.8", "--local", "-o", "json").stdout)["nodes"]
    assert (node["verdict"], node["kernel"]["error"]) == ("NoStaticRoute", "Network is unreachable")


def test_diff_compares_with_the_kernel_itself(machine: Machine, program: Program) -> None:
    """A route whose place another program holds is missing, with the agent's message, until the other route goes."""
    done = call("diff", "--local", "-o", "json")
    assert done.returncode == 1
    (node,) = json.loads(done.stdout)["nodes"]
    assert [(each["kind"], each["object"]) for each in node["differences"]] == [("Missing", "taken")]
    machine.ip("route del 203.0.113.7 via 10.0.0.9")
    wait_until(lambda: call("diff", "--local").returncode == 0, "there is no difference")
    assert call("diff", "--local").stdout == "No difference: 2 routes on 1 node, all installed as desired.\n"


def test_diff_takes_rules_in(machine: Machine, tmp_path: Path) -> None:
    """The rules of a default route that are as they should be are no difference."""
    machine.ip("route add default via 10.1.0.1")
    default = manifest("default", destinations=["0.0.0.0/0"], allowDefaultRoute=True)
    (tmp_path / "manifests").mkdir()
    (tmp_path / "manifests" / "default.yaml").write_text(yaml.safe_dump(default))
    with running(tmp_path / "manifests", tmp_path / "log") as program:
        program.says("StaticRoute default: Programmed")
        (node,) = json.loads(call("diff", "--local", "-o", "json").stdout)["nodes"]
        assert (node["rules"], node["differences"]) == ([], [])
        assert call("diff", "--local").returncode == 0


def test_without_a_process_it_is_said_what_is_not_known(machine: Machine) -> None:
    """`diff` can't be answered without one; `explain` asks the kernel alone, and says so."""
    done = call("diff", "--local")
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith("error: no agent answers on 127.0.0.1:9245")
    done = call("explain", "10.0.0.9", "--local")
    assert done.returncode == 1
    assert ": Unknown\n  dev eth0, by 10.0.0.0/24 dev eth0" in done.stdout


def test_snapshot_has_all_there_is(machine: Machine, program: Program) -> None:
    """Links, addresses, rules and routes of all tables are shown in the words of `ip`, which the image lacks."""
    machine.ip("rule add from 10.0.0.2 lookup 77", "route add blackhole 192.0.2.128/25 table 77 metric 5")
    lines = call("snapshot").stdout.splitlines()

    assert any(line.endswith(": eth0: up, carrier, mtu 1500") for line in lines)
    assert {"10.0.0.2 dev eth0", "fd00::/64 dev eth0", "# IPv6 rules"} <= set(lines)
    assert "32765: from 10.0.0.2 lookup 77" in lines
    assert "192.0.2.0/24 via 10.0.0.1 dev eth0 table main proto 245" in lines
    assert "blackhole 192.0.2.128/25 table 77 proto boot metric 5" in lines


def test_summary_leaves_the_routes_out(program: Program) -> None:
    """The summary has the outcome of each object without the routes, of which there may be many."""
    done = call("routes", "--summary", "-o", "json")
    summary = json.loads(done.stdout)
    assert [each["name"] for each in summary["objects"]] == ["nat", "taken"]
    assert "routes" not in summary
    assert call("routes", "--summary").stdout.startswith("\nSTATICROUTE   GATEWAY")


def test_level_of_the_log_is_changed_while_it_runs(program: Program) -> None:
    """From then on the program logs more, and logs the change."""
    assert "debug" in call("log-level", "debug", "--local").stdout
    program.says("The log level is now debug")
