"""`status`: the state of the whole cluster."""

import sys

import click

from static_route_operator.cli.exits import ExitCode
from static_route_operator.cli.fleet import status
from static_route_operator.cli.fleet.agents import Agents
from static_route_operator.cli.options import cluster_options, output_option
from static_route_operator.cli.views import status as view
from static_route_operator.cli.views.forms import show


@click.command("status")
@output_option
@cluster_options
def command(output: str, agents: Agents) -> None:
    """Show the state of every StaticRoute on every node, problems first.

    Exits with 0 if there are no problems, 1 if there are, 3 if there are none in the part that could be checked.
    """
    answer = status.fetch(agents.kubectl, agents.namespace)
    show(answer, output, view.table)
    if answer["problems"]:
        sys.exit(ExitCode.NOT_GOOD)
    sys.exit(ExitCode.UNANSWERED if answer["note"] else ExitCode.GOOD)
