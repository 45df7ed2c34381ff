"""The command line: flags, environment variables, errors and exit codes."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from static_route_operator import __version__, cli
from static_route_operator.agent import main as agent
from static_route_operator.cli.host import routes
from static_route_operator.cli.program import program
from static_route_operator.controller import main as controller
from static_route_operator.errors import KernelError
from static_route_operator.observability import logs
from static_route_operator.settings import ClusterSettings, ControllerSettings, StandaloneSettings
from static_route_operator.standalone import main as standalone

GOOD: dict[str, Any] = {"node": "node1", "complete": True, "objects": [], "routes": []}


def _no_logging(*_: str) -> None:
    """Set-up of logging is for the whole process, so it is left out."""


@pytest.fixture
def runner(monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    """Runs the program in this process."""
    monkeypatch.setattr(logs, "set_up_logging", _no_logging)
    return CliRunner()


@pytest.fixture
def agent_settings(monkeypatch: pytest.MonkeyPatch) -> list[ClusterSettings]:
    """The arguments with which `agent` was started."""
    started: list[ClusterSettings] = []

    async def run(settings: ClusterSettings) -> None:
        started.append(settings)

    monkeypatch.setattr(agent, "run", run)
    return started


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Path, StandaloneSettings, Mapping[str, str]]]:
    """The arguments with which `run` was started."""
    started: list[tuple[Path, StandaloneSettings, Mapping[str, str]]] = []

    async def run(directory: Path, settings: StandaloneSettings, labels: Mapping[str, str]) -> None:
        started.append((directory, settings, labels))

    monkeypatch.setattr(standalone, "run", run)
    return started


def test_controller_takes_its_settings(runner: CliRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    """Flags and variables reach the controller; what only an agent needs is no flag of it."""
    started: list[ControllerSettings] = []

    async def run(settings: ControllerSettings) -> None:
        started.append(settings)

    monkeypatch.setattr(controller, "run", run)
    result = runner.invoke(
        program, ["controller", "--http-port", "1"], env={"STATIC_ROUTE_OPERATOR_LOG_LEVEL": "debug"}
    )

    assert result.exit_code == 0, result.output
    assert started == [ControllerSettings(http_port=1, log_level="debug")]
    assert runner.invoke(program, ["controller", "--node-name", "a"]).exit_code == 2


def test_agent_without_settings_has_the_defaults(
    runner: CliRunner, agent_settings: list[ClusterSettings], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without flags and variables a process runs with the documented defaults."""
    monkeypatch.delenv("NODE_HOSTNAME", raising=False)
    result = runner.invoke(program, ["agent"])

    assert result.exit_code == 0
    assert agent_settings == [ClusterSettings()]


