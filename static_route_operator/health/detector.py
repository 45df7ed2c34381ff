"""The detector: decides from answers and losses whether a gateway is up or down, and after what time a probe is lost.

Pure: callers pass the time, in seconds of any monotonic clock.
"""

import statistics

from static_route_operator.api.healthcheck import Check, CheckType
from static_route_operator.api.noderoutestate import GatewayState

# Seconds of the RTO before the first samples, from RFC 6298 (2.1).
INITIAL_RTO = 1.0
# Answers before an RTO is learned.
FIRST_SAMPLES = 5
# Seconds by which an answer may exceed the usual round-trip time at least. The kernel answers echo requests and
# handshakes; a process answers HTTP and may have to wait for its turn.
MIN_MARGIN = {CheckType.ICMP: 0.002, CheckType.TCP: 0.002, CheckType.HTTP: 0.02}
# Tolerated delay of an answer, as a fraction of the interval, beside which it costs little.
INTERVAL_MARGIN = 0.1
# Tolerated growth of the round-trip time, as a fraction: the path may become longer at any time.
PATH_MARGIN = 0.5
# Seconds that no learned RTO exceeds.
MAX_RTO = 5.0

# Fraction of the interval between probes while a change of the state is pending.
FAST_RETRY = 0.5
# Seconds between probes, at least, of a gateway that does not answer: its probes pile up in the neighbour's queue.
IDLE_INTERVAL = 0.1

# Seconds for which a gateway that goes down a second time stays down. Each further time doubles them.
FIRST_HOLD_DOWN = 2.0
MAX_HOLD_DOWN = 60.0
# Seconds up after which earlier failures no longer count.
STABLE_TIME = 120.0


class RoundTrip:
    """The estimate of the round-trip time and of the RTO, as in TCP (RFC 6298).

    Attributes:
        last: the last sample in seconds; None before the first.
        smoothed: the moving average; None before the first samples.
    """

    def __init__(self) -> None:
        self.last: float | None = None
        self.smoothed: float | None = None
        self._variation = 0.0
        self._first: list[float] = []

    def add(self, sample: float, limit: float) -> None:
        """Add a sample, capped so that one outlier does not inflate the RTO for minutes.

        Late answers count too: unlike the acknowledgement of a TCP segment that was sent twice, an answer names its
        probe.
        """
        self.last = sample
        sample = min(sample, limit)
        if self.smoothed is not None:
            self._variation += (abs(self.smoothed - sample) - self._variation) / 4
            self.smoothed += (sample - self.smoothed) / 8
            return
        # The first answers may have waited for address resolution, or for a second SYN.
        self._first.append(sample)
        if len(self._first) == FIRST_SAMPLES:
            self.smoothed = statistics.median(self._first)
            self._variation = self.smoothed / 2
            self._first.clear()

    def reset(self) -> None:
        """Start the estimate again; keep the last sample for display."""
        self.smoothed = None
        self._first.clear()

    def rto(self, margin: float) -> float | None:
        """Return the RTO in seconds, at least the usual time plus a margin; None before the first samples."""
        if self.smoothed is None:
            return None
        return self.smoothed + max(4 * self._variation, PATH_MARGIN * self.smoothed, margin)


