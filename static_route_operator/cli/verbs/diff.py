"""`diff`: desired routes compared with installed routes."""

import asyncio
import sys
from typing import Any

import click

from static_route_operator.cli.exits import ExitCode
from static_route_operator.cli.fleet.agents import Agents
from static_route_operator.cli.options import cluster_options, local_options, node_option, output_option
from static_route_operator.cli.views import diff as view
from static_route_operator.cli.views.forms import show


@click.command("diff")
@node_option
@output_option
@local_options
@cluster_options
def command(output: str, local: bool, agents: Agents, **where: Any) -> None:
    """Compare the routes and policy rules that StaticRoutes ask for with the kernel of each node.

    Exits with 0 if there is no difference, 1 if there is one, 3 if a node could not be asked, or does not know all
    StaticRoutes yet.
    """
    if local:
        from static_route_operator.cli.host.differences import compare  # noqa: PLC0415  netlink: see verbs

        answer: dict[str, Any] = {"nodes": [asyncio.run(compare(**where))], "unanswered": []}
    else:
        answer = agents.gather("nodes", "diff", view=view.table)
    show(answer, output, view.table)
    if any(each["differences"] or each["rules"] for each in answer["nodes"]):
        sys.exit(ExitCode.NOT_GOOD)
    known = not answer["unanswered"] and all(each["complete"] for each in answer["nodes"])
    sys.exit(ExitCode.GOOD if known else ExitCode.UNANSWERED)
