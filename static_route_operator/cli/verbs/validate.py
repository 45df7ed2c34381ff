"""`validate`: StaticRoutes in files, without a cluster."""

import sys
from pathlib import Path

import click

from static_route_operator.cli.exits import ExitCode
from static_route_operator.cli.options import output_option
from static_route_operator.cli.views import validate as view
from static_route_operator.cli.views.forms import show
from static_route_operator.errors import UnansweredError


@click.command("validate", short_help="Check StaticRoutes in files, without a cluster.")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@output_option
def command(files: tuple[str, ...], output: str) -> None:
    """Check the StaticRoutes in each FILE as the API server would, without a cluster.

    A FILE may be a directory, or - for standard input. Objects of other kinds are passed over. Ends with 0 when all are
    good, 1 when one is not, 3 when a file can't be read.
    """
    from static_route_operator.standalone.validation import read, validate  # noqa: PLC0415  YAML is for those who need it

    contents: dict[str, str] = {}
    try:
        for file in files:
            contents |= {"(standard input)": sys.stdin.read()} if file == "-" else dict(read([Path(file)]))
    except (OSError, UnicodeDecodeError) as error:
        raise UnansweredError(f"{file}: can't be read: {error}") from error
    answer = validate(contents)
    show(answer, output, view.table)
    sys.exit(ExitCode.NOT_GOOD if answer["findings"] else ExitCode.GOOD)
