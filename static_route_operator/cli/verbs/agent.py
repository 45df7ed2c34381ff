"""`agent`: the process on each node of a cluster."""

from typing import Any

import click

from static_route_operator.cli.options import settings_options
from static_route_operator.settings import ClusterSettings


@click.command("agent", short_help="Keep a node's routes (the DaemonSet runs this).")
@settings_options(ClusterSettings)
def command(**options: Any) -> None:
    """Keep this node's routes what the cluster's StaticRoutes want (the DaemonSet runs this)."""
    import asyncio  # noqa: PLC0415  not everybody's need, and 40 ms

    from static_route_operator.agent.allocator import return_large_blocks  # noqa: PLC0415

    # Kopf costs 20 MiB and half a second; the other verbs need none.
    from static_route_operator.agent.main import run  # noqa: PLC0415
    from static_route_operator.observability.logs import set_up_logging  # noqa: PLC0415

    settings = ClusterSettings(**options)
    set_up_logging(settings.log_level, settings.log_format, settings.node_name)
    return_large_blocks()
    asyncio.run(run(settings))
