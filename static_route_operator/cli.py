"""The command line: parses, calls one function, shows what it returned."""

import asyncio
import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from static_route_operator import __version__
from static_route_operator.errors import StaticRouteError
from static_route_operator.observability.logs import set_up_logging
from static_route_operator.report import fetch_report, format_report, is_good
from static_route_operator.settings import (
    ClusterSettings,
    ControllerSettings,
    ProcessSettings,
    Settings,
    environment_variable,
    flag,
)

Command = Callable[..., None]


def _settings_options(settings: type[ProcessSettings], *, only: tuple[str, ...] = ()) -> Callable[[Command], Command]:
    """An option for each setting of a class."""

    def decorate(command: Command) -> Command:
        for each in reversed(dataclasses.fields(settings)):
            if only and each.name not in only:
                continue
            choices = each.metadata["choices"]
            command = click.option(
                flag(each.name),
                each.name,
                default=each.default,
                type=click.Choice(choices) if choices else type(each.default),
                envvar=environment_variable(each.name, each.metadata["env"]),
                show_default=each.default != "",
                show_envvar=True,
                help=each.metadata["help"],
            )(command)
        return command

    return decorate


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(__version__)
def _program() -> None:
    """Static routes on Kubernetes nodes, and on hosts without Kubernetes."""


@_program.command()
@_settings_options(ClusterSettings)
def agent(**options: Any) -> None:
    """Keep this node's routes what the cluster's StaticRoutes want (the DaemonSet runs this)."""
    settings = ClusterSettings(**options)
    set_up_logging(settings.log_level, settings.log_format)
    from static_route_operator.agent import run  # noqa: PLC0415  Kopf costs 20 MiB and half a second; the others need none

    asyncio.run(run(settings))


@_program.command()
@_settings_options(ControllerSettings)
def controller(**options: Any) -> None:
    """Say in each StaticRoute's status how it fares on all nodes (a Deployment runs this)."""
    settings = ControllerSettings(**options)
    set_up_logging(settings.log_level, settings.log_format)
    from static_route_operator.controller import run  # noqa: PLC0415  see agent

    asyncio.run(run(settings))


@_program.command()
@click.option(
    "--manifests",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    required=True,
    help="Directory of StaticRoute YAML files.",
)
@click.option(
    "--label", "labels", multiple=True, metavar="KEY=VALUE", help="Label of this node, for nodeSelector; repeatable."
)
@click.option("--once", is_flag=True, help="Apply, say what was done, and end: 0 when all is programmed, else 1.")
@_settings_options(Settings)
def run(manifests: Path, labels: tuple[str, ...], once: bool, **options: Any) -> None:
    """Keep this host's routes what a directory of StaticRoute manifests wants, without Kubernetes."""
    settings = Settings(**options)
    set_up_logging(settings.log_level, settings.log_format)
    from static_route_operator import standalone  # noqa: PLC0415  see agent

    pairs = dict(_label(text) for text in labels)
    if not once:
        asyncio.run(standalone.run(manifests, settings, pairs))
        return
    report, problems = asyncio.run(standalone.apply_once(manifests, settings, pairs))
    click.echo(format_report(report), nl=False)
    sys.exit(0 if is_good(report) and not problems else 1)


@_program.command()
@click.option(
    "-o", "--output", type=click.Choice(["table", "json", "yaml"]), default="table", show_default=True, help="Form."
)
@_settings_options(Settings, only=("http_address", "http_port"))
def routes(output: str, http_address: str, http_port: int) -> None:
    """Show what this host holds and why: every route of ours, with its StaticRoute, gateway and state."""
    click.echo(format_report(asyncio.run(fetch_report(http_address, http_port)), output), nl=False)


def _label(text: str) -> tuple[str, str]:
    key, separator, value = text.partition("=")
    if not separator or not key:
        raise click.BadParameter(f"'{text}' is not KEY=VALUE", param_hint="--label")
    return key, value


def main() -> None:
    """The entry point."""
    try:
        _program(prog_name="static-route-operator")
    except StaticRouteError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(1)
