"""`gateways`: the health of the gateways on every node."""

import sys
from typing import Any

import click

from static_route_operator.cli.exits import ExitCode
from static_route_operator.cli.fleet import gateways
from static_route_operator.cli.fleet.agents import Agents
from static_route_operator.cli.host.process import ask
from static_route_operator.cli.options import cluster_options, local_options, node_option, output_option
from static_route_operator.cli.views import gateways as view
from static_route_operator.cli.views.forms import show


@click.command("gateways")
@node_option
@output_option
@local_options
@cluster_options
def command(output: str, local: bool, agents: Agents, **where: Any) -> None:
    """Show the gateways that have a health check: their state on each node, since when, and their round-trip times.

    Exits with 0 if no gateway is down, 1 if one is down on a node, 3 if a node could not be asked.
    """
    if local:
        answer = gateways.of_host(ask(where["http_address"], where["http_port"], "/summary"))
    else:
        answer = gateways.fetch(agents)
    show(answer, output, view.table)
    if any(each["state"] == "Down" for each in answer["gateways"]):
        sys.exit(ExitCode.NOT_GOOD)
    sys.exit(ExitCode.UNANSWERED if answer["unanswered"] else ExitCode.GOOD)
