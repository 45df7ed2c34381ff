"""`bundle`: a support archive."""

import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import click

from static_route_operator.cli.exits import ExitCode
from static_route_operator.cli.fleet import bundle
from static_route_operator.cli.fleet import gateways as fleet_gateways
from static_route_operator.cli.fleet import status as fleet_status
from static_route_operator.cli.fleet.agents import Agents
from static_route_operator.cli.options import cluster_options, node_option
from static_route_operator.cli.views import diff, gateways, status
from static_route_operator.cli.views.forms import form
from static_route_operator.errors import UnansweredError


@click.command("bundle")
@node_option
@click.option(
    "--output-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File to write; unless set, a new file in the current directory, named after the time.",
)
@cluster_options
def command(output_file: Path | None, agents: Agents) -> None:
    """Write a support archive (tar.gz): objects, states, Events, logs, and the kernel tables of each node.

    Addresses and names are kept. Secrets are not read, and texts that look like secrets are removed. Exits with 0 if
    the archive is complete, 3 if something could not be collected; its missing.txt lists what is missing, and why.
    """
    file = output_file or Path(f"static-route-operator-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}.tar.gz")

    def text(view: Any, fetch: Callable[[], dict[str, Any]], lacks: Callable[[str], None]) -> str:
        answer = fetch()
        for each in answer.get("unanswered", ()):
            lacks(f"{each['node']} could not be asked: {each['problem']}")
        if note := answer.get("note"):
            lacks(note)
        return click.unstyle(form(answer, "wide", view.table))

    answers = {
        "status.txt": partial(text, status, partial(fleet_status.fetch, agents.kubectl, agents.namespace)),
        "gateways.txt": partial(text, gateways, partial(fleet_gateways.fetch, agents)),
        "diff.txt": partial(text, diff, partial(agents.gather, "nodes", "diff", view=diff.table)),
    }
    try:
        missing = bundle.write(agents, file, answers, lambda step: click.echo(f"{step} ...", err=True))
    except OSError as error:
        raise UnansweredError(f"{file}: can't be written: {error}") from error
    for each in missing:
        click.echo(f"missing: {each}", err=True)
    click.echo(str(file))
    sys.exit(ExitCode.UNANSWERED if missing else ExitCode.GOOD)
