"""The program: its verbs are the modules of `verbs`, each loaded when it is asked for."""

import importlib
import pkgutil

import click

from static_route_operator import __version__
from static_route_operator.cli import verbs


class _Verbs(click.Group):
    """The verbs, by the names of their modules."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  click calls it so
        """The names of all verbs."""
        return sorted(each.name.replace("_", "-") for each in pkgutil.iter_modules(verbs.__path__))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The verb with this name."""
        if cmd_name not in self.list_commands(ctx):
            return None
        module = importlib.import_module(f"{verbs.__name__}.{cmd_name.replace('-', '_')}")
        command: click.Command = module.command
        return command


@click.command(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(__version__)
def program() -> None:
    """Static routes on Kubernetes nodes, and on hosts without Kubernetes."""
