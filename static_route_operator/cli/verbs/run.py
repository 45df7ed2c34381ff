"""`run`: the same engine without Kubernetes."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from static_route_operator.cli.exits import ExitCode
from static_route_operator.cli.options import labels_option, settings_options
from static_route_operator.cli.views import routes as view
from static_route_operator.settings import Settings


@click.command("run", short_help="Keep a host's routes without Kubernetes.")
@click.option(
    "--manifests",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    required=True,
    help="Directory of StaticRoute YAML files.",
)
@labels_option
@click.option("--once", is_flag=True, help="Apply, say what was done, and end: 0 when all is programmed, else 1.")
@settings_options(Settings)
def command(manifests: Path, labels: Mapping[str, str], once: bool, **options: Any) -> None:
    """Keep this host's routes what a directory of StaticRoute manifests wants, without Kubernetes."""
    import asyncio  # noqa: PLC0415  not everybody's need, and 40 ms

    from static_route_operator.observability.logs import set_up_logging  # noqa: PLC0415
    from static_route_operator.standalone import main as standalone  # noqa: PLC0415  see agent

    settings = Settings(**options)
    set_up_logging(settings.log_level, settings.log_format, settings.node_name)
    if not once:
        asyncio.run(standalone.run(manifests, settings, labels))
        return
    report, problems = asyncio.run(standalone.apply_once(manifests, settings, labels))
    click.echo("\n".join(view.table(report)))
    sys.exit(ExitCode.GOOD if view.is_good(report) and not problems else ExitCode.NOT_GOOD)
