"""`snapshot`: the kernel's tables on a host that has no `ip`."""

import click

from static_route_operator.cli.host.snapshot import lines
from static_route_operator.errors import KernelError, UnansweredError


@click.command("snapshot")
def command() -> None:
    """Show all links, addresses, rules and routes of this host's kernel, in the format of `ip`.

    Exits with 0, or with 3 if the kernel does not answer.
    """
    try:
        for line in lines():
            click.echo(line)
    except KernelError as error:
        raise UnansweredError(str(error)) from error
