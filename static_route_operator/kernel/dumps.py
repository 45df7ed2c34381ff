"""Dumps: everything that the kernel has of one kind, in answer to one request."""

import errno
import functools
import logging
import socket
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from static_route_operator.errors import KernelError
from static_route_operator.kernel.netlink import (
    HEADER,
    NLM_F_DUMP,
    NLM_F_DUMP_INTR,
    NLM_F_REQUEST,
    NLMSG_DONE,
    NLMSG_ERROR,
    Block,
    Message,
    NetlinkSocket,
    messages,
    parse_refusal,
)

logger = logging.getLogger(__name__)

# Attempts at one dump while the tables keep changing under it.
TRIES = 5

Piece = TypeVar("Piece", Message, Block)

# The objects of each request for a dump, by RTM_GET type.
KINDS = {18: "links", 22: "addresses", 26: "routes", 30: "neighbours", 34: "policy rules", 106: "nexthop objects"}

# Errors with which a kernel refuses what it was built, or started, without: IPv6, or policy rules.
MISSING = frozenset({errno.EOPNOTSUPP, errno.EAFNOSUPPORT, errno.EPFNOSUPPORT, errno.EPROTONOSUPPORT})
# Errors that pass: a dump before was not read to its end, or memory is short.
PASSING = frozenset({errno.EAGAIN, errno.EBADMSG, errno.EBUSY, errno.EINTR, errno.ENOBUFS, errno.ENOMEM})


class InterruptedDumpError(KernelError):
    """The tables changed during a dump, so that entries may be missing from it."""


class RefusedDumpError(KernelError):
    """The kernel refused a dump, or did not end it.

    Args:
        number: the kernel's errno.
        text: the kernel's words.

    Attributes:
        missing: the kernel was built, or started, without what was asked for.
        passing: the next try may succeed.
    """

    def __init__(self, number: int, text: str) -> None:
        super().__init__(f"the kernel refused a dump: {text}")
        self.missing = number in MISSING
        self.passing = number in PASSING


def dump(
    netlink: NetlinkSocket, sequence: int, kind: int, request: bytes, pieces: Callable[[bytes], Iterable[Piece]]
) -> Iterator[list[Piece]]:
    """Send one request, and yield a list of answers for each datagram, without the one that ends the dump.

    Args:
        netlink: the socket to the kernel.
        sequence: number of the request; answers with another number are late ones, and are ignored.
        kind: type of the request, such as RTM_GETROUTE.
        request: the body of the request.
        pieces: splits a datagram: `messages` keeps the kernel's order, `blocks` is faster.

    Raises:
        InterruptedDumpError: after the last datagram, when the tables changed during the dump.
        RefusedDumpError: the kernel refused.
    """
    header = HEADER.pack(HEADER.size + len(request), kind, NLM_F_REQUEST | NLM_F_DUMP, sequence, 0)
    netlink.send(header + request)
    interrupted = False
    while (datagram := netlink.receive()) is not None:
        found = [piece for piece in pieces(datagram) if piece.sequence == sequence]
        interrupted = interrupted or any(piece.flags & NLM_F_DUMP_INTR for piece in found)
        yield [piece for piece in found if piece.kind not in {NLMSG_DONE, NLMSG_ERROR}]
        if end := next((piece for piece in found if piece.kind in {NLMSG_DONE, NLMSG_ERROR}), None):
            refusal = parse_refusal(end if isinstance(end, Message) else next(messages(end.packed)))
            if refusal.errno:
                raise RefusedDumpError(refusal.errno, refusal.text)
            if interrupted:
                raise InterruptedDumpError("the kernel's tables changed during a dump: entries may be missing")
            return
    raise RefusedDumpError(errno.EBADMSG, "it ended early")


@functools.cache
def report_refusal(kind: int, request: bytes, problem: str) -> None:
    """Log once that the entries of one kind and family can't be read: what is known of them stands."""
    family = {int(socket.AF_INET): "IPv4 ", int(socket.AF_INET6): "IPv6 "}.get(request[0], "")
    logger.warning(
        "The %s%s of this host can't be read: %s; what is known of them stands", family, KINDS[kind], problem
    )


@functools.cache
def report_interruptions(kind: int) -> None:
    """Log once that changes interrupt every read of one kind: entries may be missing from it."""
    logger.warning(
        "The %s of this host keep changing while they are read: what was found is added to what is known", KINDS[kind]
    )
