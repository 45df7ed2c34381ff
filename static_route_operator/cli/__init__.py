"""The command line, which is also a plugin of kubectl: a module for each verb, and a view for each answer."""

import os
import sys
from pathlib import Path

import click
from click.shell_completion import BashComplete

from static_route_operator.cli.exits import ExitCode
from static_route_operator.cli.program import program
from static_route_operator.errors import StaticRouteError, UnansweredError

# File name by which kubectl finds the plugin `kubectl static-route`.
PLUGIN = "kubectl-static_route"


def main() -> None:
    """Run the program."""
    plugin = Path(sys.argv[0]).stem == PLUGIN
    # None leaves the decision to click: colours on terminals only.
    color = False if os.environ.get("NO_COLOR") else None
    try:
        program(prog_name="kubectl static-route" if plugin else "static-route-operator", color=color)
    except StaticRouteError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(ExitCode.UNANSWERED if isinstance(error, UnansweredError) else ExitCode.NOT_GOOD)


# Directive for kubectl (ShellCompDirectiveNoFileComp of cobra): offer no file names besides.
_NO_FILES = ":4"


def complete() -> None:
    """Print the completions of the last argument; kubectl runs this to complete the plugin."""
    *before, incomplete = sys.argv[1:] or [""]
    for each in BashComplete(program, {}, "static-route-operator", "").get_completions(before, incomplete):
        click.echo(f"{each.value}\t{each.help}" if each.help else each.value)
    click.echo(_NO_FILES)