class Detector:
    """The state of one gateway, decided from its probes.

    Args:
        check: the thresholds and times.

    Attributes:
        state: up, down, or unknown before the first decision.
        reason: the reason of the last loss, in words.
        round_trip: the estimate from the answers.
        sent: probes that were answered or lost.
        lost: the lost ones among them.
        flaps: changes from up to down.
    """

    def __init__(self, check: Check) -> None:
        self._check = check
        self.state = GatewayState.UNKNOWN
        self.reason = ""
        self.round_trip = RoundTrip()
        self.sent = self.lost = self.flaps = 0
        self._successes = self._failures = 0
        self._suspicion = ""
        self._up_at = 0.0
        self._held_until = 0.0
        # Seconds of the next hold-down: a gateway that fails for the first time may come back at once.
        self._next_hold_down = 0.0

    @property
    def timeout(self) -> float:
        """Seconds after which a probe sent now is lost: as configured, or else the RTO."""
        if self._check.timeout is not None:
            return self._check.timeout
        margin = max(MIN_MARGIN[self._check.type], INTERVAL_MARGIN * self._check.interval)
        rto = self.round_trip.rto(margin)
        if rto is None:
            return max(INITIAL_RTO, self._check.interval)
        # The address of a suspect neighbour has to be resolved first: another round trip.
        return min(rto * (2 if self._suspicion else 1), MAX_RTO)

    @property
    def pause(self) -> float:
        """Seconds from the last probe to the next.

        While a change is pending the next probe is a fast retry, but not an immediate one: a pause of the gateway, or a
        burst that fills a queue, takes all probes sent within it. Three losses still take one whole interval of
        silence.
        """
        interval = self._check.interval
        if self.state is GatewayState.UP:
            return interval * FAST_RETRY if self._failures else interval
        pending = 0 < self._successes < self._check.success_threshold
        return max(interval * FAST_RETRY if pending else interval, IDLE_INTERVAL)

    def hold_down(self, now: float) -> float:
        """Return the seconds for which the gateway stays down although it may answer."""
        return max(0.0, self._held_until - now) if self.state is GatewayState.DOWN else 0.0

    def answered(self, now: float, rtt: float, *, late: bool = False) -> bool:
        """Count an answer and return whether it changes the state.

        A late answer to a probe that counts as lost is an answer all the same: the gateway works, and is slower than
        the estimate.
        """
        self.sent += not late
        self.round_trip.add(rtt, 2 * self.timeout)
        self._failures = 0
        self._suspicion = ""
        self._successes += 1
        if self.state is GatewayState.UP:
            return False
        if self.state is GatewayState.DOWN and (
            self._successes < self._check.success_threshold or now < self._held_until
        ):
            return False
        # The first answer of an unknown gateway suffices: no loss contradicts it.
        self.state = GatewayState.UP
        self._up_at = now
        return True

    def failed(self, now: float, reason: str, *, outdated: bool = False) -> bool:
        """Count a lost or refused probe and return whether it changes the state.

        The loss of an outdated probe, when a later one was answered, only counts in the statistics.
        """
        self.sent += 1
        self.lost += 1
        if outdated:
            return False
        self._failures += 1
        self._successes = 0
        self.reason = self._suspicion or reason
        return (self._failures >= self._check.failure_threshold or bool(self._suspicion)) and self._fall(now)

    def down(self, now: float, reason: str) -> bool:
        """Declare the gateway down, since it certainly can't be reached; return whether that changes the state."""
        self.reason = reason
        self._successes = 0
        return self._fall(now)

    def suspect(self, now: float, reason: str) -> bool:
        """Note evidence that the gateway can't be reached; return whether it changes the state.

        After a loss the gateway is down at once. Otherwise the next probe alone decides: the kernel reports a neighbour
        as FAILED also when somebody deletes the entry of a working one.
        """
        if self._failures or self.state is not GatewayState.UP:
            return self.down(now, reason)
        self._suspicion = reason
        return False

    def _fall(self, now: float) -> bool:
        self._suspicion = ""
        if self.state is GatewayState.DOWN:
            return False
        if self.state is GatewayState.UP:
            self.flaps += 1
            if now - self._up_at >= STABLE_TIME:
                self._next_hold_down = 0.0
            self._held_until = now + self._next_hold_down
            self._next_hold_down = min(max(2 * self._next_hold_down, FIRST_HOLD_DOWN), MAX_HOLD_DOWN)
        self.state = GatewayState.DOWN
        # Another machine may come back at the same address.
        self.round_trip.reset()
        return True
