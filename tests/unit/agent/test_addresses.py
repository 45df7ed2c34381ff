"""The addresses that an agent protects, in virtual time."""

import asyncio
from typing import Any, cast

from static_route_operator.agent.addresses import INTERVAL, RETRY, Addresses
from static_route_operator.api.clusteraddresses import NAME
from static_route_operator.cluster.api import Api
from static_route_operator.errors import ApiError
from static_route_operator.node.protected import Protected
from static_route_operator.routing.prefixes import pack_prefix
from tests.unit import virtual_time


class Cluster:
    """An API server; stands in for `Api`.

    Attributes:
        answers: whether it does.
        known_by: its addresses.
        asked: how often for those.
    """

    def __init__(self) -> None:
        self.answers = True
        self.known_by = {"10.96.0.1", "203.0.113.5"}
        self.asked = 0

    async def addresses(self) -> set[str]:
        """Return the addresses, as `Api.addresses`."""
        self.asked += 1
        if not self.answers:
            raise ApiError("GET", None, "as set")
        return self.known_by

    async def get(self, path: str) -> dict[str, Any]:
        """Return the ConfigMap, as `Api.get`."""
        assert path == f"/api/v1/namespaces/ours/configmaps/{NAME}"
        if not self.answers:
            raise ApiError("GET", 404, "as set")
        return {"data": {"nodes": "10.0.0.2\n10.0.0.3\n", "services": "10.96.0.0/12\n"}}


def _new(protected: Protected, *texts: str) -> bool:
    """Report whether exactly these of the addresses of this test are protected."""
    known = {
        pack_prefix(text)
        for text in ("10.96.0.1", "203.0.113.5", "203.0.113.6", "10.0.0.2", "10.0.0.3", "10.96.0.0/12")
    }
    return set(protected.protection._what) & known == {pack_prefix(text) for text in texts}


def test_all_is_known_after_one_look() -> None:
    """An agent knows the API server's addresses and the controller's ConfigMap before the first StaticRoute."""
    protected = Protected()
    asyncio.run(Addresses(cast("Api", Cluster()), protected, "ours").load())

    assert _new(protected, "10.96.0.1", "203.0.113.5", "10.0.0.2", "10.0.0.3", "10.96.0.0/12")


def test_an_api_server_that_does_not_answer_stops_nothing() -> None:
    """Known addresses stay, and retries are frequent until one succeeds; a moved endpoint is noticed."""
    cluster, protected = Cluster(), Protected()

    async def play() -> None:
        addresses = Addresses(cast("Api", cluster), protected, "ours")
        await addresses.load()
        cluster.answers = False
        await addresses.load()
        assert _new(protected, "10.96.0.1", "203.0.113.5", "10.0.0.2", "10.0.0.3", "10.96.0.0/12")
        addresses.take({"nodes": "10.0.0.3"})
        task = asyncio.create_task(addresses.keep_current())
        await asyncio.sleep(INTERVAL * 1.5)
        assert 2 < cluster.asked < 2 + INTERVAL / RETRY
        cluster.answers, cluster.known_by = True, {"203.0.113.6"}
        await asyncio.sleep(2 * RETRY)
        before = cluster.asked
        await asyncio.sleep(INTERVAL * 0.7)
        assert cluster.asked == before
        task.cancel()

    virtual_time.run(play())

    assert _new(protected, "203.0.113.6", "10.0.0.3")
