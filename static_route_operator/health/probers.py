"""Probers: probe gateways periodically and report when one goes down or comes back.

One heap of due times and one timer serve all targets. A probe without an answer at its timeout counts as lost only
after everything that has arrived was read. If this process reads late, because it or the whole machine stood still, the
answer gets more time: the gateway is not to blame.
"""

import asyncio
import errno
import heapq
import itertools
import logging
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from static_route_operator.api.noderoutestate import GatewayState
from static_route_operator.health.detector import Detector
from static_route_operator.health.transports import Transports
from static_route_operator.planning.targets import Health, Target
from static_route_operator.supervision import FULL, Jitter

logger = logging.getLogger(__name__)

# Factor of the interval: keeps probes out of step with each other and everything else, and the interval a maximum.
JITTER = Jitter(0.9, 1.0)
# Seconds over which the first probes are spread. Longer, a new gateway would stay unknown for too long.
FIRST_SPREAD = 0.1

# Seconds by which a timer may be late without a stall; asyncio's own rounding makes up to 1 ms of them.
LATENESS = 0.003
# Extensions that a probe gets because this process is late: gateways die on a machine that is always late, too.
MAX_GRACES = 3
# Seconds of one extension, at most.
MAX_GRACE = 1.0

# Lost probes per target whose late answers still count.
LATE_PROBES = 8
# Probes under way per target.
MAX_OPEN = 128

# Errors of sending that say nothing about the gateway.
LOCAL_ERRORS = frozenset(
    {
        *(errno.EAGAIN, errno.ENOBUFS, errno.ENOMEM),  # buffers are full
        *(errno.EMFILE, errno.ENFILE, errno.EADDRNOTAVAIL),  # no descriptor or port is free
        *(errno.EPERM, errno.EACCES, errno.EAFNOSUPPORT),  # no capability, a firewall of this node, no IPv6
    }
)


class Transport(Protocol):
    """A carrier of probes that calls its callbacks when they are answered or refused; see `Transports`."""

    def send(self, target: Target, prober: int, number: int) -> None:
        """Send a probe; raise OSError when that fails."""

    def poll(self, target: Target, prober: int, number: int) -> None:
        """Report an answer to this probe that has arrived but is not read yet."""

    def forget(self, prober: int, number: int) -> None:
        """Drop this probe; its answer is no longer reported."""

    def close(self) -> None:
        """Close all sockets."""


Answered = Callable[[int, int, float], None]
Failed = Callable[[int, int, str], None]


@dataclass(slots=True, eq=False)
class _Probe:
    """A probe under way, or lost and possibly answered late."""

    number: int
    sent: float
    timeout: float
    graces: int = 0
    lost: bool = False


@dataclass(slots=True, eq=False)
class _Prober:
    """The detector and the open probes of one target."""

    target: Target
    identity: int
    detector: Detector
    since: float
    held_until: float = 0.0
    next_send: float = 0.0
    last_sent: float = 0.0
    last_answered: int = 0
    probes: dict[int, _Probe] = field(default_factory=dict)


class _Due(NamedTuple):
    """The time to send a probe (None), or the timeout of one."""

    when: float
    order: int
    prober: _Prober
    probe: _Probe | None


