"""Messages that can't be read: passed over, counted, and named once for each kind.

One odd message must not hide the others. So all messages of the kernel are decoded within `read`, and their decoders
may raise anything.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Final, TypeVar

logger = logging.getLogger(__name__)

T = TypeVar("T")

KINDS: Final = (
    "link",
    "address",
    "policy rule",
    "route",
    "neighbour",
    "refusal",
    "netlink frame",
    "datagram of another process",
)

# Messages of this process that were passed over, by kind.
counts: Counter[str] = Counter(dict.fromkeys(KINDS, 0))


def read(kind: str, decode: Callable[[bytes], T], body: bytes) -> T | None:
    """Return the decoded body of a message; None if it can't be read.

    Args:
        kind: subject of the message in a word or two, for the log and the metric.
        decode: decodes a body, or raises.
        body: the message without its header.
    """
    try:
        return decode(body)
    except Exception as error:  # noqa: BLE001  an odd message makes pyroute2's decoders raise anything
        pass_over(kind, f"{type(error).__name__}: {error}")
        return None


def readable(kind: str, decode: Callable[[bytes], T | None], bodies: Iterable[bytes]) -> Iterator[T]:
    """Yield the decoded bodies of messages, without those that can't be read and those without a meaning."""
    for body in bodies:
        if (found := read(kind, decode, body)) is not None:
            yield found


def pass_over(kind: str, problem: str) -> None:
    """Count a message that can't be read, and log the first one of each kind."""
    counts[kind] += 1
    if counts[kind] == 1:
        logger.warning(
            "A message from netlink (kind %s) can't be read: %s. It is ignored, the rest counts. Further ones are only"
            " counted, in the metric unreadable_messages_total",
            kind,
            problem,
        )
