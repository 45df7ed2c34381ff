"""Detection of failures: when a probe is lost, when a gateway is down, and when it is up again.

Pure: callers pass the time, in seconds of any monotonic clock.
"""

import statistics

from static_route_operator.api.healthcheck import Check, CheckType
from static_route_operator.api.noderoutestate import GatewayState

# Seconds to wait for an answer before a round-trip time is known (RFC 6298, 2.1).
FIRST_DEADLINE = 1.0
# Number of answers from which the first round-trip time is computed.
FIRST_SAMPLES = 5
# Seconds of tolerated delay at least. The kernel answers echo requests and handshakes; a process answers HTTP, and may
# have to wait for its turn.
MIN_MARGIN = {CheckType.ICMP: 0.002, CheckType.TCP: 0.002, CheckType.HTTP: 0.02}
# Tolerated delay as a fraction of the interval, which costs little beside the interval itself.
INTERVAL_MARGIN = 0.1
# Tolerated growth of the round-trip time, as a fraction.
PATH_MARGIN = 0.5
# Seconds. Longest deadline that is learned.
MAX_DEADLINE = 5.0

# Time to the next probe while a change of state is pending, as a fraction of the interval.
FAST_RETRY = 0.5
# Seconds between probes of a gateway that is down, at least: they pile up in the queue of its neighbour entry.
IDLE_INTERVAL = 0.1

# Seconds of hold-down of a gateway that goes down again: 2, 4, 8, … from then.
FIRST_HOLD = 2.0
MAX_HOLD = 60.0
# Seconds for which a gateway must be up until earlier failures no longer count.
QUIET = 120.0


class RoundTrip:
    """Estimate of the round-trip time and of the timeout, as in TCP (RFC 6298).

    Attributes:
        last: the last sample in seconds; None before the first.
        smoothed: the moving average; None before the first samples.
    """

    def __init__(self) -> None:
        self.last: float | None = None
        self.smoothed: float | None = None
        self._variation = 0.0
        self._first: list[float] = []

    def add(self, sample: float, most: float) -> None:
        """Add a sample, capped at ``most`` so that one outlier does not inflate the timeout for minutes.

        Late answers count, too: unlike a TCP segment that was sent twice, an answer identifies its probe.
        """
        self.last = sample
        sample = min(sample, most)
        if self.smoothed is not None:
            self._variation += (abs(self.smoothed - sample) - self._variation) / 4
            self.smoothed += (sample - self.smoothed) / 8
            return
        # The first answers may have waited until an address was resolved, or a SYN was sent again.
        self._first.append(sample)
        if len(self._first) == FIRST_SAMPLES:
            self.smoothed = statistics.median(self._first)
            self._variation = self.smoothed / 2
            self._first.clear()

    def forget(self) -> None:
        """Drop the estimate, but keep the last sample for display."""
        self.smoothed = None
        self._first.clear()

    def timeout(self, margin: float) -> float | None:
        """Return the seconds to wait for an answer: at least the usual time and a margin; None while unknown."""
        if self.smoothed is None:
            return None
        return self.smoothed + max(4 * self._variation, PATH_MARGIN * self.smoothed, margin)


class Detector:
    """The failure detector of one gateway.

    Args:
        check: thresholds and times.

    Attributes:
        reason: of the last loss, for people.
        sent: number of probes that were answered or lost.
        lost: number of lost probes.
        flaps: number of changes from up to down.
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
        self._downs = 0

    @property
    def deadline(self) -> float:
        """Seconds after which a probe that is sent now is lost."""
        if self._check.timeout is not None:
            return self._check.timeout
        margin = max(MIN_MARGIN[self._check.type], INTERVAL_MARGIN * self._check.interval)
        timeout = self.round_trip.timeout(margin)
        if timeout is None:
            return max(FIRST_DEADLINE, self._check.interval)
        # The address of a suspect neighbour must be resolved first, which takes another round trip.
        return min(timeout * (2 if self._suspicion else 1), MAX_DEADLINE)

    @property
    def pause(self) -> float:
        """Seconds from the last probe to the next.

        While a change of state is pending, probes follow faster, but not at once: a pause of the gateway, or a burst
        that fills a queue, takes all probes sent within it. Three losses still take one whole interval of silence.
        """
        interval = self._check.interval
        if self.state is GatewayState.UP:
            return interval * FAST_RETRY if self._failures else interval
        pending = 0 < self._successes < self._check.success_threshold
        return max(interval * FAST_RETRY if pending else interval, IDLE_INTERVAL)

    def hold_down(self, now: float) -> float:
        """Return the remaining seconds of hold-down."""
        return max(0.0, self._held_until - now) if self.state is GatewayState.DOWN else 0.0

    def answered(self, now: float, rtt: float, *, late: bool = False) -> bool:
        """Count an answer; report whether that changes the state.

        A late answer to a probe that was counted as lost is still an answer: the gateway is up, and slower than
        estimated.
        """
        self.sent += not late
        self.round_trip.add(rtt, 2 * self.deadline)
        self._failures = 0
        self._suspicion = ""
        self._successes += 1
        if self.state is GatewayState.UP:
            return False
        if self.state is GatewayState.DOWN and (
            self._successes < self._check.success_threshold or now < self._held_until
        ):
            return False
        # The first answer makes an unknown gateway up, since it has no failures.
        self.state = GatewayState.UP
        self._up_at = now
        return True

    def failed(self, now: float, reason: str, *, outdated: bool = False) -> bool:
        """Count a probe that was lost or refused; report whether that changes the state.

        An outdated probe, followed by one that was answered, changes only the counters.
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
        """Declare the gateway down; report whether that changes the state."""
        self.reason = reason
        self._successes = 0
        return self._fall(now)

    def suspect(self, now: float, reason: str) -> bool:
        """Suspect that the gateway is unreachable; report whether that changes the state.

        The gateway is down at once if a probe has been lost since the last answer. Otherwise the next probe alone
        decides: the kernel also reports a healthy neighbour as FAILED when a person deletes its entry.
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
            if now - self._up_at >= QUIET:
                self._downs = 0
            if self._downs:
                self._held_until = now + min(FIRST_HOLD * 2.0 ** (self._downs - 1), MAX_HOLD)
            self._downs += 1
        self.state = GatewayState.DOWN
        # Another machine may come back at the same address.
        self.round_trip.forget()
        return True
