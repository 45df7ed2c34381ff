"""`routes`: what one host holds."""

import asyncio

import click

from static_route_operator.cli.options import output_option, settings_options
from static_route_operator.cli.views import routes as view
from static_route_operator.cli.views.forms import show
from static_route_operator.settings import Settings


@click.command("routes", short_help="What this host holds, and why.")
@output_option
@settings_options(Settings, only=("http_address", "http_port"))
def command(output: str, http_address: str, http_port: int) -> None:
    """Show what this host holds and why: every route of ours, with its StaticRoute, gateway and state."""
    from static_route_operator.host import routes  # noqa: PLC0415  netlink is for those who need it

    show(asyncio.run(routes.fetch(http_address, http_port)), output, view.table)
