"""`bundle`: a support archive."""

import sys
import time
from pathlib import Path
from typing import Any

import click

from static_route_operator.cli.exits import ExitCode
from static_route_operator.cli.fleet import gateways as fleet_gateways
from static_route_operator.cli.fleet import status as fleet_status
from static_route_operator.cli.fleet.agents import Agents
from static_route_operator.cli.options import cluster_options, node_option
from static_route_operator.cli.views import diff, gateways, status
from static_route_operator.cli.views.forms import form
from static_route_operator.errors import UnansweredError


@click.command("bundle", short_help="A support archive: objects, states, logs, kernel tables.")
@node_option
@click.option(
    "--output-file", type=click.Path(dir_okay=False, path_type=Path), help="Where; a new name here unless set."
)
@cluster_options
def command(output_file: Path | None, agents: Agents) -> None:
    """Write a support archive (tar.gz): objects, states, Events, logs, and the kernel's tables of each node.

    Addresses and names are kept. Secrets are not asked for, and what looks like one is taken out. Ends with 0 when all
    is in it, 3 when something could not be had; missing.txt in it says what, and why.
    """
    from static_route_operator.cli.fleet import bundle  # noqa: PLC0415  not everybody's need

    file = output_file or Path(f"static-route-operator-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}.tar.gz")

    def text(view: Any, answer: dict[str, Any]) -> str:
        return click.unstyle(form(answer, "wide", view.table))

    said = {
        "status.txt": lambda: text(status, fleet_status.fetch(agents.kubectl, agents.namespace)),
        "gateways.txt": lambda: text(gateways, fleet_gateways.fetch(agents)),
        "diff.txt": lambda: text(diff, agents.gather("nodes", "diff")),
    }
    try:
        missing = bundle.write(agents, file, said, lambda what: click.echo(f"{what} ...", err=True))
    except OSError as error:
        raise UnansweredError(f"{file}: can't be written: {error}") from error
    for each in missing:
        click.echo(f"missing: {each}", err=True)
    click.echo(str(file))
    sys.exit(ExitCode.UNANSWERED if missing else ExitCode.GOOD)
