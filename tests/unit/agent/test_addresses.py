"""The addresses that an agent protects, in virtual time."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest

from static_route_operator.agent.addresses import INTERVAL, LAST_RETRY, RETRY, WATCH_SECONDS, Addresses
from static_route_operator.api.clusteraddresses import LARGEST_DATA, MOST_ADDRESSES, MOST_API_SERVERS, NAME
from static_route_operator.cluster.api import Api
from static_route_operator.errors import ApiError
from static_route_operator.node.protected import LINGER, Protected
from static_route_operator.routing.prefixes import pack_prefix
from tests.unit import virtual_time


class Cluster:
    """An API server; stands in for `Api`.

    Attributes:
        answers: whether it does.
        known_by: its addresses.
        asked: how often for those.
        events: what a watch shows.
        watches: how many have begun.
    """

    def __init__(self) -> None:
        self.answers = True
        self.known_by: list[object] = ["10.96.0.1", "203.0.113.5"]
        self.asked = 0
        self.events: list[dict[str, Any]] = []
        self.watches = 0

    async def addresses(self) -> list[object]:
        """Return the addresses, as `Api.addresses`."""
        self.asked += 1
        if not self.answers:
            raise ApiError("GET", None, "as set")
        return self.known_by

    async def watch(self, path: str, name: str, *, seconds: float, most: int) -> AsyncIterator[dict[str, Any]]:
        """Yield the events once, as `Api.watch`."""
        assert (path, name) == ("/api/v1/namespaces/ours/configmaps", NAME)
        assert seconds > 600
        assert most > LARGEST_DATA
        self.watches += 1
        if not self.answers:
            raise ApiError("GET", 403, "as set")
        for event in self.events:
            yield event
        self.events = []
        await asyncio.sleep(seconds)

    async def get(self, path: str, *, most: int) -> dict[str, Any]:
        """Return the ConfigMap, as `Api.get`."""
        assert most > LARGEST_DATA
        assert path == f"/api/v1/namespaces/ours/configmaps/{NAME}"
        if not self.answers:
            raise ApiError("GET", 404, "as set")
        return {"data": {"nodes": "10.0.0.2\n10.0.0.3\n", "services": "10.96.0.0/12\n"}}


def _known(protected: Protected) -> set[bytes]:
    return set(protected.protection._what) | set(
        protected.protection.claims._what if protected.protection.claims else ()
    )


def _new(protected: Protected, *texts: str) -> bool:
    """Report whether exactly these of the addresses of this test are protected."""
    known = {
        pack_prefix(text)
        for text in ("10.96.0.1", "203.0.113.5", "203.0.113.6", "10.0.0.2", "10.0.0.3", "10.96.0.0/12")
    }
    return _known(protected) & known == {pack_prefix(text) for text in texts}


def _config_map(**data: object) -> dict[str, Any]:
    return {"metadata": {"name": NAME}, "data": data}


def test_all_is_known_after_one_look() -> None:
    """An agent knows the API server's addresses and the controller's ConfigMap before the first StaticRoute."""
    protected = Protected()
    asyncio.run(Addresses(cast("Api", Cluster()), protected, "ours").load())

    assert _new(protected, "10.96.0.1", "203.0.113.5", "10.0.0.2", "10.0.0.3", "10.96.0.0/12")


def test_an_api_server_that_does_not_answer_stops_nothing() -> None:
    """Known addresses stay, and retries are frequent until one succeeds; a moved endpoint is noticed."""
    cluster = Cluster()

    async def play() -> None:
        protected = Protected(clock=asyncio.get_running_loop().time)
        addresses = Addresses(cast("Api", cluster), protected, "ours")
        await addresses.load()
        cluster.answers = False
        await addresses.load()
        assert _new(protected, "10.96.0.1", "203.0.113.5", "10.0.0.2", "10.0.0.3", "10.96.0.0/12")
        addresses.take(_config_map(nodes="10.0.0.3"))
        task = asyncio.create_task(addresses.keep_current())
        await asyncio.sleep(INTERVAL * 1.5)
        assert 2 < cluster.asked < 2 + INTERVAL / RETRY
        cluster.answers, cluster.known_by = True, ["203.0.113.6"]
        await asyncio.sleep(2 * RETRY)
        before = cluster.asked
        await asyncio.sleep(INTERVAL * 0.7)
        assert cluster.asked == before
        await asyncio.sleep(LINGER)
        assert _new(protected, "203.0.113.6", "10.0.0.3")
        task.cancel()

    virtual_time.run(play())


@pytest.mark.parametrize(
    "config_map",
    [
        None,
        {},
        {"data": None},
        {"data": {}},
        _config_map(nodes=""),
        _config_map(nodes=5),
        _config_map(nodes="0.0.0.0/0"),
        _config_map(nodes="1" * (LARGEST_DATA + 1)),
        _config_map(nodes="1.1.1.1\n" * (MOST_ADDRESSES + 1)),
    ],
)
def test_list_that_can_not_be_believed_changes_nothing(config_map: object, caplog: pytest.LogCaptureFixture) -> None:
    """An emptied, broken or oversized list leaves the last good one in place, and the log says so once."""
    protected = Protected()
    addresses = Addresses(cast("Api", Cluster()), protected, "ours")
    addresses.take(_config_map(nodes="10.0.0.2", services="10.96.0.0/12"))
    before = protected.protection

    for _ in range(3):
        addresses.take(config_map)

    assert protected.protection is before
    (line,) = [record for record in caplog.messages if "not used" in record]
    assert "stay protected" in line


def test_agent_without_any_list_says_what_is_not_protected(caplog: pytest.LogCaptureFixture) -> None:
    """An agent that finds no list, or an empty one, protects what it knows itself, and the log says what it lacks."""
    protected = Protected()
    before = _known(protected)
    Addresses(cast("Api", Cluster()), protected, "ours").take({"data": {}})

    assert _known(protected) == before
    assert pack_prefix("169.254.0.0/16") in before
    assert "nodes, pods and Services are not protected" in caplog.text


def test_wrong_lines_are_told_and_bounded(caplog: pytest.LogCaptureFixture) -> None:
    """Wrong lines of a list are dropped; the log names the first ones, whatever their number."""
    protected = Protected()
    addresses = Addresses(cast("Api", Cluster()), protected, "ours")
    addresses.take(_config_map(nodes="10.0.0.2\n" + "0.0.0.0/0\n" * 1000))

    assert _new(protected, "10.0.0.2")
    assert "and 997 more" in caplog.text
    assert len(caplog.text) < 1000


def test_addresses_of_the_api_server_are_bounded() -> None:
    """Wrong and countless addresses of the API server, from an EndpointSlice or DNS, are dropped."""
    cluster, protected = Cluster(), Protected()
    cluster.known_by = ["0.0.0.0/0", "224.0.0.1", None, "10.96.0.1", *(f"198.51.100.{n}" for n in range(90))]
    before = _known(protected)
    asyncio.run(Addresses(cast("Api", cluster), protected, "ours")._load_api_server())

    added = _known(protected) - before
    assert pack_prefix("10.96.0.1") in added
    assert len(added) == MOST_API_SERVERS


def test_watch_takes_in_each_change_and_begins_again_seldom() -> None:
    """Each version of the ConfigMap counts, its deletion changes nothing, and a refused watch is patient."""
    cluster, protected = Cluster(), Protected()
    gone = {"type": "DELETED", "object": _config_map(nodes="10.0.0.3")}
    cluster.events = [
        {"type": "ADDED", "object": _config_map(nodes="10.0.0.2")},
        {"type": "BOOKMARK", "object": {"metadata": {}}},
        {"type": "MODIFIED", "object": _config_map(nodes="10.0.0.2 10.0.0.3")},
        gone,
    ]

    async def play() -> None:
        task = asyncio.create_task(Addresses(cast("Api", cluster), protected, "ours").watch())
        await asyncio.sleep(60)
        assert _new(protected, "10.0.0.2", "10.0.0.3")
        await asyncio.sleep(WATCH_SECONDS * 1.3)
        assert cluster.watches == 2
        cluster.answers = False
        await asyncio.sleep(WATCH_SECONDS * 1.3 + 10 * LAST_RETRY)
        assert 10 < cluster.watches < 40
        task.cancel()

    virtual_time.run(play())
