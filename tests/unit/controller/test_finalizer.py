"""The retired operator's finalizer is taken off, and nobody else's."""

import asyncio
from typing import cast

import pytest

from static_route_operator.controller.client import Client
from static_route_operator.controller.finalizer import RETIRED, FinalizerRemover
from tests.unit import virtual_time
from tests.unit.cluster.fakeapi import FakeApi


def removed(finalizers: list[str], *refusals: int | None) -> FakeApi:
    """What is asked of the API server, which refuses first, when an object with these is seen twice."""
    api = FakeApi(*refusals)

    async def run() -> None:
        remover = FinalizerRemover(cast("Client", api))
        remover.check("a", finalizers)
        remover.check("a", finalizers)
        await asyncio.sleep(1000)
        await remover.stop()

    virtual_time.run(run())
    return api


def test_it_is_taken_off_where_it_stands() -> None:
    """One patch, which holds only while the finalizer is still in its place."""
    ((path, patch, content_type),) = removed(["other", RETIRED]).patches

    assert path == "/apis/networking.digitalocean.com/v1/staticroutes/a"
    assert content_type == "application/json-patch+json"
    assert patch == [
        {"op": "test", "path": "/metadata/finalizers/1", "value": RETIRED},
        {"op": "remove", "path": "/metadata/finalizers/1"},
    ]


def test_finalizers_of_others_stay() -> None:
    """An object with somebody else's finalizer is nobody's business here."""
    assert removed(["other"]).patches == []


@pytest.mark.parametrize(("refusals", "patches"), [((503, None, 403), 1), ((404,), 0), ((422,), 0)])
def test_it_is_tried_until_it_is_off(refusals: tuple[int | None, ...], patches: int) -> None:
    """Refused or unanswered, it is tried again; an object that is gone or has changed is left to its next event."""
    assert len(removed([RETIRED], *refusals).patches) == patches
