"""The decision about the routes when an agent ends: they stay if it is replaced and go if it is uninstalled.

SIGTERM does not tell the two apart, and no other single sign does. So the agent asks the API server, while it watches
and reconciles on, for the two objects that exist as long as the operator is installed: its DaemonSet and its Namespace.
"""

import asyncio
import enum
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from static_route_operator.errors import ApiError

logger = logging.getLogger(__name__)

# Seconds between requests.
INTERVAL = 0.5
# Seconds without a usable answer after which the routes stay.
GIVE_UP_AFTER = 15.0
# Refusals in a row, and the seconds they must span, that mean an uninstall which began with RBAC or the ServiceAccount.
REFUSALS = 3
REFUSED_FOR = 3.0


class ShutdownDecision(enum.Enum):
    """The fate of the routes when an agent ends."""

    KEEP = "keep"
    REMOVE = "remove"


class _Answer(enum.Enum):
    LIVE = enum.auto()
    GONE = enum.auto()
    REFUSED = enum.auto()
    NONE = enum.auto()


async def decide(
    get: Callable[[str], Awaitable[Mapping[str, Any]]], namespace: str, daemonset: str, labels: Mapping[str, str]
) -> ShutdownDecision:
    """Decide whether the routes stay. In doubt they stay.

    Args:
        get: sends a GET request, as `Api.get`.
        namespace: namespace of the operator.
        daemonset: name of the agents' DaemonSet.
        labels: labels of this node. If the DaemonSet no longer selects the node, the routes go.
    """
    loop = asyncio.get_running_loop()
    started = loop.time()
    refusals = 0
    first_refusal = started
    while True:
        answer = await _ask(get, namespace, daemonset, labels)
        now = loop.time()
        if answer is _Answer.LIVE:
            return ShutdownDecision.KEEP
        if answer is _Answer.GONE:
            return ShutdownDecision.REMOVE
        if answer is _Answer.REFUSED:
            first_refusal = first_refusal if refusals else now
            refusals += 1
            if refusals >= REFUSALS and now - first_refusal >= REFUSED_FOR:
                logger.info("The API server no longer accepts this agent: the operator is being uninstalled")
                return ShutdownDecision.REMOVE
        else:
            refusals = 0
        if now - started >= GIVE_UP_AFTER:
            logger.warning("No usable answer from the API server for %g s; routes stay", GIVE_UP_AFTER)
            return ShutdownDecision.KEEP
        await asyncio.sleep(INTERVAL)


async def _ask(
    get: Callable[[str], Awaitable[Mapping[str, Any]]], namespace: str, daemonset: str, labels: Mapping[str, str]
) -> _Answer:
    """Ask for both objects; return the answer that weighs most."""
    worst = _Answer.LIVE
    for path in (f"/apis/apps/v1/namespaces/{namespace}/daemonsets/{daemonset}", f"/api/v1/namespaces/{namespace}"):
        try:
            body = await get(path)
        except ApiError as error:
            if error.status == 404:
                logger.info("%s is gone: the operator is being uninstalled", path)
                return _Answer.GONE
            answer = _Answer.REFUSED if error.status in {401, 403} else _Answer.NONE
            # A refusal weighs more than no answer, and both weigh more than the other object being live.
            worst = answer if worst is _Answer.LIVE else _Answer.REFUSED if answer is _Answer.REFUSED else worst
            continue
        if body["metadata"].get("deletionTimestamp"):
            logger.info("%s is being deleted: the operator is being uninstalled", path)
            return _Answer.GONE
        if not _selects(body, labels):
            logger.info("%s no longer selects this node", path)
            return _Answer.GONE
    return worst


def _selects(body: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Report whether a DaemonSet's nodeSelector selects this node; true for other objects, and for unknown labels."""
    selector = body.get("spec", {}).get("template", {}).get("spec", {}).get("nodeSelector") or {}
    return not labels or all(labels.get(key) == value for key, value in selector.items())
