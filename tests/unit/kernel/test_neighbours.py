"""Messages about neighbours."""

import os
import struct

import pytest

from static_route_operator.kernel.neighbours import decode_answered, decode_failed_neighbour
from static_route_operator.kernel.unreadable import read
from static_route_operator.routing.prefixes import pack_address

REACHABLE, FAILED = 0x02, 0x20
DESTINATION = 1


def _neighbour(state: int, address: bytes) -> bytes:
    body = struct.pack("=BxxxiHBB", 2, 7, state, 0, 1)
    return body + struct.pack("=HH", 4 + len(address), DESTINATION) + address + bytes(-len(address) % 4)


@pytest.mark.parametrize("address", ["10.0.0.1", "fd00::1"])
def test_neighbour_that_does_not_answer_has_address_and_interface(address: str) -> None:
    """A FAILED neighbour is reported in the packed form of its family; one that answers is not."""
    packed = pack_address(address)
    assert decode_failed_neighbour(_neighbour(FAILED, packed)) == (packed, 7)
    assert decode_failed_neighbour(_neighbour(REACHABLE, packed)) is None


@pytest.mark.parametrize("body", [_neighbour(FAILED, b"")[:12], _neighbour(FAILED, b"odd"), b"short"])
def test_neighbour_that_can_not_be_read_is_passed_over(body: bytes) -> None:
    """A message without an address, with one of an odd size, or that ends early, breaks nothing."""
    assert read("neighbour", decode_failed_neighbour, body) is None


@pytest.mark.parametrize(
    ("state", "ago"),
    [(REACHABLE, 1.5), (0x04, 1.5), (0x10, 1.5), (FAILED, None), (0x01, None), (0x40, None), (0x80, None)],
    ids=["reachable", "stale", "probe", "failed", "incomplete", "no ARP", "permanent"],
)
def test_neighbour_that_answers_says_how_long_ago(state: int, ago: float | None) -> None:
    """The time of the last answer counts for neighbours that resolve, and for no others."""
    times = struct.pack("=HHIIII", 20, 3, int(1.5 * os.sysconf("SC_CLK_TCK")), 7, 7, 1)

    assert decode_answered(_neighbour(state, pack_address("10.0.0.1")) + times) == ago
    assert decode_answered(_neighbour(state, pack_address("10.0.0.1"))) is None
    assert read("neighbour", decode_answered, _neighbour(REACHABLE, b"") + times[:8]) is None
