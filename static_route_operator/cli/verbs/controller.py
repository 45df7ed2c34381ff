"""`controller`: the process that speaks for the whole cluster."""

from typing import Any

import click

from static_route_operator.cli.options import settings_options
from static_route_operator.settings import ControllerSettings


@click.command("controller", short_help="Write statuses and Events (a Deployment runs this).")
@settings_options(ControllerSettings)
def command(**options: Any) -> None:
    """Say in each StaticRoute's status how it fares on all nodes (a Deployment runs this)."""
    import asyncio  # noqa: PLC0415  not everybody's need, and 40 ms

    from static_route_operator.controller.main import run  # noqa: PLC0415  see agent
    from static_route_operator.observability.logs import set_up_logging  # noqa: PLC0415

    settings = ControllerSettings(**options)
    set_up_logging(settings.log_level, settings.log_format)
    asyncio.run(run(settings))
