"""`agent`: the process on each node of a cluster."""

import asyncio
from typing import Any

import click

from static_route_operator.agent import main as agent
from static_route_operator.agent.allocator import return_large_blocks
from static_route_operator.cli.options import settings_options
from static_route_operator.observability import logs
from static_route_operator.settings import ClusterSettings


@click.command("agent")
@settings_options(ClusterSettings)
def command(**options: Any) -> None:
    """Keep the routes of this node as the StaticRoutes of the cluster specify (the DaemonSet runs this)."""
    settings = ClusterSettings(**options)
    logs.set_up_logging(settings.log_level, settings.log_format, settings.node_name)
    return_large_blocks()
    asyncio.run(agent.run(settings))
