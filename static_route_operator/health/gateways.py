"""The health of the gateways in use, from probes and from the kernel's link and neighbour events."""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from static_route_operator.api.healthcheck import CheckType
from static_route_operator.api.noderoutestate import GatewayRow, GatewayState
from static_route_operator.health.probers import Probers
from static_route_operator.kernel.neighbours import Neighbours, answered_ago
from static_route_operator.observability.metrics import Metrics, ObservedGateway
from static_route_operator.planning.targets import Health, Target
from static_route_operator.routing.facts import Link


class Gateways:
    """The gateways in use and their health. Before `start` no gateway is probed.

    Args:
        metrics: shows each gateway.
        on_change: called after a change of a gateway's health, with True if it went down or came back.

    Attributes:
        down: the targets whose gateways are down.
    """

    def __init__(self, metrics: Metrics, on_change: Callable[[bool], None]) -> None:
        self._on_change = on_change
        self._probers: Probers | None = None
        self._neighbours = Neighbours(self._link_changed, self._neighbour_failed)
        self._targets: Sequence[Target] = ()
        self._links: Mapping[int, Link] = {}
        self._started: dict[Target, float] = {}
        self.down: frozenset[Target] = frozenset()
        metrics.watch_gateways(self._observed)

    def start(self) -> None:
        """Start probing, in the running event loop."""
        self._probers = Probers(self._health_changed)

    def stop(self) -> None:
        """Stop probing; no callback follows."""
        self._neighbours.stop()
        if self._probers is not None:
            self._probers.close()

    def want(self, targets: Sequence[Target], links: Mapping[int, Link]) -> None:
        """Probe exactly these targets.

        Args:
            targets: without duplicates.
            links: the node's interfaces by index.
        """
        if self._probers is None:
            return
        self._targets, self._links = targets, links
        now = time.time()
        self._started = {each: self._started.get(each, now) for each in targets}
        self._probers.want(targets)
        self.down = self.down.intersection(targets)
        # Nodes with many pods have many neighbours: listen to their events only if gateways are probed.
        if targets and not self._neighbours.running:
            self._neighbours.start()
        elif not targets:
            self._neighbours.stop()

    def health(self) -> dict[Target, Health]:
        """Return the health of each target."""
        return {each: self._probers.health(each) for each in self._targets} if self._probers is not None else {}

    def hints(self) -> dict[Target, str]:
        """Return what else is known about gateways that are down, as predicates: the likely cause, and what to do."""
        down = {target: each for target, each in self.health().items() if each.state is GatewayState.DOWN}
        return {target: hint for target, each in down.items() if (hint := self._hint(target, each))}

    def _hint(self, target: Target, health: Health) -> str:
        link = self._links.get(target.interface)
        tunnel = link is not None and (link.point_to_point or not link.arp) and not link.remote
        if link is not None and tunnel and health.flaps > 1:
            return (
                f"is on the tunnel {link.name}: if a destination holds the outer address of its other end, the tunnel's"
                " own packets enter the tunnel; cut that address out with spec.excludes"
            )
        if target.check.type is not CheckType.ICMP:
            return ""
        # A gateway that just died may have answered moments before.
        since = health.since if health.flaps else self._started.get(target, health.since)
        ago = answered_ago(target.gateway, target.interface)
        if ago is None or ago >= time.time() - since:
            return ""
        protocol = "ARP" if len(target.gateway) == 4 else "neighbour discovery"
        return f"answers {protocol}, but no echo requests: let it answer them, or set healthCheck.type to TCP"

    def rows(self) -> tuple[GatewayRow, ...]:
        """Return a row for each gateway, in the order of their addresses."""
        return tuple(
            GatewayRow(
                target.address,
                self._interface_name(target.interface),
                str(target.check),
                each.state.value,
                int(each.since),
                # Rounded up: the row says a time at which the hold-down is over.
                math.ceil(each.held_until),
            )
            for target, each in sorted(self.health().items(), key=lambda item: item[0].gateway)
        )

    def report(self) -> list[dict[str, Any]]:
        """Return each gateway as a JSON object, with the measurements of its probes."""
        hints = self.hints()
        return [
            {
                "address": target.address,
                "interface": self._interface_name(target.interface),
                "check": str(target.check),
                "state": health.state.value,
                "since": health.since,
                "rttSeconds": health.usual_rtt,
                "sent": health.sent,
                "lost": health.lost,
                "heldUntil": health.held_until if health.hold_down else 0,
                "message": "; it ".join(filter(None, [health.message, hints.get(target, "")])),
            }
            for target, health in self.health().items()
        ]

    def _observed(self) -> Iterator[ObservedGateway]:
        for target, health in self.health().items():
            yield ObservedGateway(
                target.address,
                self._interface_name(target.interface),
                str(target.check),
                up=None if health.state is GatewayState.UNKNOWN else health.state is GatewayState.UP,
                rtt=health.usual_rtt,
                sent=health.sent,
                lost=health.lost,
                flaps=health.flaps,
                held_until=health.held_until if health.hold_down else 0.0,
            )

    def _interface_name(self, index: int) -> str:
        return self._links[index].name if index in self._links else str(index)

    def _health_changed(self, target: Target, health: Health) -> None:
        down = self.down | {target} if health.state is GatewayState.DOWN else self.down - {target}
        changed = down != self.down
        self.down = down
        self._on_change(changed)

    def _link_changed(self, interface: int, up: bool) -> None:
        if self._probers is not None:
            (self._probers.link_up if up else self._probers.link_down)(interface)

    def _neighbour_failed(self, address: bytes, interface: int) -> None:
        if self._probers is not None:
            self._probers.neighbour_failed(address, interface)
