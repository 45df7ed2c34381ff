"""`plan`: a dry run of StaticRoutes."""

import asyncio
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from static_route_operator.cli.exits import ExitCode
from static_route_operator.cli.fleet.agents import Agents
from static_route_operator.cli.host.process import NoProcessError, ask
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
from static_route_operator.observability import logs
from static_route_operator.settings import Settings
from static_route_operator.standalone.manifests import read_all_documents

# Seconds to wait for the answer of the process on this host.
TIMEOUT = 60.0


@click.command("plan")
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, allow_dash=True, path_type=Path))
@click.option("--prune", is_flag=True, help="Assume no other StaticRoutes, and show which routes would be deleted.")
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
    """Show what StaticRoutes would change on this host, or on nodes of a cluster (--node), and change nothing.

    FILES are YAML or JSON files, directories of them, or - for standard input. The running process of the host makes
    the plan, since it knows the other StaticRoutes, the labels of the node and the gateways that are down. Without a
    process the plan is made from the kernel's tables alone, and the routes of other StaticRoutes are assumed to stay.

    Exits as `kubectl diff` does: with 0 if nothing would change, with 1 if something would change or could not be
    installed (refused, in conflict, no usable gateway), with 2 or more if no plan could be made.
    """
    try:
        question = {"manifests": read_all_documents(files), "prune": prune}
    except ManifestError as error:
        raise click.UsageError(str(error)) from error
    if agents.nodes and not local:
        text = json.dumps({"kind": "List", "items": question["manifests"]})
        answer = agents.gather("nodes", "plan", "-", *(["--prune"] if prune else []), text=text, view=view.table)
    else:
        answer = {"nodes": [_forecast(question, Settings(**host), labels)], "unanswered": []}
    show(answer, output, view.table)
    if answer["unanswered"]:
        sys.exit(ExitCode.UNANSWERED)
    sys.exit(ExitCode.GOOD if all(view.is_good(each) for each in answer["nodes"]) else ExitCode.NOT_GOOD)


def _forecast(question: Mapping[str, Any], settings: Settings, labels: Mapping[str, str]) -> dict[str, Any]:
    """Return the plan of the process on this host, or one made from the kernel's tables if there is no process."""
    try:
        return ask(settings.http_address, settings.http_port, "/plan", question, TIMEOUT)
    except NoProcessError as error:
        from static_route_operator.standalone import main as standalone  # noqa: PLC0415  netlink: see verbs

        logs.set_up_logging("error", "text")
        try:
            forecast = asyncio.run(standalone.forecast(question, settings, labels))
        except StaticRouteError as problem:
            raise UnansweredError(str(problem)) from problem
        if not question["prune"]:
            forecast["note"] = f"{error}; other StaticRoutes are not known, and their routes are assumed to stay"
        return forecast
