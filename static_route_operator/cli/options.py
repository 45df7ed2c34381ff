"""Options that several verbs have."""

import dataclasses
from collections.abc import Callable, Iterable

import click

from static_route_operator.settings import ProcessSettings, environment_variable, flag

Command = Callable[..., None]


def settings_options(settings: type[ProcessSettings], *, only: tuple[str, ...] = ()) -> Callable[[Command], Command]:
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


# For people a table, which `wide` has more columns of; for programs all there is.
output_option: Callable[[Command], Command] = click.option(
    "-o",
    "--output",
    type=click.Choice(["table", "wide", "json", "yaml"]),
    default="table",
    show_default=True,
    help="Form of the answer.",
)

labels_option: Callable[[Command], Command] = click.option(
    "--label", "labels", multiple=True, metavar="KEY=VALUE", help="Label of this node, for nodeSelector; repeatable."
)


def parse_labels(texts: Iterable[str]) -> dict[str, str]:
    """Labels, from the values of their option."""
    return dict(_label(text) for text in texts)


def _label(text: str) -> tuple[str, str]:
    key, separator, value = text.partition("=")
    if not separator or not key:
        raise click.BadParameter(f"'{text}' is not KEY=VALUE", param_hint="--label")
    return key, value
