"""`routes`: the routes of a host."""

import asyncio
import sys

import click

from static_route_operator.cli.exits import ExitCode
from static_route_operator.cli.fleet.agents import Agents
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
    """Show every route of this host, or of nodes, with its StaticRoute, gateway and state."""
    if all_nodes or agents.nodes:
        replies = list(agents.ask("routes", *(["--summary"] if summary else []), "-o", "json"))
        answer = {
            "nodes": [reply.answer for reply in replies if reply.answer],
            "unanswered": [{"node": reply.node, "problem": reply.problem} for reply in replies if not reply.answer],
        }
        show(answer, output, view.tables)
        sys.exit(ExitCode.UNANSWERED if answer["unanswered"] else ExitCode.GOOD)
    from static_route_operator.cli.host import routes  # noqa: PLC0415  netlink: see verbs

    show(asyncio.run(routes.fetch(http_address, http_port, summary=summary)), output, view.table)
