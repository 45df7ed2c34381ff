"""The process that routes on this host, as one asks it.

With the standard library alone: a client that can more takes a quarter of a second to load.
"""

import http.client
import json
from collections.abc import Mapping
from typing import Any

from static_route_operator.errors import UnansweredError

# Seconds to wait for the process on this host.
TIMEOUT = 5.0

# What a question gets that is too large, wrong, or can't be answered now.
REFUSALS = frozenset(
    {
        http.client.BAD_REQUEST,
        http.client.FORBIDDEN,
        http.client.REQUEST_ENTITY_TOO_LARGE,
        http.client.SERVICE_UNAVAILABLE,
    }
)


class NoProcessError(UnansweredError):
    """No process answers on this host. The text says where it was asked, and how it failed."""


def ask(
    address: str, port: int, path: str, question: Mapping[str, Any] | None = None, timeout: float = TIMEOUT
) -> dict[str, Any]:
    """What the process on this host says.

    Args:
        address: where it serves.
        port: likewise.
        path: what is asked, as ``/routes``.
        question: sent along, as JSON.
        timeout: in seconds.

    Raises:
        NoProcessError: it does not answer, or not this.
        UnansweredError: it understands the question and refuses to answer it, with its own words.
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
                f"what answers on {address}:{port} does not know {path} (HTTP {response.status}):"
                " is it an agent of this version?"
            )
        answer: dict[str, Any] = json.loads(body)
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise NoProcessError(f"no agent answers on {address}:{port} ({str(error) or 'timed out'})") from error
    finally:
        connection.close()
    return answer
