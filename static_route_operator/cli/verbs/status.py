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

    Exits with 0 if there are no problems, 1 if there are, 3 if there are none in the part that could be checked, or the
    process on this host does not answer.
    """
    if local:
        report = ask(where["http_address"], where["http_port"], "/summary")
        show(report, output, view.rows)
        if not routes.is_good(report) or any(each["state"] == "Down" for each in report["gateways"]):
            sys.exit(ExitCode.NOT_GOOD)
        sys.exit(ExitCode.GOOD if report["complete"] else ExitCode.UNANSWERED)
    answer = status.fetch(agents.kubectl, agents.namespace)
    show(answer, output, view.table)
    if answer["problems"]:
        sys.exit(ExitCode.NOT_GOOD)
    sys.exit(ExitCode.UNANSWERED if answer["note"] else ExitCode.GOOD)
