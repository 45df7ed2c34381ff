"""The program: a group of verbs, each loaded when used."""

import importlib

import click
from click.shell_completion import CompletionItem

from static_route_operator import __version__
from static_route_operator.cli import verbs


class _Verbs(click.Group):
    """The verbs, by the names of their modules."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  signature of click
        """Return the names of all verbs."""
        return sorted(verbs.SUMMARIES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002  likewise
        """Load a verb; return None if unknown."""
        if cmd_name not in verbs.SUMMARIES:
            return None
        module = importlib.import_module(f"{verbs.__name__}.{cmd_name.replace('-', '_')}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002  likewise
        """Write the list of verbs, without loading them."""
        with formatter.section("Commands"):
            formatter.write_dl(sorted(verbs.SUMMARIES.items()))

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete the name of a verb without loading any, or a flag of the program."""
        names = [name for name in sorted(verbs.SUMMARIES) if name.startswith(incomplete)]
        found = [CompletionItem(name, help=verbs.SUMMARIES[name]) for name in names]
        return [*found, *click.Command.shell_complete(self, ctx, incomplete)]


@click.command(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(__version__)
def program() -> None:
    """Keep static routes on Kubernetes nodes, and on hosts without Kubernetes."""
