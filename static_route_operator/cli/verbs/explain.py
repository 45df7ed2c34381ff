"""`explain`: the way that packets take, and the reason."""

import sys
from typing import Any

import click

from static_route_operator.cli.exits import ExitCode
from static_route_operator.cli.fleet.agents import Agents
from static_route_operator.cli.options import cluster_options, local_options, node_option, output_option
from static_route_operator.cli.views import explain as view
from static_route_operator.cli.views.forms import show
from static_route_operator.errors import InvalidPrefixError, shown
from static_route_operator.routing.prefixes import pack_address

_PROTOCOLS = {"icmp": 1, "tcp": 6, "udp": 17}


def _number(_: click.Context, parameter: click.Parameter, value: str) -> int:
    """Read a number, which may be hexadecimal, as firewall marks often are."""
    try:
        number = int(value, 0)
    except ValueError:
        number = -1
    if not 0 <= number < 1 << 32:
        raise click.BadParameter(f"{shown(value)} is not a number from 0 to 4294967295", param=parameter)
    return number


def _address(_: click.Context, parameter: click.Parameter, value: str) -> str:
    """Check the text of an address, if there is one."""
    try:
        if value:
            pack_address(value)
    except InvalidPrefixError as error:
        raise click.BadParameter(str(error), param=parameter) from None
    return value


@click.command("explain")
@click.argument("destination", callback=_address)
@node_option
@click.option(
    "--source",
    callback=_address,
    default="",
    metavar="ADDRESS",
    help="Source address of the packet, as for a bound socket.",
)
@click.option("--mark", callback=_number, default="0", help="Firewall mark of the packet.")
@click.option(
    "--iif", default="", metavar="NAME", help="Interface that the packet arrives on; unset for a packet of the node."
)
@click.option("--protocol", type=click.Choice(list(_PROTOCOLS)), help="IP protocol, for rules that match on it.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Destination port, for rules that match on it.")
@output_option
@local_options
@cluster_options
def command(destination: str, output: str, local: bool, agents: Agents, **options: Any) -> None:
    """Show which way packets to DESTINATION take on each node, and why.

    The answer has the StaticRoute that wins, the decision of the kernel, and what causes a difference. Exits with 0 if
    all nodes send the packet as a StaticRoute specifies, 1 if one does not, 3 if a node could not be asked, or has no
    agent that answers.
    """
    address = pack_address(destination)
    source = pack_address(options["source"]) if options["source"] else b""
    if source and len(source) != len(address):
        raise click.BadParameter("must be of the address family of DESTINATION", param_hint="--source")
    if options["iif"] and not source:
        raise click.UsageError("--iif needs --source: the kernel checks the source of a packet that arrives.")
    if local:
        from static_route_operator.cli.host.trace import explain  # noqa: PLC0415  netlink: see verbs
        from static_route_operator.routing.rules import Packet  # noqa: PLC0415  likewise

        protocol = _PROTOCOLS.get(options["protocol"], 0)
        packet = Packet(address, source, options["mark"], options["iif"], protocol, options["port"])
        node = explain(packet, options["http_address"], options["http_port"])
        answer = {"nodes": [node], "unanswered": []}
    else:
        given = [f"--{name}={options[name]}" for name in ("source", "mark", "iif", "protocol", "port") if options[name]]
        answer = agents.gather("nodes", "explain", destination, *given, view=view.table)
    show(answer, output, view.table)
    verdicts = {each["verdict"] for each in answer["nodes"]}
    if verdicts - {"Follows", "Unknown"}:
        sys.exit(ExitCode.NOT_GOOD)
    sys.exit(ExitCode.UNANSWERED if answer["unanswered"] or "Unknown" in verdicts else ExitCode.GOOD)
