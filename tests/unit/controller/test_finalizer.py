"""Removal of the retired operator's finalizer, and of no other."""

import asyncio
from typing import cast

import pytest

from static_route_operator.controller.client import Client
from static_route_operator.controller.finalizer import RETIRED, FinalizerRemover
from tests.unit import virtual_time
from tests.unit.cluster.fakeapi import FakeApi


def removed(finalizers: list[str], *refusals: int | None) -> FakeApi:
    """Return the API server, which refuses first, after two events of an object with these finalizers."""
    api = FakeApi(*refusals)

    async def run() -> None:
        remover = FinalizerRemover(cast("Client", api))
        remover.check("a", finalizers)
        remover.check("a", finalizers)
        await asyncio.sleep(1000)
        await remover.stop()

    virtual_time.run(run())
    return api


def test_the_finalizer_is_removed_at_its_index() -> None:
    """One patch removes the finalizer, and only if its index is unchanged."""
    ((path, patch, content_type),) = removed(["other", RETIRED]).patches

    assert path == "/apis/networking.digitalocean.com/v1/staticroutes/a"
    assert content_type == "application/json-patch+json"
    assert patch == [
        {"op": "test", "path": "/metadata/finalizers/1", "value": RETIRED},
        {"op": "remove", "path": "/metadata/finalizers/1"},
    ]


def test_finalizers_of_others_stay() -> None:
    """An object with other finalizers is not patched."""
    assert removed(["other"]).patches == []


@pytest.mark.parametrize(("refusals", "patches"), [((503, None, 403), 1), ((404,), 0), ((422,), 0)])
def test_failed_removals_are_repeated(refusals: tuple[int | None, ...], patches: int) -> None:
    """A refused or unanswered patch is repeated; for an object that is gone or has changed, the next event decides."""
    assert len(removed([RETIRED], *refusals).patches) == patches
