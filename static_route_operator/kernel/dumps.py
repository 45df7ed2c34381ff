"""Dumps: all that the kernel has of one kind, in answer to one request."""

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

# How often a dump is taken again when the tables changed under it, before it is given up for now.
TRIES = 5

Piece = TypeVar("Piece", Message, Block)


class InterruptedDumpError(KernelError):
    """The tables changed under a dump, so that something may be missing."""


def dump(
    socket: NetlinkSocket, sequence: int, kind: int, request: bytes, pieces: Callable[[bytes], Iterable[Piece]]
) -> Iterator[list[Piece]]:
    """The answers to one request, a list for each datagram, without the last one, which says that it is done.

    Args:
        socket: to ask by.
        sequence: number of the request; answers with others are late ones.
        kind: of the request, such as RTM_GETROUTE.
        request: its body.
        pieces: what is made of a datagram: its `messages`, in the kernel's order, or its `blocks`, which are quicker.

    Raises:
        InterruptedDumpError: in the end, when the tables changed meanwhile.
        KernelError: the kernel refused.
    """
    header = HEADER.pack(HEADER.size + len(request), kind, NLM_F_REQUEST | NLM_F_DUMP, sequence, 0)
    socket.send(header + request)
    interrupted = False
    while (datagram := socket.receive()) is not None:
        found = [piece for piece in pieces(datagram) if piece.sequence == sequence]
        interrupted = interrupted or any(piece.flags & NLM_F_DUMP_INTR for piece in found)
        yield [piece for piece in found if piece.kind not in {NLMSG_DONE, NLMSG_ERROR}]
        if end := next((piece for piece in found if piece.kind in {NLMSG_DONE, NLMSG_ERROR}), None):
            refusal = parse_refusal(end if isinstance(end, Message) else next(messages(end.packed)))
            if refusal.errno:
                raise KernelError(f"the kernel refused a dump: {refusal.text}")
            if interrupted:
                raise InterruptedDumpError("the kernel's tables changed meanwhile: something may be missing")
            return
    raise KernelError("the kernel's dump ended early")