class Probers:
    """The probers of all targets, in the running event loop.

    Args:
        on_change: called with the target and its health when a gateway goes up or down.
        transport: makes the carrier of the probes from the two callbacks.
    """

    def __init__(
        self,
        on_change: Callable[[Target, Health], None],
        transport: Callable[[Answered, Failed], Transport] = Transports,
    ) -> None:
        self._on_change = on_change
        self._loop = asyncio.get_running_loop()
        self._transport = transport(self._answered, self._failed)
        self._probers: dict[Target, _Prober] = {}
        self._by_identity: dict[int, _Prober] = {}
        self._identities = itertools.count(1)
        self._numbers = itertools.count(1)
        self._orders = itertools.count()
        self._heap: list[_Due] = []
        self._timer: asyncio.TimerHandle | None = None

    def want(self, targets: Iterable[Target]) -> None:
        """Probe exactly these targets from now on; those probed already keep their state."""
        desired = dict.fromkeys(targets)
        for target in [each for each in self._probers if each not in desired]:
            self._stop(self._probers.pop(target))
        now = self._loop.time()
        for target in desired:
            if target not in self._probers:
                prober = _Prober(target, next(self._identities), Detector(target.check), time.time())
                self._probers[target] = self._by_identity[prober.identity] = prober
                self._send_at(prober, now + FULL.of(min(target.check.interval, FIRST_SPREAD)))
        self._arm()

    def health(self, target: Target) -> Health:
        """Return the health of a target; unknown if it is not probed."""
        prober = self._probers.get(target)
        if prober is None:
            return Health()
        detector = prober.detector
        return Health(
            state=detector.state,
            since=prober.since,
            rtt=detector.round_trip.last,
            smoothed_rtt=detector.round_trip.smoothed,
            sent=detector.sent,
            lost=detector.lost,
            flaps=detector.flaps,
            reason=detector.reason,
            hold_down=detector.hold_down(self._loop.time()),
            held_until=prober.held_until,
        )

    def link_down(self, interface: int) -> None:
        """Declare the gateways behind an interface down, after it went down or lost its carrier."""
        for prober in self._behind(interface):
            self._conclude(prober, prober.detector.down(self._loop.time(), "link down"))

    def link_up(self, interface: int) -> None:
        """Probe the gateways behind an interface at once, after it came up."""
        for prober in self._behind(interface):
            if prober.detector.state is not GatewayState.UP:
                self._send_at(prober, self._loop.time())
        self._arm()

    def neighbour_failed(self, address: bytes, interface: int) -> None:
        """Suspect the gateway of a packed address, after the kernel failed to resolve its link-layer address."""
        for prober in self._behind(interface):
            if prober.target.gateway == address:
                self._conclude(prober, prober.detector.suspect(self._loop.time(), "neighbour FAILED"))
                if prober.detector.state is GatewayState.UP:
                    self._send_at(prober, self._loop.time())
        self._arm()

    def close(self) -> None:
        """Stop probing; no callback follows."""
        self.want(())
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._transport.close()

    def _behind(self, interface: int) -> list[_Prober]:
        return [each for each in self._probers.values() if each.target.interface == interface]

    def _stop(self, prober: _Prober) -> None:
        del self._by_identity[prober.identity]
        for number in prober.probes:
            self._transport.forget(prober.identity, number)
        prober.probes.clear()

    def _send_at(self, prober: _Prober, when: float) -> None:
        prober.next_send = when
        heapq.heappush(self._heap, _Due(when, next(self._orders), prober, None))

    def _stale(self, due: _Due) -> bool:
        """Report whether an entry of the heap has been settled since."""
        if due.probe is None:
            return due.when != due.prober.next_send or due.prober.identity not in self._by_identity
        return due.probe.lost or due.probe.number not in due.prober.probes

    def _arm(self) -> None:
        heap = self._heap
        while heap and self._stale(heap[0]):
            heapq.heappop(heap)
        when = heap[0].when if heap else None
        if self._timer is not None:
            if self._timer.when() == when and not self._timer.cancelled():
                return
            self._timer.cancel()
            self._timer = None
        if when is not None:
            self._timer = self._loop.call_at(when, self._tick)

    def _tick(self) -> None:
        self._timer = None
        heap = self._heap
        now = self._loop.time()
        while heap and heap[0].when <= now:
            due = heapq.heappop(heap)
            if self._stale(due):
                continue
            if due.probe is None:
                self._send(due.prober)
            else:
                self._expire(due.prober, due.probe, now - due.when)
        self._arm()

    def _send(self, prober: _Prober) -> None:
        now = self._loop.time()
        prober.last_sent = now
        number = next(self._numbers)
        if len(prober.probes) < MAX_OPEN:
            try:
                self._transport.send(prober.target, prober.identity, number)
            except OSError as error:
                if error.errno in LOCAL_ERRORS:
                    prober.detector.reason = f"can't be sent: {os.strerror(error.errno or 0)}"
                else:
                    self._lose(prober, os.strerror(error.errno or 0).lower(), number)
            else:
                probe = _Probe(number, now, prober.detector.timeout)
                prober.probes[number] = probe
                heapq.heappush(self._heap, _Due(now + probe.timeout, next(self._orders), prober, probe))
        self._schedule(prober)

    def _schedule(self, prober: _Prober) -> None:
        self._send_at(prober, prober.last_sent + JITTER.of(prober.detector.pause))

    def _expire(self, prober: _Prober, probe: _Probe, lateness: float) -> None:
        """Declare a probe lost after its timeout, unless it is answered or this process is late."""
        self._transport.poll(prober.target, prober.identity, probe.number)
        if probe.number not in prober.probes:
            return
        if lateness > LATENESS and probe.graces < MAX_GRACES:
            probe.graces += 1
            grace = min(max(probe.timeout, lateness), MAX_GRACE)
            heapq.heappush(self._heap, _Due(self._loop.time() + grace, next(self._orders), prober, probe))
            return
        probe.lost = True
        late = [each.number for each in prober.probes.values() if each.lost]
        for number in late[:-LATE_PROBES]:
            del prober.probes[number]
            self._transport.forget(prober.identity, number)
        self._lose(prober, f"no answer in {_duration(probe.timeout)}", probe.number)

    def _answered(self, identity: int, number: int, arrived: float) -> None:
        if (found := self._settle(identity, number)) is not None:
            prober, probe = found
            prober.last_answered = max(prober.last_answered, number)
            rtt = max(0.0, arrived - probe.sent)
            self._conclude(prober, prober.detector.answered(self._loop.time(), rtt, late=probe.lost))
            if prober.detector.state is not GatewayState.UP:
                self._retry_fast(prober)
            # Most timeouts are settled by an answer: do not wake up for them.
            if self._heap and self._stale(self._heap[0]):
                self._arm()

    def _failed(self, identity: int, number: int, reason: str) -> None:
        found = self._settle(identity, number)
        if found is not None and not found[1].lost:
            self._lose(found[0], reason, number)
            self._arm()

    def _settle(self, identity: int, number: int) -> tuple[_Prober, _Probe] | None:
        prober = self._by_identity.get(identity)
        probe = prober.probes.pop(number, None) if prober is not None else None
        return None if prober is None or probe is None else (prober, probe)

    def _lose(self, prober: _Prober, reason: str, number: int) -> None:
        outdated = number < prober.last_answered
        self._conclude(prober, prober.detector.failed(self._loop.time(), reason, outdated=outdated))
        self._retry_fast(prober)

    def _retry_fast(self, prober: _Prober) -> None:
        """Send the next probe earlier if the detector asks for a fast retry."""
        when = prober.last_sent + prober.detector.pause
        if when < prober.next_send:
            self._send_at(prober, max(when, self._loop.time()))

    def _conclude(self, prober: _Prober, changed: bool) -> None:
        if not changed:
            return
        prober.since = time.time()
        hold_down = prober.detector.hold_down(self._loop.time())
        prober.held_until = prober.since + hold_down if hold_down else 0.0
        health = self.health(prober.target)
        logger.log(
            logging.WARNING if health.state is GatewayState.DOWN else logging.INFO,
            "Gateway %s is %s%s",
            prober.target.address,
            health.state.value.lower(),
            f": {health.message}" if health.state is GatewayState.DOWN else "",
            extra={"gateway": prober.target.address, "state": health.state.value},
        )
        try:
            self._on_change(prober.target, health)
        except Exception:
            # An error in a callback must not stop the probes of other gateways.
            logger.exception("Could not react to a change of a gateway's health")


def _duration(seconds: float) -> str:
    return f"{seconds * 1000:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"
