"""Endpoints that a node must reach whatever its routes are."""

import contextlib
from collections.abc import Callable

from static_route_operator.kernel.fib import default_gateways
from static_route_operator.node.protected import name_servers
from static_route_operator.node.rollback.endpoints import DnsEndpoint, EchoEndpoint, Echoes, Endpoint, parse_endpoints


class RequiredEndpoints:
    """The API server, the DNS servers and default gateways of this node, and the endpoints of a setting.

    Args:
        setting: endpoints that the user names (`--probes`).
        server: called for the API server; returns None where there is none.

    Raises:
        SettingsError: an endpoint of the setting can't be used.
    """

    def __init__(self, setting: str, server: Callable[[], Endpoint | None] = lambda: None) -> None:
        self._echoes = Echoes()
        self._named = parse_endpoints(setting, self._echoes)
        self._server = server

    async def endpoints(self) -> list[Endpoint]:
        """Return all required endpoints as they are now."""
        found = list(self._named)
        if (server := self._server()) is not None:
            found.append(server)
        # The protected prefix of one address ends with the length of the prefix.
        found += [DnsEndpoint(prefix[:-1]) for prefix in name_servers()]
        with contextlib.suppress(OSError):
            found += [EchoEndpoint("default gateway", address, self._echoes) for address in default_gateways()]
        return found

    def close(self) -> None:
        """Close all sockets."""
        self._echoes.close()
