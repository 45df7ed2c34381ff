"""`status`: the state of the whole cluster."""

import sys
from typing import Any

import click

from static_route_operator.cli.exits import ExitCode
from static_route_operator.cli.fleet import status
from static_route_operator.cli.fleet.agents import Agents
from static_route_operator.cli.host.process import ask
from static_route_operator.cli.options import cluster_options, local_options, output_option
from static_route_operator.cli.views import routes
from static_route_operator.cli.views import status as view
from static_route_operator.cli.views.forms import show


@click.command("status")
@output_option
@local_options
@cluster_options
def command(output: str, local: bool, agents: Agents, **where: Any) -> None:
    """Show the state of every StaticRoute on every node, problems first; with --local on this host alone.

    Exits with 0 if there are no problems, 1 if there are, 3 if the process on this host does not answer.
    """
    if local:
        report = ask(where["http_address"], where["http_port"], "/summary")
        show(report, output, view.rows)
        sys.exit(ExitCode.GOOD if routes.is_good(report) else ExitCode.NOT_GOOD)
    answer = status.fetch(agents.kubectl, agents.namespace)
    show(answer, output, view.table)
    sys.exit(ExitCode.NOT_GOOD if answer["problems"] else ExitCode.GOOD)
