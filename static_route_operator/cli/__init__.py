"""The command line, which is the plugin of kubectl too: one module for each verb, and how each answer is shown."""

import os
import sys
from pathlib import Path

import click

from static_route_operator.cli.exits import ExitCode
from static_route_operator.errors import StaticRouteError, UnansweredError

# As kubectl finds it: `kubectl static-route`.
PLUGIN = "kubectl-static_route"


def main() -> None:
    """The entry point."""
    from static_route_operator.cli.program import program  # noqa: PLC0415  made of the verbs, which import this package

    plugin = Path(sys.argv[0]).stem == PLUGIN
    # Otherwise click decides: colours are for terminals.
    color = False if os.environ.get("NO_COLOR") else None
    try:
        program(prog_name="kubectl static-route" if plugin else "static-route-operator", color=color)
    except StaticRouteError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(ExitCode.UNANSWERED if isinstance(error, UnansweredError) else ExitCode.NOT_GOOD)


# What kubectl is to do with completions of a plugin: show them, and no files besides (as cobra, its library, has it).
_NO_FILES = ":4"


def complete() -> None:
    """The entry point by which kubectl completes the plugin: prints what the last argument may be."""
    from click.shell_completion import BashComplete  # noqa: PLC0415  not everybody's need

    from static_route_operator.cli.program import program  # noqa: PLC0415  as in main

    *before, incomplete = sys.argv[1:] or [""]
    for each in BashComplete(program, {}, "static-route-operator", "").get_completions(before, incomplete):
        click.echo(f"{each.value}\t{each.help}" if each.help else each.value)
    click.echo(_NO_FILES)
