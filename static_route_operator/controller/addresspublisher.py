"""Publication of the addresses that no route may capture, to all agents: see `clusteraddresses`."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping
from typing import Any

from static_route_operator.api.clusteraddresses import (
    MOST_API_SERVERS,
    MOST_SERVICE_CIDRS,
    NAME,
    SERVICE_CIDR,
    Claims,
    bounded,
    make_data,
)
from static_route_operator.cluster.api import KUBERNETES_ENDPOINTS, endpoint_addresses
from static_route_operator.cluster.engine import FIRST_BACKOFF, LAST_BACKOFF
from static_route_operator.controller.client import APPLY_PATCH, IDENTITY, Client
from static_route_operator.controller.clusterstate import ClusterState
from static_route_operator.controller.summaries import NodeInfo
from static_route_operator.errors import ApiError
from static_route_operator.observability.metrics import ControllerMetrics
from static_route_operator.supervision import Backoff

logger = logging.getLogger(__name__)

SERVICE_CIDRS = "/apis/networking.k8s.io/v1/servicecidrs"

# Seconds between rounds: the API server's endpoints and the CIDRs of Services are not watched, and another program may
# have changed or deleted the ConfigMap.
INTERVAL = 15.0
# Seconds between writes, and additional seconds per node: each write goes to every node with all addresses. With 5000
# nodes the API server then sends a few MB/s, however fast nodes come and go.
PAUSE = 1.0
PAUSE_PER_NODE = 0.01
# Seconds between two Events about one node, and Events per round: a node whose claims change all the time must not
# fill the API server with Events.
REMINDER = 3600.0
MOST_WARNINGS = 10
# Problems in the text of an Event.
MOST_PROBLEMS = 3


class AddressPublisher:
    """Writer of the ConfigMap with the addresses of the cluster. An unchanged ConfigMap is not written.

    Args:
        client: the API server.
        state: source of the nodes.
        namespace: namespace of the operator.
        metrics: number of nodes with wrong claims.
        warn: called with a node and the text of a Warning about the node's claims.
    """

    def __init__(
        self,
        client: Client,
        state: ClusterState,
        namespace: str,
        metrics: ControllerMetrics,
        warn: Callable[[NodeInfo, str], None],
    ) -> None:
        self._client = client
        self._state = state
        self._namespace = namespace
        self._path = f"/api/v1/namespaces/{namespace}/configmaps/{NAME}"
        self._metrics = metrics
        self._warn = warn
        self._warned: dict[str, float] = {}
        self._problems: Mapping[str, tuple[str, ...]] = {}
        self._wake = asyncio.Event()
        state.on_nodes.connect(self._wake.set)

    async def run(self) -> None:
        """Publish changes until cancelled."""
        backoff = Backoff(FIRST_BACKOFF, LAST_BACKOFF)
        while True:
            try:
                await asyncio.sleep(await self._publish())
            except ApiError as error:
                logger.warning("Can't publish the addresses of the cluster to the agents: %s", error)
                await asyncio.sleep(next(backoff))
                continue
            backoff.reset()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), INTERVAL)

    async def _publish(self) -> float:
        """Write the addresses if they differ from the stored ones; return the seconds until the next write is allowed.

        The stored ones are read each time: an administrator's tool may have emptied or deleted the ConfigMap.
        """
        if not self._state.nodes.complete:
            return PAUSE
        self._wake.clear()
        services = bounded(_service_cidrs(await self._get(SERVICE_CIDRS)), MOST_SERVICE_CIDRS, SERVICE_CIDR)
        servers = bounded(endpoint_addresses(await self._get(KUBERNETES_ENDPOINTS)), MOST_API_SERVERS)
        self._log_problems({"ranges of Services": services, "addresses of the API server": servers})
        nodes = {node.name: node for node in self._state.nodes.items.values()}
        data, left_out = make_data(
            {name: node.addresses for name, node in nodes.items()}, services.prefixes, servers.prefixes
        )
        self._warn_nodes(nodes, left_out)
        stored = (await self._get(self._path)).get("data")
        if isinstance(stored, Mapping) and all(stored.get(key) == text for key, text in data.items()):
            return 0.0
        await self._client.patch(
            f"{self._path}?fieldManager={IDENTITY}&force=true",
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": NAME, "namespace": self._namespace},
                "data": data,
            },
            content_type=APPLY_PATCH,
        )
        return PAUSE + PAUSE_PER_NODE * len(nodes)

    async def _get(self, path: str) -> dict[str, Any]:
        """Return an object or a list; empty if it does not exist, as the CIDRs of Services before Kubernetes 1.33."""
        try:
            return await self._client.get(path)
        except ApiError as error:
            if error.status == 404:
                return {}
            raise

    def _log_problems(self, claims: Mapping[str, Claims]) -> None:
        """Log what is dropped of the claims that no node makes, once."""
        problems = {what: each.problems for what, each in claims.items() if each.problems}
        for what, texts in problems.items():
            if texts != self._problems.get(what):
                logger.warning("Not protected, of the %s: %s", what, "; ".join(texts[:MOST_PROBLEMS]))
        self._problems = problems

    def _warn_nodes(self, nodes: Mapping[str, NodeInfo], left_out: list[str]) -> None:
        """Warn about the nodes with dropped claims, each once an hour at most."""
        texts = {name: "; ".join(_brief(node.addresses.problems)) for name, node in nodes.items()}
        texts = {name: text for name, text in texts.items() if text}
        texts |= dict.fromkeys(left_out, "the list of all addresses is full, and this node claims more than others")
        self._metrics.wrong_claims.set(len(texts))
        now = asyncio.get_running_loop().time()
        self._warned = {uid: at for uid, at in self._warned.items() if now < at + REMINDER}
        due = [name for name in texts if nodes[name].uid not in self._warned]
        for name in due[:MOST_WARNINGS]:
            self._warned[nodes[name].uid] = now
            self._warn(nodes[name], f"addresses of this node are not protected from StaticRoutes: {texts[name]}")


def _service_cidrs(listed: Mapping[str, Any]) -> list[object]:
    """Return the CIDRs in a list of ServiceCIDRs, the oldest objects first."""
    items = listed.get("items") or ()
    oldest = sorted(items, key=lambda each: (each.get("metadata") or {}).get("creationTimestamp") or "")
    return [cidr for each in oldest for cidr in (each.get("spec") or {}).get("cidrs") or ()]


def _brief(problems: tuple[str, ...]) -> list[str]:
    rest = len(problems) - MOST_PROBLEMS
    return [*problems[:MOST_PROBLEMS], *([f"and {rest} more"] if rest > 0 else [])]