def test_environment_sets_and_flags_win(runner: CliRunner, agent_settings: list[ClusterSettings]) -> None:
    """Each setting may come from its variable or its flag; the flag counts when both are given."""
    environment = {
        "NODE_HOSTNAME": "node1",
        "POD_NAMESPACE": "other",
        "STATIC_ROUTE_OPERATOR_HTTP_PORT": "1",
        "STATIC_ROUTE_OPERATOR_RESYNC_SECONDS": "2.5",
        "STATIC_ROUTE_OPERATOR_LOG_FORMAT": "json",
    }
    result = runner.invoke(program, ["agent", "--http-port", "2", "--protected", "10.0.0.1"], env=environment)

    assert result.exit_code == 0
    assert agent_settings == [
        ClusterSettings(
            node_name="node1",
            namespace="other",
            http_port=2,
            resync_seconds=2.5,
            log_format="json",
            protected="10.0.0.1",
        )
    ]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["agent", "--http-port", "many"], "'--http-port' (env var: 'STATIC_ROUTE_OPERATOR_HTTP_PORT'): 'many' can't"),
        (["agent", "--http-port", "65536"], "'65536' can't be used; give a port from 0 to 65535"),
        (["agent", "--http-port=-1"], "'-1' can't be used; give a port from 0 to 65535"),
        (["agent", "--http-port", "9_245"], "'9_245' can't be used; give a port from 0 to 65535"),
        (["controller", "--http-port", "65536"], "'65536' can't be used; give a port from 0 to 65535"),
        (["agent", "--resync-seconds", "soon"], "'soon' can't be used; give 1 to 86400 seconds"),
        (["agent", "--resync-seconds", "0"], "'0' can't be used; give 1 to 86400 seconds"),
        (["agent", "--resync-seconds", ""], "'' can't be used; give 1 to 86400 seconds"),
        (["agent", "--resync-seconds", "1e300"], "'1e300' can't be used; give 1 to 86400 seconds"),
        (["agent", "--resync-seconds", "9" * 5000], "(5000 characters) can't be used; give 1 to 86400 seconds"),
        (["agent", "--list-seconds", "inf"], "'inf' can't be used; give 10 to 86400 seconds"),
        (["agent", "--list-seconds", "0"], "'0' can't be used; give 10 to 86400 seconds"),
        (["controller", "--list-seconds", "0"], "'0' can't be used; give 10 to 86400 seconds"),
        (["run", "--manifests", "/", "--rollback-seconds", "nan"], "give 0 (no rollback), or 1 to 600 seconds"),
        (["run", "--manifests", "/", "--rollback-seconds", "0.5"], "give 0 (no rollback), or 1 to 600 seconds"),
        (
            ["run", "--manifests", "/", "--rollback-seconds=-1"],
            "'-1' can't be used; give 0 (no rollback), or 1 to 600 seconds",
        ),
        (["run", "--manifests", "/", "--read-seconds", "0"], "'0' can't be used; give 1 to 3600 seconds"),
        (["run", "--manifests", "/", "--state-dir", "here"], "'here' can't be used; give an absolute path"),
        (["agent", "--node-name", "../other"], "'../other' can't be used; give a name of letters, digits"),
        (["agent", "--namespace", "a/b"], "'a/b' can't be used; give a name of lower case letters"),
        (["agent", "--log-level", "loud"], "'loud' is not one of"),
        (["run"], "Missing option '--manifests'"),
        (["run", "--manifests", "/nonexistent"], "Directory '/nonexistent' does not exist"),
        (["run", "--manifests", "/", "--label", "zone"], "'zone' is not KEY=VALUE"),
        (["run", "--manifests", "/", "--label", "=a"], "'=a' is not KEY=VALUE"),
        (["routes", "-o", "xml"], "'xml' is not one of"),
        (["route"], "No such command 'route'"),
    ],
)
def test_wrong_usage_is_told(
    runner: CliRunner, runs: list[Any], agent_settings: list[Any], arguments: list[str], problem: str
) -> None:
    """A wrong flag or value ends with code 2 and says what is wrong with it; nothing is started."""
    result = runner.invoke(program, arguments)

    assert result.exit_code == 2
    assert problem in result.output
    assert runs == agent_settings == []


def test_run_takes_directory_and_labels(
    runner: CliRunner, tmp_path: Path, runs: list[tuple[Path, StandaloneSettings, Mapping[str, str]]]
) -> None:
    """Labels may be repeated, and their values may be empty or hold an equals sign."""
    arguments = ["run", "--manifests", str(tmp_path), "--node-name", "gw", "--label", "zone=a", "--label", "x=y=z"]
    result = runner.invoke(program, [*arguments, "--label", "empty="])

    assert result.exit_code == 0
    assert runs == [(tmp_path, StandaloneSettings(node_name="gw"), {"zone": "a", "x": "y=z", "empty": ""})]


def _row(state: str) -> dict[str, Any]:
    return {"name": "nat", "gateway": "10.0.0.1", "programmed": 1, "destinations": 1, "state": state, "message": ""}


@pytest.mark.parametrize(
    ("states", "problems", "code"),
    [
        ([], [], 0),
        (["Programmed", "Standby"], [], 0),
        (["Programmed", "Conflict"], [], 1),
        (["Failed"], [], 1),
        (["Refused"], [], 1),
        (["Pending"], [], 1),
        (["Programmed"], ["a.yaml: is not valid YAML"], 1),
    ],
)
def test_run_once_tells_by_its_exit_code(
    runner: CliRunner, monkeypatch: pytest.MonkeyPatch, states: list[str], problems: list[str], code: int
) -> None:
    """0 when all objects are programmed or stand by and all files were good, else 1; the report is always shown."""

    async def apply_once(*_: Any) -> tuple[dict[str, Any], list[str]]:
        return GOOD | {"objects": [_row(state) for state in states]}, problems

    monkeypatch.setattr(standalone, "apply_once", apply_once)
    result = runner.invoke(program, ["run", "--manifests", "/", "--once"])

    assert result.exit_code == code
    assert result.stdout.startswith("No routes.\n")
    assert all(state in result.stdout for state in states)


