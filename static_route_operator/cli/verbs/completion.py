"""`completion`: the shell's, for this program and as kubectl's plugin."""

import click
from click.shell_completion import get_completion_class


@click.command("completion", short_help="The script that makes a shell complete verbs and flags.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def command(context: click.Context, shell: str) -> None:
    """Print the script by which SHELL completes verbs and flags: `source <(static-route-operator completion bash)`."""
    kind = get_completion_class(shell)
    assert kind is not None  # noqa: S101  the choices are those that click has
    program = "static-route-operator"
    group = context.find_root().command
    click.echo(kind(group, {}, program, "_STATIC_ROUTE_OPERATOR_COMPLETE").source())
