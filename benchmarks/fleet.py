"""Simulated agents, many in one process, that ask of the API server what real agents do.

Its requests are those in the audit log of a real agent. Its token, connections, watches and rows are real, and so is
the ``NodeStateWriter`` that writes the rows, with jitter and retries. It installs no routes, reads the full list
without parsing it, and parses once what is the same for many agents.
"""

import asyncio
import contextlib
import json
import random
import re
import ssl
import time
import zlib
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, NamedTuple

import aiohttp

from static_route_operator.agent.addresses import INTERVAL
from static_route_operator.agent.nodestate import NodeCounts, NodeStateWriter
from static_route_operator.api import GROUP, VERSION
from static_route_operator.api.conditions import ConditionType, find_condition
from static_route_operator.api.noderoutestate import NodeRouteState, Reason, Row, RowState
from static_route_operator.api.staticroute import KIND, PLURAL
from static_route_operator.cluster.api import WRITE_TIMEOUT, Api
from static_route_operator.cluster.engine import EndlessBackoffs
from static_route_operator.cluster.listing import METADATA_ONLY, PATH
from static_route_operator.errors import ApiError
from static_route_operator.observability.metrics import Metrics
from static_route_operator.settings import ClusterSettings

# Requests of Kopf when it discovers the resources to watch.
DISCOVERY = (
    "/api",
    "/apis",
    "/api/v1",
    "/apis/admissionregistration.k8s.io/v1",
    "/apis/apiextensions.k8s.io/v1",
    f"/apis/{GROUP}/{VERSION}",
)
CRDS = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions?fieldSelector=metadata.name%3D{PLURAL}.{GROUP}"
ENDPOINTS = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes"

_LIST_VERSION = re.compile(rb'"metadata":\{(?:"continue":"",)?"resourceVersion":"(\d+)"')


class Event(NamedTuple):
    """The part of an event that agent and measurement need; for kinds other than StaticRoute only the version.

    Attributes:
        version: that a watch goes on from; empty when it can't.
        name: the object.
        generation: of its spec.
        gateway: in its spec.
        told: the generation that the status is about.
        selected: the number of nodes in the status; None while there is none.
        ready: whether the Ready condition is true.
    """

    version: str = ""
    name: str = ""
    generation: int = 0
    gateway: str = ""
    told: int = 0
    selected: int | None = None
    ready: bool = False


# Every agent gets the same bytes: parsed once, the simulator does not take the API server's processors.
@lru_cache(maxsize=1000)
def parse_event(line: bytes) -> Event:
    """Read one line of a watch."""
    event = json.loads(line)
    body = event["object"]
    if event["type"] == "ERROR":
        return Event()
    metadata = body["metadata"]
    if body["kind"] != KIND or event["type"] == "BOOKMARK":
        return Event(metadata["resourceVersion"])
    status = body.get("status") or {}
    return Event(
        metadata["resourceVersion"],
        metadata["name"],
        metadata["generation"],
        body["spec"]["gateway"],
        status.get("observedGeneration", 0),
        status["nodes"]["selected"] if status else None,
        bool(status) and find_condition(status, ConditionType.READY).get("status") == "True",
    )


@dataclass
class Fleet:
    """The state that all agents share.

    Attributes:
        server: URL of the API server.
        tls: how to trust it.
        rows: what every node says of every StaticRoute at first, by name.
        metrics: where the writers count.
        received: bytes of bodies as they came, gzip where the API server used it, by kind of request.
        refused: answers that were errors, and requests that were not answered, by what happened.
        reported: paths of what nodes have written.
        last_report: when the newest of these was answered.
        ready: when the first agent saw it Ready on all nodes, by StaticRoute and generation.
    """

    server: str
    tls: ssl.SSLContext
    rows: Mapping[str, Row]
    metrics: Metrics = field(default_factory=Metrics)
    received: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    reported: set[str] = field(default_factory=set)
    last_report: float = 0.0
    ready: dict[tuple[str, int], float] = field(default_factory=dict)

    @asynccontextmanager
    async def session(
        self, token: str, *, keep: bool, seconds: float | None = None
    ) -> AsyncIterator[aiohttp.ClientSession]:
        """Open a session: like Kopf's with kept connections, or like `Api`'s with a new connection for each request."""
        connector = aiohttp.TCPConnector(limit=0, ssl=self.tls, force_close=not keep)
        headers = {"Authorization": f"Bearer {token}"}
        timeout = aiohttp.ClientTimeout(total=seconds)
        async with aiohttp.ClientSession(
            self.server, connector=connector, headers=headers, timeout=timeout, auto_decompress=False
        ) as session:
            yield session


class FleetApi(Api):
    """An agent's own requests, with the agent's own token: a real `Api` has one for the whole process."""

    def __init__(self, fleet: Fleet, token: str, timeout: float = 10.0) -> None:
        super().__init__()
        self._fleet = fleet
        self._seconds = timeout
        self._token = token

    async def get(self, path: str, *, accept: str = "application/json", most: int = 0) -> dict[str, Any]:  # noqa: ARG002
        """Ask, and say nothing of the answer."""
        return await self._send("GET", path, {"Accept": accept})

    async def patch(self, path: str, body: Any, *, content_type: str) -> dict[str, Any]:
        """Apply, and say nothing of the answer."""
        answer = await self._send("PATCH", path, {"Content-Type": content_type}, json.dumps(body))
        self._fleet.reported.add(path)
        self._fleet.last_report = time.monotonic()
        return answer

    async def _send(self, method: str, path: str, headers: Mapping[str, str], data: str = "") -> dict[str, Any]:
        try:
            async with (
                self._fleet.session(self._token, keep=False, seconds=self._seconds) as session,
                session.request(method, path, headers=headers, data=data or None) as answer,
            ):
                self._fleet.received["own requests"] += len(await answer.read())
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            self._fleet.refused[f"{method}: {type(error).__name__}"] += 1
            raise ApiError(method, None, str(error)) from error
        # 404 is the answer about endpoints: the lab's API server does not publish its own.
        if not answer.ok and answer.status != 404:
            self._fleet.refused[f"{method}: {answer.status}"] += 1
            raise ApiError(method, answer.status, "")
        return {}


