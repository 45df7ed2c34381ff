"""The frame around netlink messages."""

import errno
import os
import struct

import pytest

from static_route_operator.kernel.netlink import Message, Refusal, attributes, lost_messages, messages, parse_refusal

NLMSG_NOOP = 1
NLMSG_ERROR = 2
NLMSG_DONE = 3
CAPPED = 0x100
ACK_TLVS = 0x200


def _message(kind: int, body: bytes, *, flags: int = 0, sequence: int = 7) -> bytes:
    return struct.pack("=IHHII", 16 + len(body), kind, flags, sequence, 42) + body + bytes(-len(body) % 4)


def _text(words: str) -> bytes:
    value = words.encode() + b"\0"
    return struct.pack("=HH", 4 + len(value), 1) + value + bytes(-len(value) % 4)


def _offset(number: int) -> bytes:
    return struct.pack("=HHI", 8, 2, number)


def _parse(datagram: bytes) -> Refusal:
    (message,) = messages(datagram)
    return parse_refusal(message)


ORIGINAL = _message(24, bytes(28))


@pytest.mark.parametrize(
    ("datagram", "expected"),
    [
        (
            _message(NLMSG_ERROR, struct.pack("=i", -errno.EEXIST) + ORIGINAL[:16], flags=CAPPED),
            Refusal(errno.EEXIST, "File exists"),
        ),
        (
            _message(
                NLMSG_ERROR,
                struct.pack("=i", -errno.ENETUNREACH) + ORIGINAL[:16] + _text("Nexthop has invalid gateway"),
                flags=CAPPED | ACK_TLVS,
            ),
            Refusal(errno.ENETUNREACH, "Nexthop has invalid gateway"),
        ),
        (
            _message(
                NLMSG_ERROR,
                struct.pack("=i", -errno.EINVAL) + ORIGINAL + _offset(20) + _text("Invalid prefix"),
                flags=ACK_TLVS,
            ),
            Refusal(errno.EINVAL, "Invalid prefix"),
        ),
        (
            _message(
                NLMSG_ERROR, struct.pack("=i", -errno.EINVAL) + ORIGINAL[:16] + _offset(20), flags=CAPPED | ACK_TLVS
            ),
            Refusal(errno.EINVAL, os.strerror(errno.EINVAL)),
        ),
        (
            _message(NLMSG_DONE, struct.pack("=i", -errno.EINVAL) + _text("Invalid values in header"), flags=ACK_TLVS),
            Refusal(errno.EINVAL, "Invalid values in header"),
        ),
    ],
    ids=["no words", "capped with words", "whole request with words", "no words among attributes", "end of a dump"],
)
def test_refusal_has_number_and_words(datagram: bytes, expected: Refusal) -> None:
    """The kernel's own words are found wherever it puts them; without any the error number has some."""
    assert _parse(datagram) == expected


def test_acknowledgement_is_no_refusal() -> None:
    """An error message with number 0 says that all went well."""
    assert _parse(_message(NLMSG_ERROR, struct.pack("=i", 0) + ORIGINAL[:16], flags=CAPPED)).errno == 0


def test_all_messages_of_a_datagram_are_found() -> None:
    """Messages stand aligned behind each other, each with its own header."""
    datagram = _message(24, b"abcd", sequence=1) + _message(25, b"abcde", flags=9, sequence=2) + _message(3, b"")

    found = [(each.kind, each.flags, each.sequence, each.port, bytes(each.body)) for each in messages(datagram)]

    assert found == [(24, 0, 1, 42, b"abcd"), (25, 9, 2, 42, b"abcde"), (3, 0, 7, 42, b"")]


@pytest.mark.parametrize("tail", [b"\0" * 8, b"\0" * 16, struct.pack("=IHHII", 3, 24, 0, 0, 0)])
def test_rubbish_behind_a_message_ends_the_datagram(tail: bytes) -> None:
    """Bytes too few for a message, or with such a length in them, are not read for ever."""
    assert [each.kind for each in messages(_message(24, b"abcd") + tail)] == [24]


def test_attributes_are_read_with_their_flags_cleared() -> None:
    """Attributes stand aligned behind each other; the bits for nesting and byte order are not part of the type."""
    view = struct.pack("=HHI", 8, 1, 5) + struct.pack("=HH2sxx", 6, 0x8009, b"ab") + struct.pack("=HH", 4, 3)

    assert [(kind, bytes(value)) for kind, value in attributes(view)] == [
        (1, struct.pack("=I", 5)),
        (9, b"ab"),
        (3, b""),
    ]


@pytest.mark.parametrize("rest", [b"\0\0", struct.pack("=HH", 0, 1), struct.pack("=HH", 3, 1)])
def test_rubbish_behind_an_attribute_ends_them(rest: bytes) -> None:
    """Bytes too few for an attribute, or with such a length in them, are not read for ever."""
    view = struct.pack("=HHI", 8, 1, 5) + rest

    assert [kind for kind, _ in attributes(view)] == [1]


def test_only_a_full_buffer_counts_as_lost_messages() -> None:
    """ENOBUFS says that messages were dropped; other errors say something else."""
    assert lost_messages(OSError(errno.ENOBUFS, "No buffer space available"))
    assert not lost_messages(OSError(errno.EBADF, "Bad file descriptor"))


def test_message_names_the_request_it_answers() -> None:
    """The sequence number and the port of a message are not mixed up."""
    (message,) = messages(struct.pack("=IHHII", 16, NLMSG_NOOP, 2, 3, 4))

    assert message == Message(NLMSG_NOOP, 2, 3, 4, b"")
