"""`status`: the whole cluster at a glance."""

import sys

import click

from static_route_operator.cli.exits import ExitCode
from static_route_operator.cli.fleet import status
from static_route_operator.cli.fleet.agents import Agents
from static_route_operator.cli.options import cluster_options, output_option
from static_route_operator.cli.views import status as view
from static_route_operator.cli.views.forms import show


@click.command("status", short_help="The whole cluster at a glance.")
@output_option
@cluster_options
def command(output: str, agents: Agents) -> None:
    """Show how every StaticRoute fares on every node, what is not right first.

    Ends with 0 when all is well, 1 when something is not.
    """
    answer = status.fetch(agents.kubectl, agents.namespace)
    show(answer, output, view.table)
    sys.exit(ExitCode.NOT_GOOD if answer["problems"] else ExitCode.GOOD)
