"""The routes of this host, from the running process, or from the kernel if no process runs."""

from typing import Any

from static_route_operator.cli.host.process import NoProcessError, ask
from static_route_operator.errors import KernelError, UnansweredError
from static_route_operator.kernel.fib import Fib
from static_route_operator.kernel.network import read_network
from static_route_operator.routing.description import describe_route


async def fetch(address: str, port: int, *, summary: bool = False) -> dict[str, Any]:
    """Return the report of the process on this host, or the kernel's routes with a note if there is no process.

    Args:
        address: of the process.
        port: of the process.
        summary: leave out the routes.

    Raises:
        UnansweredError: neither the process nor the kernel answers.
    """
    try:
        return ask(address, port, "/summary" if summary else "/routes")
    except NoProcessError as error:
        note = f"{error}; these routes are read from the kernel, without their StaticRoutes"
        return {"note": note, "objects": [], "routes": await _kernel_routes()}


async def _kernel_routes() -> list[dict[str, Any]]:
    fib = Fib()
    try:
        installed = await fib.read()
        fib.require_complete()
        names = (await read_network()).names
    except KernelError as error:
        raise UnansweredError(str(error)) from error
    finally:
        fib.close()
    return [describe_route(key, path, names) | {"object": None} for key, path in installed.in_order()]
