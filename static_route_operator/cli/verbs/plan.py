"""`plan`: what StaticRoutes would do."""

import asyncio
import sys
from pathlib import Path
from typing import Any

import click

from static_route_operator.cli.exits import ExitCode
from static_route_operator.cli.options import labels_option, output_option, parse_labels, settings_options
from static_route_operator.cli.views import plan as view
from static_route_operator.cli.views.forms import show
from static_route_operator.errors import ManifestError
from static_route_operator.settings import Settings

# Seconds that the process on this host may take.
TIMEOUT = 60.0


@click.command("plan")
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, allow_dash=True, path_type=Path))
@click.option("--prune", is_flag=True, help="Take these for all StaticRoutes there are: show what else would go.")
@labels_option
@output_option
@settings_options(Settings, only=("http_address", "http_port", "node_name"))
def command(files: tuple[Path, ...], prune: bool, labels: tuple[str, ...], output: str, **options: Any) -> None:
    """Show what StaticRoutes would do on this host, and write nothing.

    FILES are YAML or JSON files, directories of them, or - for standard input. The process that keeps this host's
    routes is asked, since it knows the other StaticRoutes, this node's labels and which gateways are down; without one
    the kernel is looked at, and other routes of StaticRoutes are taken to stay.

    Exits as `kubectl diff` does: with 0 if nothing would change, with 1 if something would, or can't be had (refused,
    in conflict, no usable gateway), with 2 or more if that can't be told.
    """
    from static_route_operator.host.process import NoProcessError, ask  # noqa: PLC0415  see agent
    from static_route_operator.manifests import read_all_documents  # noqa: PLC0415

    settings = Settings(**options)
    try:
        question = {"manifests": read_all_documents(files), "prune": prune}
    except ManifestError as error:
        raise click.UsageError(str(error)) from error
    try:
        forecast = ask(settings.http_address, settings.http_port, "/plan", question, TIMEOUT)
    except NoProcessError as error:
        from static_route_operator import standalone  # noqa: PLC0415
        from static_route_operator.observability.logs import set_up_logging  # noqa: PLC0415

        set_up_logging("error", "text")
        forecast = asyncio.run(standalone.forecast(question, settings, parse_labels(labels)))
        if not prune:
            forecast["note"] = f"{error}; other StaticRoutes are not known, and their routes are taken to stay"
    show(forecast, output, view.table)
    sys.exit(ExitCode.GOOD if view.is_good(forecast) else ExitCode.NOT_GOOD)