class SimulatedAgent:
    """One agent.

    Args:
        fleet: what it shares.
        node: its node's name.
        uid: its node's uid.
        token: bound to its node.
    """

    def __init__(self, fleet: Fleet, node: str, uid: str, token: str) -> None:
        self._fleet = fleet
        self._node = node
        self._uid = uid
        self._token = token
        self._rows = dict(fleet.rows)
        self._api = FleetApi(fleet, token)
        self._reach = NodeCounts()
        self._writer = NodeStateWriter(FleetApi(fleet, token, WRITE_TIMEOUT), self._state, self._reach, fleet.metrics)
        self.ready = asyncio.Event()

    async def run(self) -> None:
        """Run until cancelled."""
        async with self._fleet.session(self._token, keep=True) as session, asyncio.TaskGroup() as tasks:
            tasks.create_task(self._ask_for_addresses())
            # As Kopf does: /api and /apis, then what they name, then the lists.
            for paths in (DISCOVERY[:2], DISCOVERY[2:]):
                await asyncio.gather(*(self._get(session, path, "discovery") for path in paths))
            for path in (CRDS, f"/api/v1/nodes?fieldSelector=metadata.name%3D{self._node}", PATH):
                version = await self._get(session, path, "full lists")
                tasks.create_task(self._watch(session, path, version))
            tasks.create_task(self._list())
            tasks.create_task(self._writer.run())
            self._writer.wake()
            self.ready.set()

    def _state(self) -> NodeRouteState:
        return NodeRouteState(self._node, self._uid, tuple(self._rows.values()))

    async def _get(self, session: aiohttp.ClientSession, path: str, kind: str) -> str:
        """Ask until answered; the resource version of the answer, if it has one."""
        for pause in EndlessBackoffs():
            try:
                async with session.get(path) as answer:
                    body = await answer.read()
                    self._fleet.received[kind] += len(body)
                    if answer.ok:
                        return _resource_version(body)
                    self._fleet.refused[f"GET: {answer.status}"] += 1
            except aiohttp.ClientError as error:
                self._fleet.refused[f"GET: {type(error).__name__}"] += 1
            await asyncio.sleep(pause)
        raise AssertionError("the pauses have an end")

    async def _watch(self, session: aiohttp.ClientSession, path: str, version: str) -> None:
        """Watch for ever, and list again when a watch cannot resume."""
        separator = "&" if "?" in path else "?"
        while True:
            url = f"{path}{separator}watch=true&allowWatchBookmarks=true&resourceVersion={version}"
            try:
                async with session.get(url) as answer:
                    async for event in self._events(answer):
                        version = event.version
                        self._take(event)
                self._fleet.refused[f"watch ended: {answer.status}"] += 1
            except aiohttp.ClientError as error:
                self._fleet.refused[f"watch ended: {type(error).__name__}"] += 1
            await asyncio.sleep(0.1)
            version = version or await self._get(session, path, "full lists")

    async def _events(self, answer: aiohttp.ClientResponse) -> AsyncIterator[Event]:
        parts: list[bytes] = []
        async for chunk in answer.content.iter_any():
            self._fleet.received["watches"] += len(chunk)
            *ends, rest = chunk.split(b"\n")
            for end in ends:
                yield parse_event(b"".join([*parts, end]))
                parts.clear()
            parts.append(rest)

    def _take(self, event: Event) -> None:
        if not event.name:
            return
        row = self._rows[event.name]
        if event.selected is not None:
            self._reach.put(event.name, event.selected)
        if event.ready and event.told == event.generation:
            self._fleet.ready.setdefault((event.name, event.generation), time.monotonic())
        if row.generation < event.generation:
            self._rows[event.name] = replace(row, generation=event.generation, gateway=event.gateway)
            self._writer.wake()

    async def _list(self) -> None:
        interval = ClusterSettings().list_seconds
        while True:
            with contextlib.suppress(ApiError):
                await self._api.get(f"{PATH}?resourceVersion=0", accept=METADATA_ONLY)
            await asyncio.sleep(interval * random.uniform(0.8, 1.2))  # noqa: S311  jitter, no secret

    async def _ask_for_addresses(self) -> None:
        while True:
            with contextlib.suppress(ApiError):
                await self._api.get(ENDPOINTS)
            await asyncio.sleep(INTERVAL)


def make_rows(names: Iterable[str], gateway: str, destinations: int) -> dict[str, Row]:
    """Rows of StaticRoutes of generation 1 that are in the kernel with all of their destinations."""
    return {
        name: Row(name, 1, gateway, RowState.PROGRAMMED, Reason.PROGRAMMED, "", destinations, destinations)
        for name in names
    }


def _resource_version(body: bytes) -> str:
    """Return the resource version of a list, which stands before the items, or after those of a custom resource."""
    text = zlib.decompress(body, 31) if body.startswith(b"\x1f\x8b") else body
    found = _LIST_VERSION.search(text[:500] + text[-500:])
    return found[1].decode() if found else ""
