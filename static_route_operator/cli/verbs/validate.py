"""`validate`: offline validation of StaticRoutes in files."""

import sys
from pathlib import Path

import click

from static_route_operator.cli.exits import ExitCode
from static_route_operator.cli.options import output_option
from static_route_operator.cli.views import validate as view
from static_route_operator.cli.views.forms import show
from static_route_operator.standalone.validation import read, validate


@click.command("validate")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@output_option
def command(files: tuple[str, ...], output: str) -> None:
    """Check the StaticRoutes in each FILE as the API server does, without a cluster.

    FILE may be a directory, or - for standard input. Objects of other kinds are skipped. Exits with 0 if all
    StaticRoutes are valid, 1 if one is not, 3 if a file can't be read or is too large (the others are checked).
    """
    contents, unreadable = read(map(Path, files))
    answer = validate(contents, unreadable)
    show(answer, output, view.table)
    if unreadable:
        sys.exit(ExitCode.UNANSWERED)
    sys.exit(ExitCode.NOT_GOOD if answer["findings"] else ExitCode.GOOD)
