"""How the program starts: it loads what a verb needs, and nothing else."""

import subprocess
import sys

# Each of them takes a tenth of a second or more, or is not there where people sit.
HEAVY = ("aiohttp", "asyncio", "http.client", "kopf", "prometheus_client", "pyroute2", "watchfiles", "yaml")

_LOAD_ALL = """
import sys
import click
from static_route_operator.cli.program import program
context = click.Context(program)
print([program.get_command(context, name).name for name in program.list_commands(context)])
print(sorted(set(sys.modules) & set(sys.argv[1:])))
"""


def test_verbs_load_nothing_heavy_before_they_run() -> None:
    """The help of every verb is there without Kopf, aiohttp, pyroute2 and their like."""
    done = subprocess.run(
        [sys.executable, "-c", _LOAD_ALL, *HEAVY], capture_output=True, text=True, check=True, timeout=60
    )
    names, loaded = done.stdout.splitlines()

    assert {"agent", "controller", "routes", "run"} <= set(names.strip("[]").replace("'", "").split(", "))
    assert loaded == "[]"
