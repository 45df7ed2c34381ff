"""Asks every gateway again and again, and tells when one goes down or comes back.

One heap of what is due and one timer serve all targets. A probe that is not answered at its deadline is judged only
after everything that has arrived was read; and if this process comes late to that, because it or the whole machine
stood still, the answer gets more time: that is no fault of the gateway's.
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

# Of the seconds between probes: probes do not run in step with each other or with other periodic work, and never less
# often than configured.
JITTER = Jitter(0.9, 1.0)

# A timer of asyncio is up to 1 ms late by rounding. Seconds.
LATENESS = 0.003
# So often a probe is given more time because we are late: on a machine that is always late, gateways die too.
MOST_GRACES = 3
# For so long at a time at most. Seconds.
MOST_GRACE = 1.0

# Of the probes of a target that count as lost, so many last ones may still be answered.
LATE_ONES = 8
# No more probes than this are under way to a target.
MOST_OPEN = 128

# A probe that could not be sent for these reasons says nothing about the gateway.
OUR_FAULT = frozenset(
    {
        *(errno.EAGAIN, errno.ENOBUFS, errno.ENOMEM),  # buffers are full
        *(errno.EMFILE, errno.ENFILE, errno.EADDRNOTAVAIL),  # no descriptor or port is free
        *(errno.EPERM, errno.EACCES, errno.EAFNOSUPPORT),  # no capability, a firewall of this node, no IPv6
    }
)


class Transport(Protocol):
    """Carries probes, and calls what it was made with when they are answered or refused; see `Transports`."""

    def send(self, target: Target, prober: int, number: int) -> None:
        """Send a probe; OSError when that can't be done."""

    def poll(self, target: Target, prober: int, number: int) -> None:
        """Tell of what has come for this probe, if anything."""

    def forget(self, prober: int, number: int) -> None:
        """Nobody waits for this probe any more."""

    def close(self) -> None:
        """End."""


Answered = Callable[[int, int, float], None]
Failed = Callable[[int, int, str], None]


@dataclass(slots=True, eq=False)
class _Probe:
    """One that is under way, or lost and perhaps late."""

    number: int
    sent: float
    deadline: float
    graces: int = 0
    lost: bool = False


@dataclass(slots=True, eq=False)
class _Prober:
    """What is known and under way of one target."""

    target: Target
    identity: int
    judge: Detector
    since: float
    next_send: float = 0.0
    last_sent: float = 0.0
    last_answered: int = 0
    probes: dict[int, _Probe] = field(default_factory=dict)


class _Due(NamedTuple):
    """A probe to send (None) or to judge."""

    when: float
    order: int
    prober: _Prober
    probe: _Probe | None


