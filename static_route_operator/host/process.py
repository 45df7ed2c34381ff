"""The process that routes on this host, as one asks it.

With the standard library alone: a client that can more takes a quarter of a second to load.
"""

import http.client
import json
from typing import Any

from static_route_operator.errors import UnansweredError

# Seconds to wait for the process on this host.
TIMEOUT = 5.0


class NoProcessError(UnansweredError):
    """No process answers on this host. The text says where it was asked, and how it failed."""


def ask(address: str, port: int, path: str) -> dict[str, Any]:
    """What the process on this host says.

    Args:
        address: where it serves.
        port: likewise.
        path: what is asked, as ``/routes``.

    Raises:
        NoProcessError: it does not answer, or not this.
    """
    connection = http.client.HTTPConnection(address, port, timeout=TIMEOUT)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        body = response.read()
        if response.status == http.client.BAD_REQUEST:
            raise UnansweredError(body.decode(errors="replace").strip())
        if response.status != http.client.OK:
            raise NoProcessError(
                f"what answers on {address}:{port} does not know {path} (HTTP {response.status}):"
                " is it an agent of this version?"
            )
        answer: dict[str, Any] = json.loads(body)
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise NoProcessError(f"no agent answers on {address}:{port} ({str(error) or 'timed out'})") from error
    finally:
        connection.close()
    return answer
