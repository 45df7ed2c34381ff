"""Messages that can't be read."""

import logging

import pytest

from static_route_operator.kernel import unreadable
from static_route_operator.kernel.unreadable import read, readable


@pytest.fixture(autouse=True)
def _counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unreadable, "counts", type(unreadable.counts)())


def _decode(body: bytes) -> int | None:
    if body == b"deep":
        raise RecursionError("maximum recursion depth exceeded")
    return None if body == b"none" else int(body)


def test_what_can_be_read_counts(caplog: pytest.LogCaptureFixture) -> None:
    """One odd message hides no other, whatever its decoder raises; the first of a kind is named, all are counted."""
    with caplog.at_level(logging.WARNING):
        assert list(readable("link", _decode, [b"1", b"odd", b"none", b"deep", b"2"])) == [1, 2]
        assert read("address", _decode, b"odd") is None

    assert unreadable.counts == {"link": 2, "address": 1}
    first, second = caplog.messages
    assert "kind link" in first
    assert "kind address" in second
