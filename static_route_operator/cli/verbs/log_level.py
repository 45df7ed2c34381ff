"""`log-level`: the log level of running processes."""

import dataclasses
import socket
import sys
from collections.abc import Mapping
from typing import Any

import click

from static_route_operator.cli.exits import ExitCode
from static_route_operator.cli.fleet.agents import CONTROLLER, Agents
from static_route_operator.cli.host.process import ask
from static_route_operator.cli.options import cluster_options, local_options, node_option, output_option
from static_route_operator.cli.views import log_level as view
from static_route_operator.cli.views.forms import show
from static_route_operator.settings import LEVELS, LONGEST_LEVEL, ControllerSettings


@click.command("log-level")
@click.argument("level", type=click.Choice(LEVELS), required=False)
@click.option(
    "--for",
    "seconds",
    type=click.IntRange(0, LONGEST_LEVEL),
    default=0,
    metavar="SECONDS",
    help="Restore the previous level after this time.",
)
@click.option("--controller", is_flag=True, help="Ask the controller instead of the agents.")
@node_option
@output_option
@local_options
@cluster_options
def command(level: str | None, seconds: int, output: str, local: bool, agents: Agents, **options: Any) -> None:
    """Show the log level of the agents, or set it to LEVEL until they restart, or for a time.

    Exits with 0 if all have answered, 3 if a node could not be asked.
    """
    if local:
        answer = {"processes": [_change(level, seconds, options)], "unanswered": []}
    else:
        given = [*([level] if level else []), *([f"--for={seconds}"] if seconds else [])]
        if options["controller"]:
            agents = dataclasses.replace(agents, app=CONTROLLER)
            given.append(f"--http-port={ControllerSettings().http_port}")
        answer = agents.gather("processes", "log-level", *given, view=view.table)
    show(answer, output, view.table)
    sys.exit(ExitCode.UNANSWERED if answer["unanswered"] else ExitCode.GOOD)


def _change(level: str | None, seconds: int, where: Mapping[str, Any]) -> dict[str, Any]:
    question = {"level": level, "seconds": seconds} if level else None
    return {"host": socket.gethostname(), **ask(where["http_address"], where["http_port"], "/log-level", question)}
