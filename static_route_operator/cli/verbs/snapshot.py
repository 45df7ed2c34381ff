"""`snapshot`: what this host's kernel has, where there is no `ip`."""

import click


@click.command("snapshot", short_help="What this host's kernel has, in the words of `ip`.")
def command() -> None:
    """Show all links, addresses, rules and routes of this host's kernel, in the words of `ip`."""
    from static_route_operator.cli.host.snapshot import lines  # noqa: PLC0415  netlink is for those who need it

    for line in lines():
        click.echo(line)
