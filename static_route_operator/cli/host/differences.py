"""What this host should have beside what its kernel has, read anew by this process."""

from typing import Any

from static_route_operator.cli.host.process import ask
from static_route_operator.kernel.fib import Fib
from static_route_operator.planning.desired import Wanted, parse_wanted
from static_route_operator.planning.diff import diff
from static_route_operator.routing.description import describe_route
from static_route_operator.routing.nexthops import NextHops
from static_route_operator.routing.routes import Action, Routes

# What an agent would do about it, in a word for what is so now.
KINDS = {Action.ADD: "Missing", Action.REPLACE: "Different", Action.DELETE: "Surplus"}


async def compare(http_address: str, http_port: int) -> dict[str, Any]:
    """The differences on this host, as a JSON object.

    Args:
        http_address: where the process on this host serves.
        http_port: likewise.

    Raises:
        NoProcessError: no process says what this host should have.
        KernelError: the kernel can't be read.
    """
    told = ask(http_address, http_port, "/wanted")
    desired = parse_wanted(told)
    fib = Fib()
    try:
        installed = await fib.read(desired.routes)
        interfaces = (await fib.look(())).interfaces
    finally:
        fib.close()
    return {
        "node": told["node"],
        "complete": told["complete"],
        "wanted": len(desired.routes),
        "present": len(installed),
        "differences": differences(desired, installed, dict(interfaces)),
    }


def differences(desired: Wanted, installed: Routes, interfaces: dict[int, str]) -> list[dict[str, Any]]:
    """Where the kernel is not as it should be, by destination."""
    had: dict[bytes, NextHops] = dict(installed.in_order()) if installed != desired.routes else {}
    found = []
    for action, path, keys in diff(desired.routes, installed, retained=desired.retained):
        for key in keys:
            owner = desired.owner(key)
            now = had.get(key)
            found.append(
                {
                    "kind": KINDS[action],
                    "object": owner.name if owner else None,
                    "wanted": None if action is Action.DELETE else describe_route(key, path, interfaces),
                    "present": describe_route(key, now, interfaces) if now is not None else None,
                    "message": owner.message if owner else "no StaticRoute wants it",
                }
            )
    return found
