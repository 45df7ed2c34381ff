"""Messages of the kernel that can't be read: passed over, counted, and named once for each kind.

One odd message must not hide the others. So a message is decoded here only, and a decoder may raise whatever it likes.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from static_route_operator.kernel.netlink import Message

logger = logging.getLogger(__name__)

T = TypeVar("T")

# Unreadable messages of this process, by kind.
counts: Counter[str] = Counter()


def read(kind: str, decode: Callable[[bytes], T], body: bytes) -> T | None:
    """Return the decoded body of a message; None if it can't be read.

    Args:
        kind: the subject of the message in a word, for the log and the metric.
        decode: decodes a body, or raises.
        body: the message without its header.
    """
    try:
        return decode(body)
    except Exception as error:  # noqa: BLE001  decoders of pyroute2 raise anything, RecursionError included
        pass_over(kind, error)
        return None


def readable(kind: str, decode: Callable[[bytes], T | None], messages: Iterable[Message]) -> Iterator[T]:
    """Yield the decoded messages, without those that can't be read or mean nothing."""
    for message in messages:
        if (found := read(kind, decode, message.body)) is not None:
            yield found


def pass_over(kind: str, error: Exception | str) -> None:
    """Count a message that can't be read, and log the first of each kind."""
    counts[kind] += 1
    if counts[kind] == 1:
        logger.warning(
            "The kernel sent a message about a %s that can't be read (%s): it is ignored, and the others count; "
            "further ones are only counted",
            kind,
            f"{type(error).__name__}: {error}" if isinstance(error, Exception) else error,
        )