def test_routes_asks_where_it_is_told(runner: CliRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    """`routes` asks the address and port in its settings, and shows the answer in the form asked for."""
    asked: list[tuple[str, int]] = []

    async def fetch(address: str, port: int, *, summary: bool) -> dict[str, Any]:
        assert not summary
        asked.append((address, port))
        return GOOD

    monkeypatch.setattr(routes, "fetch", fetch)
    result = runner.invoke(program, ["routes", "-o", "json", "--http-port", "1234"])

    assert json.loads(result.stdout) == GOOD
    assert asked == [("127.0.0.1", 1234)]


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help_names_every_command(runner: CliRunner, option: str) -> None:
    """The help lists the commands, and each command its flags with their variables."""
    result = runner.invoke(program, [option])

    assert result.exit_code == 0
    assert all(f"  {command} " in result.stdout for command in ("agent", "run", "routes"))
    assert "NODE_HOSTNAME" in runner.invoke(program, ["agent", option]).stdout


def test_version_is_shown(runner: CliRunner) -> None:
    """--version shows the version."""
    assert __version__ in runner.invoke(program, ["--version"]).stdout


def test_error_meant_for_a_person_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """An error that the program raises on purpose is shown as one line, without a traceback, and the code is 1."""

    async def apply_once(*_: Any) -> None:
        raise KernelError("the kernel refused a dump: told so")

    monkeypatch.setattr(logs, "set_up_logging", _no_logging)
    monkeypatch.setattr(standalone, "apply_once", apply_once)
    monkeypatch.setattr(sys, "argv", ["static-route-operator", "run", "--manifests", str(tmp_path), "--once"])
    with pytest.raises(SystemExit) as caught:
        cli.main()

    assert caught.value.code == 1
    assert capsys.readouterr().err == "error: the kernel refused a dump: told so\n"


def test_agent_needs_the_name_of_its_node(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a node name the agent does not start, and says which flag and variable it lacks."""
    monkeypatch.setattr(logs, "set_up_logging", _no_logging)
    monkeypatch.delenv("NODE_HOSTNAME", raising=False)
    monkeypatch.setattr(sys, "argv", ["static-route-operator", "agent"])
    with pytest.raises(SystemExit) as caught:
        cli.main()

    assert caught.value.code == 1
    assert capsys.readouterr().err.startswith("error: --node-name (NODE_HOSTNAME) is not set")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_for_the_shell(runner: CliRunner, shell: str) -> None:
    """The script of each shell calls this program."""
    result = runner.invoke(program, ["completion", shell])

    assert result.exit_code == 0
    assert "_STATIC_ROUTE_OPERATOR_COMPLETE" in result.stdout


def test_program_knows_that_it_is_a_plugin(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """As kubectl starts it, it calls itself as people did."""
    monkeypatch.setattr(sys, "argv", ["/usr/local/bin/kubectl-static_route", "--help"])
    with pytest.raises(SystemExit):
        cli.main()

    assert "Usage: kubectl static-route [OPTIONS] COMMAND" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (["ex"], ["explain\tShow which way packets take on each node, and why.", ":4"]),
        (["explain", "--mar"], ["--mark\tFirewall mark of the packet.", ":4"]),
        (["diff", "-o", "j"], ["json", ":4"]),
    ],
)
def test_kubectl_completes_the_plugin(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], found: list[str]
) -> None:
    """Verbs, flags and values are completed in the way that kubectl asks its plugins."""
    monkeypatch.setattr(sys, "argv", ["kubectl_complete-static_route", *arguments])
    cli.complete()

    assert capsys.readouterr().out.splitlines() == found


@pytest.mark.parametrize("arguments", [["partner.example"], ["192.0.2.1", "--source", "10.0.0"]])
def test_explain_of_what_is_no_address(runner: CliRunner, arguments: list[str]) -> None:
    """A value that is not an address is a wrong command line, reported before any request."""
    result = runner.invoke(program, ["explain", *arguments])
    assert result.exit_code == 2
    assert f"'{arguments[-1]}' is not an IP address" in result.output
