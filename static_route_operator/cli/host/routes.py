"""The routes of this host: asked of the running process, or of the kernel when none runs."""

from typing import Any

from static_route_operator.cli.host.process import NoProcessError, ask
from static_route_operator.kernel.fib import Fib
from static_route_operator.routing.description import describe_route


async def fetch(address: str, port: int, *, summary: bool = False) -> dict[str, Any]:
    """What the process on this host reports; without one, the kernel's routes alone, with a note that says so.

    Args:
        address: where the process serves.
        port: likewise.
        summary: without the routes.
    """
    try:
        return ask(address, port, "/summary" if summary else "/routes")
    except NoProcessError as error:
        note = f"{error}; these are the kernel's own words, without objects"
        return {"note": note, "objects": [], "routes": await _kernel_routes()}


async def _kernel_routes() -> list[dict[str, Any]]:
    fib = Fib()
    try:
        installed = await fib.read()
        names = (await fib.look(())).interfaces
    finally:
        fib.close()
    return [describe_route(key, path, names) | {"object": None} for key, path in installed.in_order()]
