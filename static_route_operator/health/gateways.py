"""The health of the gateways in use, from probes and from the kernel's link and neighbour events."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from static_route_operator.api.noderoutestate import GatewayRow, GatewayState
from static_route_operator.health.probers import Probers
from static_route_operator.kernel.neighbours import Neighbours
from static_route_operator.observability.metrics import Metrics, ObservedGateway
from static_route_operator.planning.targets import Health, Target


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
        self._interfaces: Mapping[int, str] = {}
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

    def want(self, targets: Sequence[Target], interfaces: Mapping[int, str]) -> None:
        """Probe exactly these targets.

        Args:
            targets: without duplicates.
            interfaces: names of the node's interfaces by index.
        """
        if self._probers is None:
            return
        self._targets, self._interfaces = targets, interfaces
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
                "message": health.message,
            }
            for target, health in self.health().items()
        ]

    def _observed(self) -> Iterator[ObservedGateway]:
        for target, health in self.health().items():
            yield ObservedGateway(
                target.address,
                self._interface_name(target.interface),
                str(target.check),
                up=health.state is not GatewayState.DOWN,
                rtt=health.usual_rtt,
                sent=health.sent,
                lost=health.lost,
                flaps=health.flaps,
                held_until=health.held_until if health.hold_down else 0.0,
            )

    def _interface_name(self, index: int) -> str:
        return self._interfaces.get(index, str(index))

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
