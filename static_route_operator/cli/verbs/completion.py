"""`completion`: completion of verbs and flags in a shell."""

import click
from click.shell_completion import get_completion_class


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def command(context: click.Context, shell: str) -> None:
    """Print the script that completes verbs and flags in SHELL: `source <(static-route-operator completion bash)`."""
    kind = get_completion_class(shell)
    assert kind is not None  # noqa: S101  click supports every choice
    program = "static-route-operator"
    group = context.find_root().command
    click.echo(kind(group, {}, program, "_STATIC_ROUTE_OPERATOR_COMPLETE").source())
