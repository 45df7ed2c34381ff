"""`plan`: what StaticRoutes would do."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from static_route_operator.cli.exits import ExitCode
from static_route_operator.cli.fleet.agents import Agents
from static_route_operator.cli.options import (
    cluster_options,
    labels_option,
    local_options,
    node_option,
    output_option,
    settings_options,
)
from static_route_operator.cli.views import plan as view
from static_route_operator.cli.views.forms import show
from static_route_operator.errors import ManifestError, StaticRouteError, UnansweredError
from static_route_operator.settings import Settings

# Seconds that the process on this host may take.
TIMEOUT = 60.0


@click.command("plan", short_help="What StaticRoutes would do, before they do it.")
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, allow_dash=True, path_type=Path))
@click.option("--prune", is_flag=True, help="Take these for all StaticRoutes there are: show what else would go.")
@labels_option
@node_option
@output_option
@local_options
@settings_options(Settings, only=("node_name",))
@cluster_options
def command(  # noqa: PLR0913  each is an option
    *,
    files: tuple[Path, ...],
    prune: bool,
    labels: Mapping[str, str],
    output: str,
    local: bool,
    agents: Agents,
    **host: Any,
) -> None:
    """Show what StaticRoutes would do on this host, or on nodes of a cluster (--node), and write nothing.

    FILES are YAML or JSON files, directories of them, or - for standard input. The process that keeps a host's routes
    is asked, since it knows the other StaticRoutes, the node's labels and which gateways are down; without one the
    kernel is looked at, and other routes of StaticRoutes are taken to stay.

    Ends as `kubectl diff` does: with 0 if nothing would change, with 1 if something would, or can't be had (refused, in
    conflict, no usable gateway), with 2 or more if that can't be told.
    """
    from static_route_operator.standalone.manifests import read_all_documents  # noqa: PLC0415  see agent

    try:
        question = {"manifests": read_all_documents(files), "prune": prune}
    except ManifestError as error:
        raise click.UsageError(str(error)) from error
    if agents.nodes and not local:
        text = json.dumps({"kind": "List", "items": question["manifests"]})
        answer = agents.gather("nodes", "plan", "-", *(["--prune"] if prune else []), text=text)
    else:
        answer = {"nodes": [_forecast(question, Settings(**host), labels)], "unanswered": []}
    show(answer, output, view.table)
    if answer["unanswered"]:
        sys.exit(ExitCode.UNANSWERED)
    sys.exit(ExitCode.GOOD if all(view.is_good(each) for each in answer["nodes"]) else ExitCode.NOT_GOOD)


def _forecast(question: Mapping[str, Any], settings: Settings, labels: Mapping[str, str]) -> dict[str, Any]:
    """What the process on this host says, or what the kernel alone does."""
    from static_route_operator.cli.host.process import NoProcessError, ask  # noqa: PLC0415  see agent

    try:
        return ask(settings.http_address, settings.http_port, "/plan", question, TIMEOUT)
    except NoProcessError as error:
        import asyncio  # noqa: PLC0415  not everybody's need, and 40 ms

        from static_route_operator.observability.logs import set_up_logging  # noqa: PLC0415
        from static_route_operator.standalone import main as standalone  # noqa: PLC0415

        set_up_logging("error", "text")
        try:
            forecast = asyncio.run(standalone.forecast(question, settings, labels))
        except StaticRouteError as problem:
            raise UnansweredError(str(problem)) from problem
        if not question["prune"]:
            forecast["note"] = f"{error}; other StaticRoutes are not known, and their routes are taken to stay"
        return forecast
