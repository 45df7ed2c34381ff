"""Options that several verbs have."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import click

from static_route_operator.cli.fleet.agents import Agents
from static_route_operator.cli.fleet.kubectl import Kubectl
from static_route_operator.cli.progress import show_progress
from static_route_operator.settings import ClusterSettings, ProcessSettings, Settings, environment_variable, flag

Command = Callable[..., None]


def settings_options(settings: type[ProcessSettings], *, only: tuple[str, ...] = ()) -> Callable[[Command], Command]:
    """Add an option for each setting of a class, or for those named in `only`."""

    def decorate(command: Command) -> Command:
        for each in reversed(dataclasses.fields(settings)):
            if only and each.name not in only:
                continue
            command = click.option(
                flag(each.name),
                each.name,
                default=each.default,
                type=each.metadata["type"],
                envvar=environment_variable(each.name, each.metadata["env"]),
                show_default=each.default != "",
                show_envvar=True,
                help=each.metadata["help"],
            )(command)
        return command

    return decorate


class _Label(click.ParamType[tuple[str, str]]):
    """Type of a label of a node."""

    name = "key=value"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        """Return key and value."""
        key, separator, text = value.partition("=")
        if not separator or not key:
            self.fail(f"'{value}' is not KEY=VALUE; give a label such as zone=a", param, ctx)
        return key, text


# `table` and `wide` are for people; `json` and `yaml` have all fields, for programs.
output_option: Callable[[Command], Command] = click.option(
    "-o",
    "--output",
    type=click.Choice(["table", "wide", "json", "yaml"]),
    default="table",
    show_default=True,
    help="Format of the answer.",
)


def cluster_options(command: Command) -> Command:
    """Add the options by which kubectl reaches the cluster; the verb receives them as `agents`."""

    @functools.wraps(command)
    def call(*, kubeconfig: str, context: str, namespace: str, nodes: tuple[str, ...] = (), **arguments: Any) -> None:
        command(agents=Agents(Kubectl(kubeconfig, context), namespace, nodes, show_progress), **arguments)

    for option in (
        click.option("--kubeconfig", default="", help="Path of the kubeconfig file; kubectl's default unless set."),
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
    """Add the options to query this host alone, as a verb does in an agent's pod; the verb receives `local`."""
    for option in (
        settings_options(Settings, only=("http_address", "http_port")),
        click.option("--local", is_flag=True, help="Query only this host: its process and its kernel."),
    ):
        command = option(command)
    return command


node_option: Callable[[Command], Command] = click.option(
    "--node", "nodes", multiple=True, metavar="NODE", help="Only this node; repeatable."
)

# A verb receives its labels as a mapping.
labels_option: Callable[[Command], Command] = click.option(
    "--label",
    "labels",
    multiple=True,
    type=_Label(),
    callback=lambda _context, _option, pairs: dict(pairs),
    help="Label of this node, for nodeSelector; repeatable.",
)
