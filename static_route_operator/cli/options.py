"""Options that several verbs share."""

import dataclasses
import functools
from collections.abc import Callable, Iterable
from typing import Any

import click

from static_route_operator.cli.fleet.agents import Agents
from static_route_operator.cli.fleet.kubectl import Kubectl
from static_route_operator.cli.progress import show_progress
from static_route_operator.settings import ClusterSettings, ProcessSettings, Settings, environment_variable, flag

Command = Callable[..., None]


def settings_options(settings: type[ProcessSettings], *, only: tuple[str, ...] = ()) -> Callable[[Command], Command]:
    """Return a decorator that adds an option for each setting of a class."""

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


# `wide` adds columns to the table; `json` and `yaml` have everything.
output_option: Callable[[Command], Command] = click.option(
    "-o",
    "--output",
    type=click.Choice(["table", "wide", "json", "yaml"]),
    default="table",
    show_default=True,
    help="Output format.",
)


def cluster_options(command: Command) -> Command:
    """Add kubectl's flags for reaching the cluster, which the verb gets as ``agents``."""

    @functools.wraps(command)
    def call(*, kubeconfig: str, context: str, namespace: str, nodes: tuple[str, ...] = (), **arguments: Any) -> None:
        command(agents=Agents(Kubectl(kubeconfig, context), namespace, nodes, show_progress), **arguments)

    for option in (
        click.option("--kubeconfig", default="", help="Kubeconfig file; kubectl's default unless set."),
        click.option("--context", default="", help="Context in the kubeconfig file; the current one unless set."),
        click.option(
            "-n",
            "--namespace",
            default=ClusterSettings().namespace,
            show_default=True,
            help="Namespace of the operator.",
        ),
    ):
        call = option(call)
    return call


def local_options(command: Command) -> Command:
    """Add the flags for asking this host only, which the verb gets as ``local`` and the address of the process.

    The command line itself sets them when it runs a verb in the pods of the agents.
    """
    for option in (
        settings_options(Settings, only=("http_address", "http_port")),
        click.option("--local", is_flag=True, help="Ask only this host: its process and its kernel."),
    ):
        command = option(command)
    return command


node_option: Callable[[Command], Command] = click.option(
    "--node", "nodes", multiple=True, metavar="NODE", help="Only this node; repeatable."
)

labels_option: Callable[[Command], Command] = click.option(
    "--label", "labels", multiple=True, metavar="KEY=VALUE", help="Label of this node, for nodeSelector; repeatable."
)


def parse_labels(texts: Iterable[str]) -> dict[str, str]:
    """Parse the values of ``labels_option``."""
    return dict(_label(text) for text in texts)


def _label(text: str) -> tuple[str, str]:
    key, separator, value = text.partition("=")
    if not separator or not key:
        raise click.BadParameter(f"'{text}' is not KEY=VALUE", param_hint="--label")
    return key, value