class Probers:
    """Probes the targets that are wanted, in the running event loop.

    Args:
        on_change: called with the target and its health when that becomes up or down.
        transport: what carries the probes, made from the two callbacks.
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
        """Probe these targets from now on, and no others; what was probed already goes on undisturbed."""
        desired = dict.fromkeys(targets)
        for target in [each for each in self._probers if each not in desired]:
            self._stop(self._probers.pop(target))
        now = self._loop.time()
        for target in desired:
            if target not in self._probers:
                prober = _Prober(target, next(self._identities), Detector(target.check), time.time())
                self._probers[target] = self._by_identity[prober.identity] = prober
                # Spread, but not so that a new gateway is unknown for long.
                self._send_at(prober, now + FULL.of(min(target.check.interval, 0.1)))
        self._arm()

    def health(self, target: Target) -> Health:
        """The health of a target; unknown if it is not probed."""
        prober = self._probers.get(target)
        if prober is None:
            return Health()
        judge = prober.judge
        return Health(
            state=judge.state,
            since=prober.since,
            rtt=judge.round_trip.last,
            smoothed_rtt=judge.round_trip.smoothed,
            sent=judge.sent,
            lost=judge.lost,
            flaps=judge.flaps,
            reason=judge.reason,
            hold_down=judge.held(self._loop.time()),
        )

    def link_down(self, interface: int) -> None:
        """An interface has gone down, or lost its carrier: nothing behind it can be reached."""
        for prober in self._behind(interface):
            self._conclude(prober, prober.judge.down(self._loop.time(), "link down"))

    def link_up(self, interface: int) -> None:
        """An interface is up again: ask at once."""
        for prober in self._behind(interface):
            if prober.judge.state is not GatewayState.UP:
                self._send_at(prober, self._loop.time())
        self._arm()

    def neighbour_failed(self, address: bytes, interface: int) -> None:
        """The kernel could not find the link-layer address of this (packed) address."""
        for prober in self._behind(interface):
            if prober.target.gateway == address:
                self._conclude(prober, prober.judge.doubt(self._loop.time(), "neighbour FAILED"))
                if prober.judge.state is GatewayState.UP:
                    self._send_at(prober, self._loop.time())
        self._arm()

    def close(self) -> None:
        """Stop; nothing is told afterwards."""
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

    # What is due.

    def _send_at(self, prober: _Prober, when: float) -> None:
        prober.next_send = when
        heapq.heappush(self._heap, _Due(when, next(self._orders), prober, None))

    def _stale(self, due: _Due) -> bool:
        """Whether this was settled meanwhile."""
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
        if len(prober.probes) < MOST_OPEN:
            try:
                self._transport.send(prober.target, prober.identity, number)
            except OSError as error:
                if error.errno in OUR_FAULT:
                    prober.judge.reason = f"can't be sent: {os.strerror(error.errno or 0)}"
                else:
                    self._lose(prober, os.strerror(error.errno or 0).lower(), number)
            else:
                probe = _Probe(number, now, prober.judge.deadline)
                prober.probes[number] = probe
                heapq.heappush(self._heap, _Due(now + probe.deadline, next(self._orders), prober, probe))
        self._schedule(prober)

    def _schedule(self, prober: _Prober) -> None:
        pause = JITTER.of(prober.judge.pause)
        self._send_at(prober, prober.last_sent + pause)

    # What comes of a probe.

    def _expire(self, prober: _Prober, probe: _Probe, lateness: float) -> None:
        """The deadline of a probe has passed."""
        self._transport.poll(prober.target, prober.identity, probe.number)
        if probe.number not in prober.probes:
            return
        if lateness > LATENESS and probe.graces < MOST_GRACES:
            probe.graces += 1
            grace = min(max(probe.deadline, lateness), MOST_GRACE)
            heapq.heappush(self._heap, _Due(self._loop.time() + grace, next(self._orders), prober, probe))
            return
        probe.lost = True
        late = [each.number for each in prober.probes.values() if each.lost]
        for number in late[:-LATE_ONES]:
            del prober.probes[number]
            self._transport.forget(prober.identity, number)
        self._lose(prober, f"no answer in {_duration(probe.deadline)}", probe.number)

    def _answered(self, identity: int, number: int, arrived: float) -> None:
        if (found := self._settle(identity, number)) is not None:
            prober, probe = found
            prober.last_answered = max(prober.last_answered, number)
            rtt = max(0.0, arrived - probe.sent)
            self._conclude(prober, prober.judge.answered(self._loop.time(), rtt, late=probe.lost))
            if prober.judge.state is not GatewayState.UP:
                self._hasten(prober)
            # Most deadlines are settled like this one: wake up for none of them.
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
        self._conclude(prober, prober.judge.failed(self._loop.time(), reason, outdated=outdated))
        self._hasten(prober)

    def _hasten(self, prober: _Prober) -> None:
        """After a loss the next probe may be due earlier than was thought."""
        when = prober.last_sent + prober.judge.pause
        if when < prober.next_send:
            self._send_at(prober, max(when, self._loop.time()))

    def _conclude(self, prober: _Prober, changed: bool) -> None:
        if not changed:
            return
        prober.since = time.time()
        health = self.health(prober.target)
        logger.log(
            logging.WARNING if health.state is GatewayState.DOWN else logging.INFO,
            "Gateway %s is %s%s",
            prober.target.address,
            health.state.value.lower(),
            f": {health.reason}" if health.state is GatewayState.DOWN else "",
            extra={"gateway": prober.target.address, "state": health.state.value},
        )
        try:
            self._on_change(prober.target, health)
        except Exception:
            # The other gateways go on being probed.
            logger.exception("What was to follow a change of a gateway's health failed")


def _duration(seconds: float) -> str:
    return f"{seconds * 1000:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"
