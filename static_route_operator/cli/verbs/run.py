"""`run`: the same engine without Kubernetes."""

import asyncio
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from static_route_operator.cli.exits import ExitCode
from static_route_operator.cli.options import labels_option, settings_options
from static_route_operator.cli.views import routes as view
from static_route_operator.observability import logs
from static_route_operator.settings import StandaloneSettings
from static_route_operator.standalone import main as standalone


@click.command("run")
@click.option(
    "--manifests",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    required=True,
    help="Directory of StaticRoute YAML files.",
)
@labels_option
@click.option("--once", is_flag=True, help="Apply once, report, and exit with 0 if all is programmed, else with 1.")
@settings_options(StandaloneSettings)
def command(manifests: Path, labels: Mapping[str, str], once: bool, **options: Any) -> None:
    """Keep the routes of this host as a directory of StaticRoute manifests specifies, without Kubernetes."""
    settings = StandaloneSettings(**options)
    logs.set_up_logging(settings.log_level, settings.log_format, settings.node_name)
    if not once:
        asyncio.run(standalone.run(manifests, settings, labels))
        return
    report, problems = asyncio.run(standalone.apply_once(manifests, settings, labels))
    click.echo("\n".join(view.table(report)))
    sys.exit(ExitCode.GOOD if view.is_good(report) and not problems else ExitCode.NOT_GOOD)
