"""`diff`: what each node should have beside what it has."""

import sys
from typing import Any

import click

from static_route_operator.cli.exits import ExitCode
from static_route_operator.cli.fleet.agents import Agents
from static_route_operator.cli.options import cluster_options, local_options, node_option, output_option
from static_route_operator.cli.views import diff as view
from static_route_operator.cli.views.forms import show


@click.command("diff", short_help="What nodes should have, and what differs.")
@node_option
@output_option
@local_options
@cluster_options
def command(output: str, local: bool, agents: Agents, **where: Any) -> None:
    """Show on each node the routes and policy rules of the kernel that differ from what StaticRoutes want.

    Ends with 0 when there is no difference, 1 when there is one, 3 when a node could not be asked.
    """
    if local:
        import asyncio  # noqa: PLC0415  netlink is for those who need it

        from static_route_operator.cli.host.differences import compare  # noqa: PLC0415

        answer: dict[str, Any] = {"nodes": [asyncio.run(compare(**where))], "unanswered": []}
    else:
        answer = agents.gather("nodes", "diff")
    show(answer, output, view.table)
    if any(each["differences"] or each["rules"] for each in answer["nodes"]):
        sys.exit(ExitCode.NOT_GOOD)
    sys.exit(ExitCode.UNANSWERED if answer["unanswered"] else ExitCode.GOOD)
