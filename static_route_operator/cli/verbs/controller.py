"""`controller`: the process that reports for the whole cluster."""

import asyncio
from typing import Any

import click

from static_route_operator.cli.options import settings_options
from static_route_operator.observability import logs
from static_route_operator.settings import ControllerSettings


@click.command("controller")
@settings_options(ControllerSettings)
def command(**options: Any) -> None:
    """Report in the status of each StaticRoute on its state on all nodes (a Deployment runs this)."""
    try:
        from static_route_operator.controller import main as controller  # noqa: PLC0415  its client is an extra
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "kubernetes":
            raise
        raise click.ClickException(
            "the controller needs the kubernetes package, which the image contains; elsewhere install it with"
            " `pip install 'static-route-operator[controller]'`"
        ) from error

    settings = ControllerSettings(**options)
    logs.set_up_logging(settings.log_level, settings.log_format)
    asyncio.run(controller.run(settings))
