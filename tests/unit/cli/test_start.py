"""The start of the program: it loads only the modules that a verb needs."""

import pkgutil
import subprocess
import sys

import click
import pytest

from static_route_operator.cli import verbs
from static_route_operator.cli.program import program

# Each of them takes a tenth of a second or more, or is not there where people sit.
HEAVY = ("aiohttp", "kopf", "prometheus_client", "pyroute2", "watchfiles")
# Verbs that people run on machines of any kind.
PORTABLE = (
    "bundle",
    "completion",
    "diff",
    "explain",
    "gateways",
    "log-level",
    "plan",
    "routes",
    "status",
    "validate",
)

_RUN = """
import sys
from static_route_operator import cli
sys.argv = ["static-route-operator", *sys.argv[1:]]
try:
    cli.main()
except SystemExit:
    pass
print("LOADED", *sorted(sys.modules))
"""
_LOAD = """
import sys
import click
from static_route_operator.cli.program import program
assert program.get_command(click.Context(program), sys.argv[1]) is not None
print("LOADED", *sorted(sys.modules))
"""


def _loaded(script: str, *argv: str) -> set[str]:
    done = subprocess.run([sys.executable, "-c", script, *argv], capture_output=True, text=True, check=True, timeout=60)
    (line,) = (each for each in done.stdout.splitlines() if each.startswith("LOADED "))
    return set(line.split()[1:])


@pytest.mark.parametrize("flag", ["--help", "--version"])
def test_help_loads_no_verb(flag: str) -> None:
    """The list of verbs is shown without loading any of them, nor asyncio, YAML or an HTTP client."""
    loaded = _loaded(_RUN, flag)

    assert not [each for each in loaded if each.startswith(f"{verbs.__name__}.")]
    assert not loaded & {*HEAVY, "asyncio", "http.client", "yaml"}


@pytest.mark.parametrize("verb", PORTABLE)
def test_verb_for_people_loads_nothing_heavy(verb: str) -> None:
    """A verb that asks a cluster starts without netlink, which other systems lack, and without Kopf and aiohttp."""
    assert not _loaded(_LOAD, verb) & set(HEAVY)


def test_every_verb_is_listed() -> None:
    """The list of verbs has each module of the verbs once, and each defines the verb of its name."""
    context = click.Context(program)
    commands = {name: program.get_command(context, name) for name in program.list_commands(context)}

    assert {name.replace("-", "_") for name in commands} == {each.name for each in pkgutil.iter_modules(verbs.__path__)}
    assert [command.name for command in commands.values() if command] == list(commands)
