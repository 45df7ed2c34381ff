"""Options that several verbs have."""

import dataclasses
from collections.abc import Callable

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
