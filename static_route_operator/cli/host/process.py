"""Client of the process that routes on this host.

It uses the standard library, since aiohttp takes a quarter of a second to load.
"""

import http.client
import json
from collections.abc import Mapping
from typing import Any

from static_route_operator.errors import UnansweredError

# Seconds to wait for the process on this host.
TIMEOUT = 5.0

# Statuses of a question that is too large, wrong, or cannot be answered now. The body has the reason.
REFUSALS = frozenset(
    {
        http.client.BAD_REQUEST,
        http.client.FORBIDDEN,
        http.client.REQUEST_ENTITY_TOO_LARGE,
        http.client.SERVICE_UNAVAILABLE,
    }
)


class NoProcessError(UnansweredError):
    """A question that no process on this host answers. The text has the address and the error."""


def ask(
    address: str, port: int, path: str, question: Mapping[str, Any] | None = None, timeout: float = TIMEOUT
) -> dict[str, Any]:
    """Return the answer of the process on this host.

    Args:
        address: of the process.
        port: of the process.
        path: such as ``/routes``.
        question: body of the request, sent as JSON; None for a GET request.
        timeout: in seconds.

    Raises:
        NoProcessError: no process answers, or it does not know the path.
        UnansweredError: the process refuses the question; the text is its reason.
    """
    connection = http.client.HTTPConnection(address, port, timeout=timeout)
    try:
        if question is None:
            connection.request("GET", path)
        else:
            connection.request("POST", path, json.dumps(question), {"Content-Type": "application/json"})
        response = connection.getresponse()
        body = response.read()
        if response.status in REFUSALS:
            raise UnansweredError(body.decode(errors="replace").strip())
        if response.status != http.client.OK:
            raise NoProcessError(
                f"the process on {address}:{port} does not know {path} (HTTP {response.status}):"
                " is it an agent of this version?"
            )
        answer: dict[str, Any] = json.loads(body)
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise NoProcessError(f"no agent answers on {address}:{port} ({str(error) or 'timed out'})") from error
    finally:
        connection.close()
    return answer
