"""`routes`: the routes of a host."""

import asyncio
import sys
from typing import Any

import click

from static_route_operator.cli.exits import ExitCode
from static_route_operator.cli.fleet.agents import Agents, check, json_object
from static_route_operator.cli.options import cluster_options, node_option, output_option, settings_options
from static_route_operator.cli.views import routes as view
from static_route_operator.cli.views.forms import show
from static_route_operator.settings import Settings


@click.command("routes")
@click.option("--summary", is_flag=True, help="Show StaticRoutes and gateways only: a node may have 100,000 routes.")
@click.option("--all-nodes", is_flag=True, help="Show all nodes of the cluster.")
@node_option
@output_option
@settings_options(Settings, only=("http_address", "http_port"))
@cluster_options
def command(  # noqa: PLR0913  each is an option
    *, summary: bool, all_nodes: bool, output: str, http_address: str, http_port: int, agents: Agents
) -> None:
    """Show every route of this host, or of nodes, with its StaticRoute, gateway and state.

    Exits with 0, or with 3 if a node could not be asked.
    """
    if all_nodes or agents.nodes:
        replies = list(agents.ask("routes", *(["--summary"] if summary else []), "-o", "json", parse=_report))
        answer = {
            "nodes": [{**reply.answer, "node": reply.node} for reply in replies if reply.answer is not None],
            "unanswered": [{"node": reply.node, "problem": reply.problem} for reply in replies if reply.answer is None],
        }
        show(answer, output, view.tables)
        # A report with a note comes from the kernel alone, since the agent does not answer.
        known = not answer["unanswered"] and not any("note" in each for each in answer["nodes"])
        sys.exit(ExitCode.GOOD if known else ExitCode.UNANSWERED)
    from static_route_operator.cli.host import routes  # noqa: PLC0415  netlink: see verbs

    show(asyncio.run(routes.fetch(http_address, http_port, summary=summary)), output, view.table)


def _report(text: str) -> dict[str, Any]:
    """Parse the report of a node."""
    report = json_object(text)
    check(view.table, report)
    return report
