"""Why this agent is asked to end: because it is replaced, and the routes stay, or for good, and they go.

SIGTERM says neither, and no other sign alone can be trusted either. So the API server is asked, while watching and
reconciling go on, about the two objects that live and die with the operator: its DaemonSet and its Namespace.
"""

import asyncio
import enum
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from static_route_operator.errors import ApiError

logger = logging.getLogger(__name__)

# Seconds between questions, and until an API server that does not answer is given up.
ASK_EVERY = 0.5
GIVE_UP_AFTER = 15.0
# RBAC or the ServiceAccount went first: so many refusals in a row, over so many seconds, mean an uninstall.
REFUSALS = 3
REFUSED_FOR = 3.0


class ShutdownDecision(enum.Enum):
    """What becomes of the routes."""

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
    """Find out whether the routes should stay. In doubt they stay.

    Args:
        get: one GET to the API server, as `Api.get`.
        namespace: of the operator.
        daemonset: name of the agents' DaemonSet.
        labels: of this node; a DaemonSet that does not select it any more is as good as gone.
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
                logger.info("The API server refuses to talk to this agent any more: the operator is being removed")
                return ShutdownDecision.REMOVE
        else:
            refusals = 0
        if now - started >= GIVE_UP_AFTER:
            logger.warning("The API server gives no answer; routes stay")
            return ShutdownDecision.KEEP
        await asyncio.sleep(ASK_EVERY)


async def _ask(
    get: Callable[[str], Awaitable[Mapping[str, Any]]], namespace: str, daemonset: str, labels: Mapping[str, str]
) -> _Answer:
    worst = _Answer.LIVE
    for path in (f"/apis/apps/v1/namespaces/{namespace}/daemonsets/{daemonset}", f"/api/v1/namespaces/{namespace}"):
        try:
            body = await get(path)
        except ApiError as error:
            if error.status == 404:
                logger.info("%s is gone: the operator is being removed", path)
                return _Answer.GONE
            answer = _Answer.REFUSED if error.status in {401, 403} else _Answer.NONE
            # A refusal says more than silence, and either more than a live other object.
            worst = answer if worst is _Answer.LIVE else _Answer.REFUSED if answer is _Answer.REFUSED else worst
            continue
        if body["metadata"].get("deletionTimestamp"):
            logger.info("%s is being deleted: the operator is being removed", path)
            return _Answer.GONE
        if not _selects(body, labels):
            logger.info("%s does not select this node any more", path)
            return _Answer.GONE
    return worst


def _selects(body: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Whether a DaemonSet still wants this node, by the labels it names; true of anything else, and without labels."""
    desired = body.get("spec", {}).get("template", {}).get("spec", {}).get("nodeSelector") or {}
    return not labels or all(labels.get(key) == value for key, value in desired.items())
