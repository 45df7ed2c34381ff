"""`snapshot`: the kernel's tables on a host that has no `ip`."""

import click

from static_route_operator.cli.host.snapshot import lines


@click.command("snapshot")
def command() -> None:
    """Show all links, addresses, rules and routes of this host's kernel, in the format of `ip`."""
    for line in lines():
        click.echo(line)
